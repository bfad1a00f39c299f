"""Files as nobody should send them: each is refused, or its rows are, with a reason that names what is wrong; the other
days of the same run are published, and memory stays bounded."""

import csv
import gzip
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import date, timedelta

import pytest

from ratchet.drops import DropStore
from ratchet.errors import DropError, ParameterError, RatchetError
from ratchet.ingest import ingest_days
from ratchet.lake import Lake
from ratchet.ledger import open_ledger
from ratchet.settings import get_settings
from ratchet.specs import DatasetSpec

COLUMNS = {"code": "string", "size": "int64", "weight": "float64", "seen_at": "timestamp", "good": "bool"}
SPEC = DatasetSpec(
    name="things",
    description="things",
    owner="us",
    time_zone="UTC",
    starts="2013-01-01",
    key=["code"],
    columns=COLUMNS | {"note": "string"},
    may_be_empty=["note"],
    max_quarantined_share=0.5,
)
SUITE = {
    "name": "things",
    "expectations": [
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "weight", "max_value": 1000}},
    ],
}
HEADER = "code,size,weight,seen_at,good,note"
AT = "2013-01-01T10:00:00Z"


def row(code="x", size="1", weight="1.5", seen_at=AT, good="true", note=""):
    return f"{code},{size},{weight},{seen_at},{good},{note}"


def text(*lines, header=HEADER):
    return "\n".join([header, *lines, ""])


def packed(content):
    return gzip.compress(content.encode() if isinstance(content, str) else content, 1, mtime=0)


GOOD = [row(f"c{n}", n, f"{n}.5", note=f"n{n}") for n in range(8)]
PLAIN = text(*GOOD)
WHOLE = packed(PLAIN)


def a_zip():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("things.csv", PLAIN)
    return file.getvalue()


def bytes_for(old, new):
    return packed(PLAIN.encode().replace(old.encode(), new))


def changed(old, new):
    return packed(PLAIN.replace(old, new))


def added(*names):
    return packed(text(*(line + ",9" * len(names) for line in GOOD), header=",".join([HEADER, *names])))


def eight(**fields):
    return packed(text(*(row(f"c{n}", **fields) for n in range(8))))


NO_GZIP = "isn't a whole gzip file"
NO_TEXT = "isn't UTF-8, seen byte"
NO_CSV = "isn't CSV, seen"
LONG_FIELD = "isn't CSV, seen field larger than field limit (131072) at line"
LONG_ROW = "isn't CSV, seen a row that goes on at line"
OTHER = "has other columns than the spec, seen"
ALIKE = "has column names that look like the spec's, seen"
RETYPED = "has changed columns, seen"
COUNT = "holds another number of rows than its manifest says, seen"
NO_ROWS = "the drop holds no rows"

D1 = {
    "no bytes": (b"", "is empty"),
    "gzip of nothing": (packed(""), "is empty"),
    "blank lines": (packed("\n\r\n\n"), "is empty"),
    "a byte order mark alone": (packed("\ufeff"), "is empty"),
    "blanks": (packed("  \n\t\n"), f"{OTHER} missing ['code'"),
    "header only": (packed(HEADER + "\n"), NO_ROWS),
    "header only, no line end": (packed(HEADER), NO_ROWS),
    "header and blank lines": (packed(HEADER + "\n\n\n"), NO_ROWS),
    "no value in a column": (eight(good=""), "good: has a value: seen none in 8 rows"),
    "no value in a key": (packed(text(*[row(code="")] * 8)), "too many rows for quarantine: seen 8 of 8"),
    "no value that can be read": (
        packed(text(*(row(f"c{n}", good="") for n in range(7)), row(good="si"))),
        "good: has a value: seen none in 7 rows",
    ),
}
D2 = {
    **{f"cut after {at} bytes": (WHOLE[:at], NO_GZIP) for at in (1, 2, 9, 10, 11, 30, len(WHOLE) // 2)},
    **{f"cut {at} bytes before the end": (WHOLE[:-at], NO_GZIP) for at in (1, 4, 8, 9)},
    "plain text": (PLAIN.encode(), NO_GZIP),
    "parquet": (b"PAR1" + bytes(100) + b"PAR1", NO_GZIP),
    "zip": (a_zip(), NO_GZIP),
    "wrong magic": (b"\x1f\x8c" + WHOLE[2:], NO_GZIP),
    "unknown compression": (WHOLE[:2] + b"\x07" + WHOLE[3:], NO_GZIP),
    "wrong checksum": (WHOLE[:-8] + b"\0\0\0\0" + WHOLE[-4:], NO_GZIP),
    "wrong length": (WHOLE[:-4] + b"\xff\0\0\0", NO_GZIP),
    "garbage after it": (WHOLE + b"garbage", NO_GZIP),
    "a second member cut short": (WHOLE + WHOLE[:-6], NO_GZIP),
    "gzip in gzip": (packed(WHOLE), f"{NO_TEXT} 0x8b in line 1"),
    "parquet in gzip": (packed(b"PAR1\x15\x04\xff" + bytes(100)), f"{NO_TEXT} 0xff in line 1"),
    "latin-1": (bytes_for("n3", b"\xe9"), f"{NO_TEXT} 0xe9 in line 5"),
    "half a letter": (bytes_for("n3", b"\xc3"), f"{NO_TEXT} 0xc3 in line 5"),
    "half a letter at the end": (packed(PLAIN.encode() + b"\xe2\x82"), f"{NO_TEXT} 0xe2 in line 10"),
    "a surrogate": (bytes_for("n3", b"\xed\xa0\x80"), f"{NO_TEXT} 0xed in line 5"),
    "an overlong letter": (bytes_for("n3", b"\xc0\xaf"), f"{NO_TEXT} 0xc0 in line 5"),
    "utf-16": (packed(PLAIN.encode("utf-16")), f"{NO_TEXT} 0xff in line 1"),
    "utf-16 without mark": (packed(PLAIN.encode("utf-16-le")), f"{OTHER} missing ['code'"),
    "utf-32": (packed(PLAIN.encode("utf-32")), f"{NO_TEXT} 0xff in line 1"),
    "two byte order marks": (packed("\ufeff\ufeff" + PLAIN), f"{OTHER} missing ['code']"),
    "a quote never closed": (changed("n3", '"n3'), f"{NO_CSV} unexpected end of data at line 9"),
    "text after a quote": (changed("n3", '"n"3'), f"{NO_CSV} ',' expected after '\"' at line 5"),
    "a quote never closed in the header": (packed('"' + PLAIN), f"{NO_CSV} unexpected end of data"),
    "a field of 10 MB": (packed(PLAIN + row(note="n" * 10_000_000)), f"{LONG_FIELD} 10"),
    "a quoted field of 10 MB": (packed(PLAIN + row(note='"' + "n\n" * 5_000_000 + '"')), LONG_FIELD),
    "a header of 10 MB": (packed("n" * 10_000_000), f"{LONG_FIELD} 1"),
    "a bomb of one line": (packed(PLAIN.encode() + bytes(50_000_000)), f"{LONG_ROW} 10"),
    "a lone return in a field": (changed("n3", "n\r3"), f"{COUNT} 9, expected 8"),
    "fewer rows than announced": (packed(text(*GOOD[:7])), f"{COUNT} 7, expected 8"),
    "more rows than announced": (packed(text(*GOOD, row())), f"{COUNT} 9, expected 8"),
    "no header": (packed("\n".join(GOOD)), f"{OTHER} missing ['code', "),
    "separated by semicolons": (changed(",", ";"), f"{OTHER} missing ['code', "),
    "NUL bytes in the header": (changed("size", "si\0ze"), f"{OTHER} missing ['size']"),
    "no row that can be read": (
        eight(good="ja"),
        "seen 8 of 8 (100.0%; most: 8 x good is not true or false: 'ja'), expected at most 50.0%",
    ),
}
D6 = {
    "a missing column": (packed("\n".join(line[:-3] for line in [HEADER[:-2], *GOOD])), f"{OTHER} missing ['note']"),
    "a column twice": (added("size"), f"{OTHER} twice ['size']"),
    "an unknown column twice": (added("more", "more"), f"{OTHER} twice ['more']"),
    "two columns without a name": (added("", ""), f"{OTHER} twice ['']"),
    "capital letters": (changed("size", "Size"), f"{OTHER} missing ['size']"),
    "also in capital letters": (added("SIZE"), f"{ALIKE} 'SIZE' for 'size'"),
    "also with blanks": (added(" size "), f"{ALIKE} ' size ' for 'size'"),
    "also with a letter that looks alike": (added("s\u0456ze"), f"{ALIKE} 's\u0456ze' for 'size'"),
    "also with something unseen": (added("si\u200bze"), f"{ALIKE} 'si\\u200bze' for 'size'"),
    "also in wide letters": (added("\uff53\uff49\uff5a\uff45"), ALIKE),
    "also with a ligature": (added("\ufb01ne"), None),
    "floats where ints were": (eight(size="3.0"), f"{RETYPED} 'size' retyped, float64 in the file, int64 in the spec"),
    "numbers where bools were": (eight(good=1), f"{RETYPED} 'good' retyped, int64 in the file, bool in the spec"),
    "numbers where instants were": (
        eight(seen_at=1360000000),
        f"{RETYPED} 'seen_at' retyped, int64 in the file, timestamp in the spec",
    ),
    "an unknown column": (added("more"), None),
    "a column without a name": (added(""), None),
    "50,000 columns": (added(*(f"more{n}" for n in range(49_994))), None),
    "another order": (packed("\n".join(",".join(line.split(",")[::-1]) for line in [HEADER, *GOOD])), None),
}
UNUSUAL = {
    "several gzip members": packed(PLAIN[:100]) + packed(PLAIN[100:]),
    "padded with zeros": WHOLE + bytes(512),
    "a byte order mark": packed("\ufeff" + PLAIN),
    "returns and line feeds": changed("\n", "\r\n"),
    "returns alone": changed("\n", "\r"),
    "no line end at the end": packed(PLAIN.removesuffix("\n")),
    "quoted, all of it": packed("\n".join('"' + line.replace(",", '","') + '"' for line in PLAIN.splitlines())),
    "blank lines between": changed("\n", "\n\n"),
}
NO_INT, NO_FLOAT, NO_BOOL = "size is not an int64:", "weight is not a finite float64:", "good is not true or false:"
NO_INSTANT = "seen_at is not an ISO-8601 instant with offset, from 1900 to 2199:"
UNSEEN = "code: a character in a key that can't be seen"
BAD_ROWS = {
    "beyond int64": (row(size=2**63), f"{NO_INT} '9223372036854775808'"),
    "a thousand digits": (row(size="9" * 1000), f"{NO_INT} '{'9' * 60}…'"),
    "not ASCII's digits": (row(size="\u0661"), f"{NO_INT} '\u0661'"),
    "underscores": (row(size="1_000"), f"{NO_INT} '1_000'"),
    "hexadecimal": (row(size="0x10"), f"{NO_INT} '0x10'"),
    "a blank": (row(size=" 1"), f"{NO_INT} ' 1'"),
    "a formula": (row(size="=1+1"), f"{NO_INT} '=1+1'"),
    "1e400": (row(weight="1e400"), f"{NO_FLOAT} '1e400'"),
    "NaN": (row(weight="NaN"), f"{NO_FLOAT} 'NaN'"),
    "-inf": (row(weight="-inf"), f"{NO_FLOAT} '-inf'"),
    "Infinity": (row(weight="Infinity"), f"{NO_FLOAT} 'Infinity'"),
    "a decimal comma": (row(weight='"1,5"'), f"{NO_FLOAT} '1,5'"),
    "year 0": (row(seen_at="0000-01-01T00:00:00Z"), f"{NO_INSTANT} '0000-01-01T00:00:00Z'"),
    "year 9999": (row(seen_at="9999-12-31T23:59:59Z"), f"{NO_INSTANT} '9999-12-31T23:59:59Z'"),
    "a 30 February": (row(seen_at="2013-02-30T00:00:00Z"), f"{NO_INSTANT} '2013-02-30T00:00:00Z'"),
    "no offset": (row(seen_at="2013-01-01T00:00:00"), f"{NO_INSTANT} '2013-01-01T00:00:00'"),
    "a wrong offset": (row(seen_at="2013-01-01T00:00+99:99"), f"{NO_INSTANT} '2013-01-01T00:00+99:99'"),
    "nanoseconds": (row(seen_at="2013-01-01T00:00:00.1234567Z"), f"{NO_INSTANT} '2013-01-01T00:00:00.1234567Z'"),
    "HTML": (row(good="<b>"), f"{NO_BOOL} '<b>'"),
    "TRUE": (row(good="TRUE"), f"{NO_BOOL} 'TRUE'"),
    "a field too few": (row()[:-1], "5 fields where the header has 6"),
    "a field too many": (row() + ",", "7 fields where the header has 6"),
    "a NUL byte": (row(note="a\0b"), "a NUL byte"),
    "no key": (row(code=""), "code: null in a key"),
    "right-to-left override in a key": (row(code="\u202ex"), UNSEEN),
    "zero width in a key": (row(code="c\u200b1"), UNSEEN),
    "a line end in a key": (row(code='"c\n1"'), UNSEEN),
    "what the suite refuses": (
        row(size="+001", weight="1.00001e3", seen_at="2013-01-01T10:00+00:00", note="=1+1"),
        "weight: expect_column_values_to_be_between (max_value 1000.0)",
    ),
}
HARMLESS = [
    *("=cmd|'/C calc'!A0", "<script>alert(1)</script>", "'; drop table things;--", "\u202egnp.exe", "a\u200bb", "NULL"),
    *("n/a", " x ", 'he said "no"', "a\nb\r\nc", "𝔘😀", "../../etc/passwd", "{{ ds }}", "%s%n", "\t", "\x1b[31m", "-"),
]
HARMLESS_ROWS = [row(f"h{n}", note='"' + note.replace('"', '""') + '"') for n, note in enumerate(HARMLESS)]


def day_of(number):
    return (date(2013, 1, 1) + timedelta(days=number)).isoformat()


FILES = {**D1, **D2, **D6, **{name: (data, None) for name, data in UNUSUAL.items()}}
FILES |= {name: (packed(text(*GOOD, line)), None) for name, (line, _) in BAD_ROWS.items()}
FILES["harmless"] = packed(text(*GOOD, *HARMLESS_ROWS)), None
FILES["a doubled key"] = packed(text(*GOOD, GOOD[0].replace("0.5", "0.7"))), None
DAYS = {name: day_of(number) for number, name in enumerate(FILES)}
ROWS = {"header only": 0, "header only, no line end": 0, "header and blank lines": 0}
ROWS |= {name: 9 for name in BAD_ROWS} | {"harmless": 8 + len(HARMLESS), "a doubled key": 9}


class World:
    def __init__(self, root):
        self.drops, self.lake, self.suite = DropStore(root / "landing"), Lake(root / "lake"), root / "things.json"
        self.suite.write_text(json.dumps(SUITE))
        paths = {"ledger_key_file": root / "key", "ledger_head_file": root / "head"}
        self.ledger = open_ledger(replace(get_settings(), var=root, ledger_url=f"sqlite:///{root / 'l.db'}", **paths))

    def deliver(self, day, data, rows=8):
        manifest = {"dataset": "things", "day": day, "file": "things.csv.gz", "bytes": len(data), "rows": rows}
        manifest |= {
            "sha256": hashlib.sha256(data).hexdigest(),
            "source": "them",
            "delivered_at": "2013-06-01T00:00:00Z",
        }
        self.drops.storage.write(f"things/{day}/things.csv.gz", data)
        self.drops.storage.write(f"things/{day}/manifest.json", json.dumps(manifest).encode())

    def ingest(self, days, spec=SPEC):
        return ingest_days(spec, days, drops=self.drops, suite_path=self.suite, lake=self.lake, ledger=self.ledger)


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """All of them in one run, each as a day of its own: why each was refused, rows published and quarantined by day."""
    world = World(tmp_path_factory.mktemp("hostile"))
    for name, (data, _) in FILES.items():
        world.deliver(DAYS[name], data, ROWS.get(name, 8))
    with pytest.raises(RatchetError):
        world.ingest(list(DAYS.values()))
    world.refused = {refusal.day: " | ".join(refusal.reasons) for refusal in world.ledger.refusals("things")}
    world.things, world.quarantine = world.lake.read("datasets/things"), world.lake.read("quarantine/things")
    return world


def check(taken, name, reason):
    day = DAYS[name]
    if reason is None:
        assert day not in taken.refused and len(taken.things.query("day == @day")) == 8
    else:
        assert reason in taken.refused[day] and day not in set(taken.things["day"])


@pytest.mark.parametrize("name", D1)
def test_d1_nothing_in_it_is_a_reason(taken, name):
    check(taken, name, D1[name][1])


@pytest.mark.parametrize("name", D2)
def test_d2_a_damaged_file_is_refused_with_its_reason(taken, name):
    check(taken, name, D2[name][1])


@pytest.mark.parametrize("name", D6)
def test_d6_changed_columns_are_refused_or_left_out(taken, name):
    check(taken, name, D6[name][1])


@pytest.mark.parametrize("name", UNUSUAL)
def test_d2_what_is_unusual_and_right_is_read(taken, name):
    check(taken, name, None)
    found = taken.things.query("day == @DAYS[@name]")
    assert found["note"].tolist() == [f"n{n}" for n in range(8)] and found["size"].tolist() == list(range(8))


@pytest.mark.parametrize("name", BAD_ROWS)
def test_d2_a_bad_row_is_set_aside_and_the_others_stand(taken, name):
    check(taken, name, None)
    (found,) = taken.quarantine.query("day == @DAYS[@name]").itertuples()
    assert (found.line, found.reason) == (10, BAD_ROWS[name][1])


@pytest.mark.parametrize("name", BAD_ROWS)
def test_d9_a_row_in_quarantine_is_kept_as_it_came(taken, name):
    (came,) = csv.reader(io.StringIO(BAD_ROWS[name][0], newline=""))
    (kept,) = taken.quarantine.query("day == @DAYS[@name]")["row"]
    fits = len(came) == 6 and name != "a NUL byte"
    assert json.loads(kept) == (dict(zip(SPEC.columns, came, strict=True)) if fits else came)


def test_d9_hostile_text_is_stored_as_it_came(taken):
    found = taken.things.query("day == @DAYS['harmless']")
    assert found["note"].tolist()[8:] == HARMLESS


def test_both_rows_of_a_doubled_key_are_set_aside_though_no_suite_asks(taken):
    found = taken.quarantine.query("day == @DAYS['a doubled key']")
    assert found["line"].tolist() == [2, 10] and set(found["reason"]) == {"code: a key that another row has too"}
    assert len(taken.things.query("day == @DAYS['a doubled key']")) == 7


def test_d6_what_was_left_out_is_on_record(taken):
    found = taken.lake.read("quality/things").query("expectation == 'schema: no column added'").set_index("day")
    assert not found["passed"].any() and set(found["severity"]) == {"warning"}
    assert found.loc[DAYS["an unknown column"], "seen"] == "'more': left out"
    assert found.loc[DAYS["50,000 columns"], "seen"].endswith("'more19': left out and 49974 more")


def test_d2_nothing_else_stops(taken):
    wanted = {DAYS[name] for name, (_, reason) in FILES.items() if reason is None}
    assert set(taken.things["day"]) == wanted and set(taken.refused) == set(DAYS.values()) - wanted


# --- memory ---

MEASURE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from ratchet.drops import Drop
from ratchet.errors import DropError
from ratchet.read_drop import read_drop
from ratchet.specs import DatasetSpec
path, rows, spec = sys.argv[1], int(sys.argv[2]), DatasetSpec.model_validate_json(sys.argv[3])
drop = Drop("things", "2013-01-01", "things", path, "", datetime(2013, 1, 2, tzinfo=UTC), "them", rows, 0)
try:
    said = f"{len(read_drop(Path(path), drop, spec).frame)} rows"
except DropError as error:
    said = f"{error.what}, seen {error.seen}"
# Not ru_maxrss, which holds what this process was before it became Python: a copy of the one that runs the tests.
peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
print(peak // 1024, said)
"""


def peak_of(path, pieces, rows, level=1):
    with gzip.open(path, "wb", level) as file:
        for piece in pieces:
            file.write(piece.encode() if isinstance(piece, str) else piece)
    command = [sys.executable, "-c", MEASURE, str(path), str(rows), SPEC.model_dump_json()]
    megabytes, said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().split(" ", 1)
    return int(megabytes), said


MORE = 49_994
WIDE = ",".join([HEADER, *(f"more{n}" for n in range(MORE))]) + "\n"
MANY_ROWS = "".join(row(f"c{n}", n, note="a note") + "\n" for n in range(100_000))
MANY_BAD_ROWS = MANY_ROWS.replace("true", "yes").replace("1.5", "x")
BOMBS = {
    "a bomb of one line": ([PLAIN, *["\0" * 10_000_000] * 100], 8, LONG_ROW, 250),
    "a bomb of good rows": ([PLAIN, *[(row(note="n" * 1000) + "\n") * 10_000] * 30], 8, "is too big unpacked", 600),
    "a field of 10 MB": ([PLAIN, row(), "n" * 10_000_000], 9, LONG_FIELD, 250),
    "a quoted field of 10 MB": ([PLAIN, row(), '"', *["n\n" * 50_000] * 100, '"\n'], 9, LONG_FIELD, 250),
    "a row without end": ([PLAIN, *['"x\n",' * 1_000_000] * 50], 8, LONG_ROW, 800),
    "50,000 columns": ([WIDE, *[GOOD[0] + ",9" * MORE + "\n"] * 1000], 1000, "1000 rows", 400),
    "50,000 quoted columns": ([WIDE, *[GOOD[0] + ',"9"' * MORE + "\n"] * 200], 200, "200 rows", 400),
    "200 MB": ([HEADER, "\n", *[MANY_ROWS] * 40], 4_000_000, "4000000 rows", 1000),
    "200 MB of bad rows": ([HEADER, "\n", *[MANY_BAD_ROWS] * 40], 4_000_000, "0 rows", 1700),
}  # pieces of the file, rows announced, what is said, megabytes


@pytest.mark.parametrize("name", BOMBS)
def test_d7_memory_is_bounded(tmp_path, name):
    pieces, rows, said, limit = BOMBS[name]
    megabytes, seen = peak_of(tmp_path / "things.csv.gz", pieces, rows)
    print(f"{name}: {megabytes} MB")
    assert said in seen and megabytes < limit


# --- names ---

NAMES = [
    *("..", ".", "", "a/b", "/etc", "..\\x", "things\n", "thi\0ngs", "%2e%2e", "things%2f..", "Things", "th\u0456ngs"),
    *("\uff54hings", "things\u200b", "things ", "things/2013-01-01"),
]
BAD_DAYS = [
    *("..", "", "2013-01-01/..", "../2013-01-01", "2013-01-01\n", "2013-01-01\0", "2013%2d01-01", "２０１３-01-01"),
    *("2013-02-30", "2013-1-1", "2013-01-01 ", "2013\u201001\u201001"),
]
BAD_FILES = [
    *("../other.csv.gz", "/etc/passwd", "..", ".", "", "a/b.csv.gz", "%2e%2e%2fx", "x\0.csv.gz", "x.csv.gz\n", " x"),
    *("\u200bx", "\u0445x", "x" * 200, "-x", None, 7),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_d8_a_dataset_s_name_is_refused_before_a_path_is_made(tmp_path, name):
    drops = DropStore(tmp_path / "landing")
    for ask in (drops.days, lambda n: drops.announced(n, "2013-01-01"), lambda n: drops.find(n, "2013-01-01")):
        with pytest.raises(ParameterError):
            ask(name)
    with pytest.raises(ValueError, match="name"):
        DatasetSpec.model_validate({**SPEC.model_dump(), "name": name})
    with pytest.raises(ParameterError):
        Lake(tmp_path / "lake").read(f"datasets/{name}")
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "landing"])


@pytest.mark.parametrize("day", BAD_DAYS, ids=ascii)
def test_d8_a_day_is_refused_before_a_path_is_made(tmp_path, day):
    world = World(tmp_path)
    for ask in (lambda: world.drops.announced("things", day), lambda: world.ingest([day])):
        with pytest.raises(ParameterError):
            ask()
    assert world.lake.days("datasets/things") == []


@pytest.mark.parametrize("file", BAD_FILES, ids=ascii)
def test_d8_a_file_s_name_is_refused_before_a_path_is_made(tmp_path, file):
    world = World(tmp_path)
    world.deliver("2013-01-01", WHOLE)
    world.deliver("2013-01-02", WHOLE)
    key = "things/2013-01-01/manifest.json"
    manifest = json.loads(world.drops.storage.read(key, 10_000))
    world.drops.storage.write(key, json.dumps({**manifest, "file": file}).encode())
    with pytest.raises(DropError, match="the manifest of things for 2013-01-01 can't be read"):
        world.ingest(["2013-01-01", "2013-01-02"])
    assert world.lake.days("datasets/things") == ["2013-01-02"]
