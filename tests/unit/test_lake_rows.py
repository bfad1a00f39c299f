"""Rows on their way into a table and back: in order, in one piece, in plain types whatever they came as."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ratchet.digests import frame_digest
from ratchet.errors import ParameterError
from ratchet.lake import Lake
from ratchet.lake_rows import fit, to_arrow

TABLE = "datasets/things"
DAY, NEXT = "2013-01-01", "2013-01-02"
ROWS = 300_000  # of several batches of deltalake's, which two of its threads would write in any order


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path)


def in_pieces(first: int, last: int, pieces: int) -> pd.DataFrame:
    """Numbered rows, their texts in many pieces, as pd.concat leaves them."""
    numbers = pd.Series(range(first, last))
    size = -(-len(numbers) // pieces)
    parts = [numbers.iloc[at : at + size] for at in range(0, len(numbers), size)]
    return pd.concat([pd.DataFrame({"n": part, "text": part.astype("str")}) for part in parts], ignore_index=True)


def test_each_column_is_handed_over_in_one_piece():
    frame = in_pieces(0, 100, 10)
    assert frame["text"].array.__arrow_array__().num_chunks == 10  # what is guarded against
    rows = to_arrow({DAY: frame, NEXT: in_pieces(100, 150, 5)})
    assert [column.num_chunks for column in rows.columns] == [1, 1, 1]
    assert rows["n"].to_pylist() == list(range(150))
    assert rows["day"].to_pylist() == [DAY] * 100 + [NEXT] * 50


def test_rows_are_read_in_the_order_they_were_published_in_and_lie_in_whole_row_groups(lake):
    for _ in range(2):  # the first commit makes the table, the second replaces days of it
        lake.publish_days(TABLE, {DAY: in_pieces(0, ROWS, 40), NEXT: in_pieces(ROWS, 2 * ROWS, 40)})
        read = lake.read(TABLE)
        assert read["n"].tolist() == list(range(2 * ROWS))
        assert (read["text"] == read["n"].astype("str")).all()
        for key in lake.files_at(TABLE):
            layout = pq.ParquetFile(lake.storage.address(key)).metadata
            assert [layout.row_group(n).num_rows for n in range(layout.num_row_groups)] == [ROWS]


def test_a_category_is_stored_and_read_as_the_text_it_stands_for(lake):
    texts = ["a", "b", None, "a"]
    plain = pd.DataFrame({"text": pd.Series(texts, dtype="str"), "n": [1, 2, 3, 4]})
    coded = plain.assign(text=pd.Categorical(texts))
    lake.publish(TABLE, DAY, coded)  # makes the table
    lake.publish(TABLE, NEXT, plain)
    lake.publish(TABLE, "2013-01-03", coded)  # into a table that is there
    read = lake.read(TABLE)
    assert [str(kind) for kind in read[["text", "n"]].dtypes] == ["str", "Int64"]
    assert len({frame_digest(rows[["text", "n"]]) for _, rows in read.groupby("day")}) == 1
    for key in lake.files_at(TABLE):
        assert lake.read_file(key, ["text"]).schema.field("text").type == pa.string()


def test_files_with_categories_and_without_are_compacted_into_one(lake):
    lake.publish(TABLE, DAY, pd.DataFrame({"text": pd.Categorical(["a", "b"])}))
    from deltalake import write_deltalake  # another writer, that adds to days instead of replacing them

    write_deltalake(lake.path(TABLE), pa.table({"text": ["c"], "day": [DAY]}), mode="append")
    assert len(lake.files_at(TABLE)) == 2 and lake.compact(TABLE) == 1
    assert len(lake.files_at(TABLE)) == 1 and sorted(lake.read(TABLE)["text"]) == ["a", "b", "c"]


def test_the_day_is_that_of_the_publication_whatever_the_frame_says(lake):
    lake.publish(TABLE, DAY, pd.DataFrame({"n": [1], "day": ["2099-01-01"], "m": [2]}))
    read = lake.read(TABLE)
    assert list(read.columns) == ["n", "day", "m"] and read["day"].tolist() == [DAY]
    assert to_arrow({DAY: pd.DataFrame({"n": []})}) is None


def test_a_category_of_numbers_is_numbers_and_does_not_fit_text():
    rows = to_arrow({DAY: pd.DataFrame({"n": pd.Categorical([3, 4])})})
    assert rows.schema.field("n").type == pa.int64()
    with pytest.raises(ParameterError, match="'n' does not fit"):
        fit(rows, pa.schema([("n", pa.string())]))
