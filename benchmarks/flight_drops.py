"""Drops to measure ingestion with: flights of 2013 again in other years, all in one day, and files too big to take."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ratchet.digests import file_digest
from ratchet.drops import MANIFEST, DropStore
from ratchet.upstream import FIRST_DAY, LAST_DAY, NEW_YORK, land_flights

DATASET = "flights"
BIG_DAY = "2013-07-01"  # the event day of every drop that stands alone
_HUGE = 5 * 1024**3
_MEMBER = 64 * 1024**2  # of the bomb: unpacked bytes that are packed once and repeated
_COLUMNS = ["carrier", "flight", "tailnum", "origin", "dest", "distance", "sched_dep_at", "sched_arr_at"]


def land_year(landing: Path) -> int:
    """The drops of 2013 as the example's upstream delivers them. Returns the rows of flights."""
    return land_flights(DropStore(landing), FIRST_DAY, LAST_DAY).rows[DATASET]


def land_years(landing: Path, first: int, last: int) -> int:
    """Every day from `first` to `last` with the flights of its calendar day in 2013 (29 February: of the 28th), moved
    by whole days of New York's clock. Returns the rows."""
    year, rows = _year_of_flights(landing), 0
    store = DropStore(landing)
    for number in range(first, last + 1):
        for day, frame in _moved_to(year, number):
            store.write(DATASET, day, frame, _evening_before(day), "benchmark")
            rows += len(frame)
    return rows


def land_big(landing: Path, rows: int) -> int:
    """One drop of that many rows: the year's flights over and over, all moved to one day, numbered anew so that each
    has a key of its own. Returns its bytes unpacked."""
    year = _year_of_flights(landing)
    flights = pd.concat([year] * -(-rows // len(year)), ignore_index=True).iloc[:rows]
    moved = _moved(flights, np.full(rows, np.datetime64(BIG_DAY)))
    moved["flight"] = 1 + moved.groupby(["carrier", "origin", "sched_dep_at"]).cumcount()
    table = pa.Table.from_pandas(moved[_COLUMNS], preserve_index=False)
    for name in ("sched_dep_at", "sched_arr_at"):
        texts = pc.strftime(pc.cast(table[name], pa.timestamp("s", "UTC")), "%Y-%m-%dT%H:%M:%SZ")
        table = table.set_column(table.column_names.index(name), name, texts)
    text = io.BytesIO()
    pyarrow.csv.write_csv(table, text, pyarrow.csv.WriteOptions(quoting_style="none"))
    _deliver(landing, gzip.compress(text.getbuffer(), 6, mtime=0), rows)
    return text.getbuffer().nbytes


def land_announced(landing: Path) -> None:
    """A drop of 5 GB whose manifest says so. The file is one hole: it takes no room, and reads as zeros."""
    _deliver(landing, b"", 50_000_000, announced=_HUGE)
    _hole(landing)


def land_bigger_than_announced(landing: Path) -> None:
    """The same file, announced as one of a thousand bytes."""
    _deliver(landing, b"", 50_000_000, announced=1000)
    _hole(landing)


def land_bomb(landing: Path) -> None:
    """A drop of a few megabytes, as its manifest truly says, that unpacks to 5 GB of rows."""
    header = gzip.compress((",".join(_COLUMNS) + "\n").encode(), mtime=0)
    row = b"UA,1545,N14228,EWR,IAH,1400.0,2013-07-01T09:15:00Z,2013-07-01T12:19:00Z\n"
    member = gzip.compress(row * (_MEMBER // len(row)), mtime=0)
    repeats = _HUGE // _MEMBER
    _deliver(landing, header + member * repeats, repeats * (_MEMBER // len(row)))


def _year_of_flights(landing: Path) -> pd.DataFrame:
    """The rows of 2013 with `day`, read back from drops: delivers them beside `landing` if they aren't there yet."""
    beside = landing.parent / "year"
    if not beside.exists():
        land_year(beside)
    store = DropStore(beside)
    parts = []
    for day in store.days(DATASET):
        with store.fetched(store.announced(DATASET, day), 2**30) as path:
            parts.append(pd.read_csv(path, keep_default_na=False, na_values=[""]).assign(day=day))
    frame = pd.concat(parts, ignore_index=True)
    instants = {name: pd.to_datetime(frame[name], utc=True) for name in ("sched_dep_at", "sched_arr_at")}
    return frame.assign(**instants)


def _moved_to(year: pd.DataFrame, number: int):
    days = year["day"].str.slice_replace(0, 4, str(number))
    moved = _moved(year, days.to_numpy("datetime64[D]")).assign(day=days)
    by_day = dict(list(moved.groupby("day")))
    if (leap := f"{number}-02-29") and _is_day(leap):
        last = by_day[f"{number}-02-28"]
        by_day[leap] = _moved(last, np.full(len(last), np.datetime64(leap)))
    return [(day, frame[_COLUMNS]) for day, frame in sorted(by_day.items())]


def _moved(flights: pd.DataFrame, days: np.ndarray) -> pd.DataFrame:
    """With each departure at the same time of New York's clock on another day, and its arrival as much later."""
    wall = flights["sched_dep_at"].dt.tz_convert(NEW_YORK).dt.tz_localize(None)
    shift = pd.to_timedelta((days - flights["day"].to_numpy("datetime64[D]")).astype("timedelta64[s]"))
    standard = np.zeros(len(flights), dtype=bool)
    there = (wall + shift).dt.tz_localize(NEW_YORK, nonexistent="shift_forward", ambiguous=standard)
    departure = there.dt.tz_convert("UTC")
    arrival = departure + (flights["sched_arr_at"] - flights["sched_dep_at"])
    return flights.assign(sched_dep_at=departure, sched_arr_at=arrival)


def _evening_before(day: str) -> datetime:
    local = datetime.combine(date.fromisoformat(day) - timedelta(days=1), time(20), tzinfo=ZoneInfo(NEW_YORK))
    return local.astimezone(UTC)


def _deliver(landing: Path, data: bytes, rows: int, announced: int | None = None) -> None:
    folder = landing / DATASET / BIG_DAY
    folder.mkdir(parents=True)
    file = folder / f"{DATASET}.csv.gz"
    file.write_bytes(data)
    manifest = {
        "dataset": DATASET,
        "day": BIG_DAY,
        "file": file.name,
        "sha256": file_digest(file),
        "bytes": len(data) if announced is None else announced,
        "rows": rows,
        "delivered_at": _evening_before(BIG_DAY).isoformat(),
        "source": "benchmark",
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))


def _hole(landing: Path) -> None:
    with open(landing / DATASET / BIG_DAY / f"{DATASET}.csv.gz", "r+b") as file:
        file.truncate(_HUGE)


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
