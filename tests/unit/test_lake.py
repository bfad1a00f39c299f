"""Delta tables by day: replaced whole, readable at every version, by many writers."""

import subprocess
import sys
import textwrap

import pandas as pd
import pytest

from ratchet.errors import ParameterError, UnknownNameError
from ratchet.lake import Lake

TABLE = "datasets/things"


@pytest.fixture
def lake(storage):
    return Lake(storage.below("lake"))


def rows(*values):
    return pd.DataFrame({"name": [f"n{v}" for v in values], "value": [float(v) for v in values]})


def test_a_table_that_is_not_there_reads_as_nothing(lake):
    assert lake.days(TABLE) == [] and lake.version(TABLE) is None and lake.history(TABLE) == []
    assert list(lake.read(TABLE, columns=["day", "value"]).columns) == ["day", "value"]
    assert lake.read(TABLE).empty
    assert not any(lake.storage.list())


def test_publish_replaces_one_day_and_leaves_the_others(lake):
    assert lake.publish(TABLE, "2013-01-01", rows(1, 2)) == 0
    assert lake.publish(TABLE, "2013-01-02", rows(3)) == 1
    assert lake.publish(TABLE, "2013-01-01", rows(9)) == 2
    assert lake.read(TABLE)[["day", "value"]].values.tolist() == [["2013-01-01", 9.0], ["2013-01-02", 3.0]]
    assert lake.days(TABLE) == ["2013-01-01", "2013-01-02"]


def test_d4_every_version_can_still_be_read(lake):
    lake.publish(TABLE, "2013-01-01", rows(1, 2))
    lake.publish(TABLE, "2013-01-01", rows(9))
    assert lake.read(TABLE, version=0)["value"].tolist() == [1.0, 2.0]
    with pytest.raises(UnknownNameError, match="no version 7"):
        lake.read(TABLE, version=7)


def test_read_takes_a_range_of_days_and_columns_in_the_order_asked(lake):
    lake.publish_days(TABLE, {f"2013-01-0{n}": rows(n) for n in (3, 1, 2)})
    assert lake.version(TABLE) == 0
    found = lake.read(TABLE, "2013-01-02", "2013-01-03", columns=["value", "name"])
    assert list(found.columns) == ["value", "name"] and found["value"].tolist() == [2.0, 3.0]
    assert lake.read(TABLE, first="2013-01-03")["value"].tolist() == [3.0]
    assert lake.read(TABLE, last="2013-01-01")["value"].tolist() == [1.0]
    with pytest.raises(UnknownNameError, match="no column"):
        lake.read(TABLE, columns=["nope"])


def test_an_empty_frame_empties_its_day(lake):
    assert lake.publish(TABLE, "2013-01-01", rows()) == -1  # no table yet: nothing to empty
    lake.publish_days(TABLE, {"2013-01-01": rows(1), "2013-01-02": rows(2)})
    lake.publish(TABLE, "2013-01-01", rows())
    assert lake.days(TABLE) == ["2013-01-02"]
    lake.publish_days(TABLE, {"2013-01-02": rows(), "2013-01-03": rows(3)})
    assert lake.days(TABLE) == ["2013-01-03"]


def test_types_survive_nulls_and_text_without_a_value(lake):
    at = pd.to_datetime(["2013-01-01T10:00:00.123456Z", None], utc=True, format="ISO8601")
    frame = pd.DataFrame(
        {"at": at, "count": pd.array([1, None], "Int64"), "text": pd.Series([None, None], dtype="str")}
    )
    lake.publish(TABLE, "2013-01-01", frame)
    lake.publish(TABLE, "2013-01-02", frame.assign(text=[None, None], count=[1, 2]))
    lake.publish(TABLE, "2013-01-03", frame.assign(text=["a", "b"]))
    found = lake.read(TABLE)
    assert str(found["at"].dtype) == "datetime64[us, UTC]" and found["at"][0] == at[0]
    assert found["count"].isna().sum() == 2 and found["text"].isna().sum() == 4


def test_d6_a_new_column_is_added_and_a_retyped_one_refused(lake):
    lake.publish(TABLE, "2013-01-01", rows(1))
    lake.publish(TABLE, "2013-01-02", rows(2).assign(more="x"))
    lake.publish(TABLE, "2013-01-03", rows(3))
    assert lake.read(TABLE)["more"].isna().tolist() == [True, False, True]
    with pytest.raises(ParameterError, match="column 'value' does not fit"):
        lake.publish(TABLE, "2013-01-04", rows(4).assign(value="heavy"))
    assert lake.days(TABLE) == ["2013-01-01", "2013-01-02", "2013-01-03"]


def test_metadata_is_kept_in_the_commit(lake):
    lake.publish(TABLE, "2013-01-01", rows(1), {"recipe": "abc", "drops": 3})
    assert {"recipe": "abc", "drops": "3"}.items() <= lake.history(TABLE)[0].items()


@pytest.mark.parametrize("name", ["things", "../x/y", "a/b/c", "a/..", "A/b", "a/b\n", "/a/b", "a/b%2e"])
def test_d8_a_name_that_is_none_is_refused(lake, name):
    with pytest.raises(ParameterError, match="not a table's name"):
        lake.publish(name, "2013-01-01", rows(1))
    assert not any(lake.storage.list())


def test_d8_a_day_that_is_none_is_refused(lake):
    for day in ("2013-01-01' OR 1=1 --", "1", "2013-01-01\n"):
        with pytest.raises(ParameterError, match="not a day"):
            lake.publish(TABLE, day, rows(1))
    with pytest.raises(ParameterError, match="no day"):
        lake.publish_days(TABLE, {})


def test_writers_of_other_days_at_once_all_get_through(lake):
    """Also the first commits, which make the table."""
    code = textwrap.dedent(
        """
        import sys, pandas as pd
        from ratchet.lake import Lake
        root, writer = sys.argv[1], int(sys.argv[2])
        print("ready", flush=True); sys.stdin.readline()
        for n in range(1, 9):
            Lake(root).publish("datasets/things", f"2013-0{writer}-0{n}", pd.DataFrame({"value": [float(writer)]}))
        """
    )
    command = [sys.executable, "-c", code, lake.storage.address()]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, str(n)], **pipes) for n in (1, 2, 3)]
    assert [w.stdout.readline() for w in writers] == ["ready\n"] * 3
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    errors = [w.communicate(timeout=120)[1] for w in writers]
    assert [w.returncode for w in writers] == [0, 0, 0], errors
    assert len(lake.days(TABLE)) == 24 and len(lake.read(TABLE)) == 24
