"""Personal values are pseudonyms before anything leaves the reader: in lake, quarantine, reasons and logs."""

import base64
import gzip
import hmac
import json
import logging
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from ratchet.drops import Drop
from ratchet.errors import DropError, ParameterError, SpecError
from ratchet.privacy import ENV_KEY, ENV_KEY_FILE, Pseudonyms, open_pseudonyms
from ratchet.read_drop import read_drop
from ratchet.specs import DatasetSpec

KEY = bytes(range(32))
SPEC = DatasetSpec(
    name="visits",
    description="visits",
    owner="us",
    time_zone="UTC",
    starts="2013-01-01",
    key=["email", "visit"],
    columns={"email": "string", "visit": "int64", "paid": "float64", "friend": "string"},
    personal=["email", "friend"],
    may_be_empty=["friend"],
)
HEADER = "email,visit,paid,friend\n"
ANN, BOB, EVE = "ann@example.org", "bob@example.org", "stranger@example.org"


def read(folder, text, rows, pseudonyms=None, spec=SPEC):
    path = folder / "visits.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    drop = Drop("visits", "2013-01-01", "visits", "landing/visits", "", datetime(2013, 1, 2, tzinfo=UTC), "us", rows, 0)
    return read_drop(path, drop, spec, pseudonyms=pseudonyms)


def test_a_pseudonym_is_a_keyed_hash_of_column_and_value():
    names = Pseudonyms(KEY)
    assert names.of("email", ANN) == Pseudonyms(KEY).of("email", ANN)
    assert len(names.of("email", ANN)) == 64 and set(names.of("email", ANN)) <= set("0123456789abcdef")
    others = [names.of("email", BOB), names.of("friend", ANN), Pseudonyms(KEY[::-1]).of("email", ANN)]
    assert len({names.of("email", ANN), *others}) == 4
    of_column = hmac.digest(KEY, b"column email", "sha256")
    assert names.of("email", ANN) == hmac.digest(of_column, ANN.encode(), "sha256").hex()
    assert names.of_all("email", pa.array([ANN, None, ANN])).to_pylist() == [names.of("email", ANN), None] * 1 + [
        names.of("email", ANN)
    ]


def test_who_is_the_same_in_two_datasets_has_the_same_pseudonym_where_the_column_has_the_same_name(tmp_path):
    names, text = Pseudonyms(KEY), HEADER + f"{ANN},1,1.5,{BOB}\n"
    other = SPEC.model_copy(update={"name": "complaints"})
    first, second = (read(tmp_path, text, 1, names, spec).frame for spec in (SPEC, other))
    assert first["email"].tolist() == second["email"].tolist() == [names.of("email", ANN)]
    assert first["friend"].tolist() == [names.of("friend", BOB)]


def test_s3_no_personal_value_leaves_the_reader(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    lines = [
        f"{ANN},1,1.5,",
        f"{BOB},two,3.5,{EVE}",  # a value that can't be read
        f"7,{ANN},{BOB},x",  # slipped fields
        f"{ANN},{BOB},1,2,{EVE}",  # too many
        f"{ANN}\0,1,2,{EVE}",
        f'"{EVE}, the ""one""",4,5.5,{BOB}',
    ]
    names = Pseudonyms(KEY)
    found = read(tmp_path, HEADER + "\n".join(lines) + "\n", 6, names)
    everything = [*found.row_texts([2, 3, 4, 5, 6, 7]), *found.refused["reason"], repr(found), caplog.text]
    everything += [found.frame.to_csv(), *(str(value) for part in found._parts for value in vars(part).values())]
    everything += [str(part.texts.columns()) for part in found._parts]
    assert not any("example" in text or "two" in text for text in everything)
    assert found.frame["line"].tolist() == [2, 7] and found.refused["line"].tolist() == [3, 4, 5, 6]
    assert found.refused["reason"][0] == f"visit is not an int64: '{names.of('visit', 'two')[:60]}…'"
    assert found.refused["reason"][2] == "5 fields where the header has 4"


def test_a_row_that_does_not_fit_the_header_is_kept_as_a_keyed_digest_and_a_count(tmp_path):
    text = HEADER + f"{ANN},1,1,{BOB},{EVE}\n" * 2 + f"{ANN},1\n"
    texts = read(tmp_path, text, 3, Pseudonyms(KEY)).row_texts([2, 3, 4])
    kept = [json.loads(text) for text in texts]
    assert [one["fields"] for one in kept] == [5, 5, 2]
    assert kept[0] == kept[1] != kept[2] and len(kept[0]["hmac_sha256"]) == 64
    assert texts != read(tmp_path, text, 3, Pseudonyms(KEY[::-1])).row_texts([2, 3, 4])


def test_a_row_of_quarantine_shows_what_is_not_personal_as_it_came(tmp_path):
    names = Pseudonyms(KEY)
    (kept,) = read(tmp_path, HEADER + f"{ANN},+01,1.50,\n", 1, names).row_texts([2])
    assert json.loads(kept) == {"email": names.of("email", ANN), "visit": "+01", "paid": "1.50", "friend": ""}


def test_a_file_without_a_header_shows_no_values(tmp_path):
    with pytest.raises(DropError) as raised:
        read(tmp_path, f"{ANN},{ANN},1,{EVE}\n", 0, Pseudonyms(KEY))
    assert "example" not in str(raised.value) and "1 names" in str(raised.value)


def test_a_retyped_column_is_found_behind_the_pseudonyms(tmp_path):
    with pytest.raises(DropError, match="'visit' retyped, float64 in the file"):
        read(tmp_path, HEADER + f"{ANN},1.0,1,\n{BOB},2.0,1,\n", 2, Pseudonyms(KEY))


def test_personal_columns_without_a_key_are_an_error(tmp_path):
    with pytest.raises(SpecError, match="personal columns"):
        read(tmp_path, HEADER + f"{ANN},1,1,\n", 1)


def test_the_key_is_made_once_and_can_be_read_by_its_owner_only(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: open_pseudonyms(tmp_path, {}), range(8)))
    path = tmp_path / "secrets" / "pseudonym.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len({one.of("email", ANN) for one in made}) == 1 == len({one.fingerprint for one in made})


def test_the_key_may_be_given_as_hex_or_base64_in_the_environment_or_a_file(tmp_path):
    wanted = Pseudonyms(KEY).of("email", ANN)
    for text in (KEY.hex(), base64.b64encode(KEY).decode(), f" {KEY.hex()}\n"):
        assert open_pseudonyms(tmp_path, {ENV_KEY: text}).of("email", ANN) == wanted
        (tmp_path / "key").write_text(text)
        assert open_pseudonyms(tmp_path, {ENV_KEY_FILE: str(tmp_path / "key")}).of("email", ANN) == wanted
    assert not (tmp_path / "secrets").exists()


@pytest.mark.parametrize("text", ["secret words", KEY[:31].hex(), base64.b64encode(KEY[:20]).decode(), "é" * 32])
def test_s3_a_key_that_is_none_is_refused_and_not_shown(tmp_path, text):
    (tmp_path / "key").write_text(text, "utf-8")
    for environ in ({ENV_KEY: text}, {ENV_KEY_FILE: str(tmp_path / "key")}):
        with pytest.raises(ParameterError, match="key of the pseudonyms") as raised:
            open_pseudonyms(tmp_path, environ)
        assert text not in str(raised.value)


def test_s3_the_key_does_not_show():
    names = Pseudonyms(KEY)
    assert KEY.hex() not in repr(vars(names)) and repr(KEY) not in repr(vars(names)) + repr(names)
    assert names.fingerprint != Pseudonyms(KEY[::-1]).fingerprint
