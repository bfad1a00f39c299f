"""What a crash may leave behind and what it must not, checked without a line of the library: Delta's log as JSON, rows
through pyarrow, the ledger through sqlite3, its seals through hmac, drops through gzip and csv.

`look` reads a place (folders `ledger`, `lake`, `landing`) and asserts all that must hold at any time of itself;
`check_interrupted` and `check_finished` compare it with an undisturbed run. What lies on S3 is fetched first.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import hmac
import io
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

BOOKKEEPING = ("drop_sha256", "recipe")  # columns of published rows that aren't content
DECIDING = ("datasets", "predictions")  # kinds of tables in which each publication is one version
RECORDED = {
    "ledger_partitions": "partition_published",
    "ledger_refusals": "drop_refused",
    "ledger_scorings": "day_scored",
}

Day = tuple[str, ...]  # the rows of a day as text, in no order that matters: equal content, equal value


@dataclass(frozen=True)
class Table:
    """`versions`: at each version, the days that hold rows. `files`: likewise, the paths of a day's files."""

    folder: Path
    versions: list[dict[str, Day]]
    files: list[dict[str, list[Path]]]

    def rows(self, day: str, version: int = -1) -> pa.Table:
        parts = [pq.read_table(path, partitioning=None) for path in self.files[version].get(day, [])]
        rows = pa.concat_tables(parts, promote_options="default")
        return rows.append_column("day", pa.array([day] * len(rows), pa.string()))


@dataclass(frozen=True)
class Seen:
    """A place. `drops`: {day: what the manifest says}; `landed`: {sha256 of a drop: rows in it}; `recorded`: rows
    of the ledger's tables; `events`: its chain without instants and seals; `head`: how many the head file knows of."""

    tables: dict[str, Table]
    drops: dict[str, dict]
    landed: dict[str, int]
    snapshots: dict[str, str]
    recorded: dict[str, list[dict]]
    events: list[tuple]
    head: int


def fetch(client, bucket: str, prefix: str, to: Path) -> None:
    """Copies what lies below a prefix of a bucket into a folder."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for one in page.get("Contents", []):
            path = to / one["Key"].removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read())


def look(ledger: Path, storage: Path) -> Seen:
    """Reads landing zone and lake below `storage`, and the ledger in its folder. AssertionError for a torn table, a day
    that isn't wholly of one drop, rows lost on the way, a record that the table belies, a chain that doesn't hold."""
    logs = sorted((storage / "lake").glob("*/*/_delta_log"))
    tables = {"/".join(log.parts[-3:-1]): read_table(log.parent) for log in logs if any(log.glob("*.json"))}
    landed, drops = _landed(storage / "landing"), _drops(storage / "landing")
    entries, head, recorded = _ledger(ledger)
    for name, table in tables.items():
        if name.startswith("datasets/"):
            _check_rows_add_up(table, tables, landed)
    _check_records(recorded, tables)
    return Seen(tables, drops, landed, _snapshots(storage / "lake" / "snapshots"), recorded, entries, head)


def check_interrupted(seen: Seen, undisturbed: Seen) -> None:
    """Killed somewhere: readers see the old or the new of each day, and what is on record is the beginning."""
    assert seen.events == undisturbed.events[: len(seen.events)], "the chain is no beginning of the undisturbed one"
    assert seen.tables.keys() <= undisturbed.tables.keys()
    for name, table in seen.tables.items():
        whole = undisturbed.tables[name]
        if name.startswith(DECIDING):
            assert table.versions == whole.versions[: len(table.versions)], f"{name}: another publication"
        _check_days_are_whole(name, table, whole)
    assert seen.landed.items() <= undisturbed.landed.items()
    assert seen.snapshots.items() <= undisturbed.snapshots.items()


def check_finished(seen: Seen, undisturbed: Seen) -> None:
    """As if it had never been killed: the same content and records, each publication once."""
    check_interrupted(seen, undisturbed)
    assert seen.events == undisturbed.events, "the chain lacks an event, or has one more"
    assert seen.head == len(seen.events), "the head file doesn't name the last entry"
    assert seen.tables.keys() == undisturbed.tables.keys()
    for name, table in seen.tables.items():
        assert table.versions[-1] == undisturbed.tables[name].versions[-1], f"{name}: other content"
        if name.startswith(DECIDING):
            assert len(table.versions) == len(undisturbed.tables[name].versions), f"{name}: published twice, or not"
    assert (seen.drops, seen.landed) == (undisturbed.drops, undisturbed.landed)
    assert seen.snapshots == undisturbed.snapshots
    _check_all_is_recorded(seen)


def content_digest(rows: pa.Table) -> str:
    """The digest of content that the ledger names: pandas' hash of each row, sorted, with names and kinds of columns.

    One that changed would make every day ever published another: so it is spelled out here again."""
    names = sorted(rows.column_names)
    columns = {name: _hashable(rows[name]) for name in names}
    schema = [(name, column.dtype.kind) for name, column in columns.items()]
    hashes = np.sort(pd.util.hash_pandas_object(pd.DataFrame(columns), index=False).to_numpy())
    return hashlib.sha256(_json([schema, len(rows)]).encode() + hashes.astype("<u8").tobytes()).hexdigest()


def _hashable(column: pa.ChunkedArray) -> np.ndarray:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us")).to_numpy()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array([*column.to_pylist(), None], dtype=object)[:-1]
    return column.to_numpy()


def read_table(folder: Path) -> Table:
    """Replays the log. No version may be missing: nothing of the log is ever cleaned up."""
    log = sorted((folder / "_delta_log").glob("*.json"))
    assert [path.name for path in log] == [f"{n:020}.json" for n in range(len(log))], f"a gap in the log of {folder}"
    active: dict[Path, str] = {}
    files, versions, content = [], [], {}
    for commit in log:
        _replay(commit.read_text("utf-8"), folder, active)
        by_day: dict[str, list[Path]] = {}
        for path, day in active.items():
            by_day.setdefault(day, []).append(path)
            if path not in content:
                content[path] = [_text(row) for row in pq.read_table(path, partitioning=None).to_pylist()]
        files.append(by_day)
        versions.append({day: tuple(sorted(r for p in paths for r in content[p])) for day, paths in by_day.items()})
    return Table(folder, versions, files)


def _replay(commit: str, folder: Path, active: dict[Path, str]) -> None:
    for action in map(json.loads, commit.splitlines()):
        if "remove" in action:
            del active[folder / unquote(action["remove"]["path"])]
        if "add" in action:
            path = folder / unquote(action["add"]["path"])
            assert path not in active, f"{path} is added twice"
            active[path] = action["add"]["partitionValues"]["day"]


def _text(row: dict) -> str:
    """Without what is null: a column that came later is null in the rows of before."""
    return repr(sorted((name, str(value)) for name, value in row.items() if value is not None))


def _check_days_are_whole(name: str, table: Table, undisturbed: Table) -> None:
    """At every version a day is what it was at some version of the undisturbed run, or not there yet."""
    allowed: dict[str, set[Day]] = {}
    for version in undisturbed.versions:
        for day, rows in version.items():
            allowed.setdefault(day, set()).add(rows)
    for number, version in enumerate(table.versions):
        for day, rows in version.items():
            assert rows in allowed.get(day, ()), f"{name} at version {number}: a part of {day}, or something else"


def _check_rows_add_up(table: Table, tables: dict[str, Table], landed: dict[str, int]) -> None:
    quarantine = tables.get(f"quarantine/{table.folder.name}")
    quarantined: dict[tuple[str, str], set[int]] = {}
    for version, days in enumerate(quarantine.versions if quarantine else []):
        for day in days:
            shas = quarantine.rows(day, version)["drop_sha256"].to_pylist()
            assert len(set(shas)) == 1, f"quarantine of {day} is of several drops"
            quarantined.setdefault((day, shas[0]), set()).add(len(shas))
    for version, days in enumerate(table.versions):
        for day in days:
            shas = table.rows(day, version)["drop_sha256"].to_pylist()
            assert len(set(shas)) == 1, f"version {version}: {day} is of several drops"
            (aside,) = quarantined.get((day, shas[0]), {0})
            assert len(shas) + aside == landed[shas[0]], f"version {version}: rows of {day} were lost or doubled"


def _landed(landing: Path) -> dict[str, int]:
    found = {}
    for path in landing.glob("*/*/*.csv.gz"):
        packed = path.read_bytes()
        lines = csv.DictReader(io.StringIO(gzip.decompress(packed).decode()))
        found[hashlib.sha256(packed).hexdigest()] = len(list(lines))
    return found


def _drops(landing: Path) -> dict[str, dict]:
    """By what the manifests say; each names a file that is there, whole."""
    found = {}
    for path in landing.glob("*/*/manifest.json"):
        told = json.loads(path.read_text("utf-8"))
        packed = (path.parent / told["file"]).read_bytes()
        assert (hashlib.sha256(packed).hexdigest(), len(packed)) == (told["sha256"], told["bytes"]), path
        found["/".join(path.parts[-3:-1])] = told
    return found


def _snapshots(folder: Path) -> dict[str, str]:
    """By name those with a manifest; the frame is what the name says."""
    found = {}
    for path in folder.glob("*/*/manifest.json"):
        digest, manifest = path.parent.name, json.loads(path.read_text("utf-8"))
        assert digest == manifest["digest"] == content_digest(pq.read_table(path.parent / "frame.parquet"))
        found[digest] = _json(manifest)
    return found


def _ledger(folder: Path) -> tuple[list[tuple], int, dict[str, list[dict]]]:
    """Events, the head's number, and the rows of the tables that they speak of. Verifies the chain."""
    if not (folder / "ledger.db").exists():
        return [], 0, {}
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        connection.row_factory = sqlite3.Row
        there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if "ledger_events" not in there:
            return [], 0, {}
        entries = [dict(row) for row in connection.execute("SELECT * FROM ledger_events ORDER BY seq")]
        recorded = {t: [dict(row) for row in connection.execute(f"SELECT * FROM {t}")] for t in RECORDED}
    head = _check_chain(folder, entries)
    assert len({e["at"] for e in entries[head:]}) <= 1, "the head file lags behind by more than the last transaction"
    events = [(e["kind"], e["actor"], e["subject"], _without_time(json.loads(e["payload"]))) for e in entries]
    for table, kind in RECORDED.items():
        told = sorted(_json(payload) for of, _, _, payload in events if of == kind)
        assert told == sorted(_json(_without_time(row)) for row in recorded[table]), f"{table} isn't what events tell"
    return events, head, recorded


def _check_chain(folder: Path, entries: list[dict]) -> int:
    """K4: each entry is sealed with the key and the one before; the head file names one of them."""
    key, before = (folder / "key").read_bytes().strip(), "0" * 64
    for number, entry in enumerate(entries, start=1):
        assert (entry["seq"], entry["prev_hash"]) == (number, before), f"the chain breaks at entry {number}"
        told = [entry[name] for name in ("seq", "at", "kind", "actor", "subject", "payload")]
        before = hmac.new(key, (before + _json(told)).encode(), hashlib.sha256).hexdigest()
        assert entry["hash"] == before, f"entry {number} isn't sealed rightly"
    if not (folder / "head").exists():
        return 0
    head = json.loads((folder / "head").read_text())
    assert entries[head["seq"] - 1]["hash"] == head["hash"], "the head file names what isn't in the chain"
    return head["seq"]


def _check_records(recorded: dict[str, list[dict]], tables: dict[str, Table]) -> None:
    """Each record of a day is true of the table version that it names."""
    for row in recorded.get("ledger_scorings", []):
        rows = tables[f"predictions/{row['model']}"].rows(row["day"], row["table_version"])
        assert set(rows["inputs_digest"].to_pylist()) == {row["inputs_digest"]} and len(rows) == row["rows"], row


def _check_all_is_recorded(seen: Seen) -> None:
    """A day's newest record is of the content that the table ends with, and no day is without one."""
    newest = {}
    for row in sorted(seen.recorded["ledger_partitions"], key=lambda row: row["revision"]):
        newest[f"datasets/{row['dataset']}", row["day"]] = row["table_version"]
    tables = {name: table for name, table in seen.tables.items() if name.startswith("datasets/")}
    assert newest.keys() == {(name, day) for name, table in tables.items() for day in table.versions[-1]}
    for (name, day), version in newest.items():
        assert tables[name].versions[version][day] == tables[name].versions[-1][day], f"{name} {day} is not on record"


def _without_time(told: dict) -> dict:
    """JSON kept as text becomes what it says, as in an event's payload; so do rows that an event tells of."""
    plain = {name: value for name, value in told.items() if name != "recorded_at"}
    texts = {name: value for name, value in plain.items() if isinstance(value, str) and value[:1] in ("[", "{")}
    rows = {"wrote": [[table, _without_time(row)] for table, row in told["wrote"]]} if "wrote" in told else {}
    return plain | {name: json.loads(text) for name, text in texts.items()} | rows


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
