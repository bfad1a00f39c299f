"""A lake of made-up flights, in the real schemas, through the real Lake and Ledger."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ratchet.days import days_between, shift_day
from ratchet.digests import digest_of, frame_digest
from ratchet.lake import Lake
from ratchet.ledger import open_ledger
from ratchet.published import Published
from ratchet.settings import get_settings
from ratchet.snapshot import take_snapshot
from ratchet.specs import Windows, load_dataset_specs, load_model_specs
from ratchet.storage import open_storage
from ratchet.windows import training_windows

INCLUDE = Path(__file__).parents[3] / "include"
ZONE = "America/New_York"
FIRST, LAST = "2013-03-01", "2013-03-20"  # the clocks change on the 10th


@pytest.fixture(scope="session")
def datasets():
    return load_dataset_specs(INCLUDE / "datasets").good


@pytest.fixture(scope="session")
def spec():
    return load_model_specs(INCLUDE / "models").good["flight_delay"]


@pytest.fixture(scope="session")
def made():
    """The four datasets as frames with `day` and `known_at`: 20 days of 60 flights, some cancelled, some late."""
    return make_flights()


@pytest.fixture(scope="session")
def filled(tmp_path_factory, made):
    """The folder of lake and ledger in which all of `made` is published."""
    root = tmp_path_factory.mktemp("filled")
    fill_published(published_in(root, open_storage(root)), made)
    return root


@pytest.fixture
def published(tmp_path, filled):
    """A copy of its own for each test."""
    root = Path(shutil.copytree(filled, tmp_path / "published"))
    return published_in(root, open_storage(root))


@pytest.fixture
def published_in_storage(tmp_path, filled, storage, move_in):
    """The same with the lake in `storage`."""
    root = Path(shutil.copytree(filled, tmp_path / "published"))
    move_in(root / "lake")
    return published_in(root, storage)


@pytest.fixture
def empty(tmp_path, storage):
    """Lake and ledger with nothing in them, the lake in `storage`."""
    return published_in(tmp_path / "empty", storage)


@pytest.fixture(scope="session")
def windows():
    return training_windows(Windows(validate_days=4, judge_days=5), FIRST, shift_day(LAST, 1), 1)


@pytest.fixture(scope="session")
def snapshot(spec, datasets, filled, windows):
    return take_snapshot(spec, datasets, published_in(filled, open_storage(filled)), shift_day(LAST, 1), windows)


@pytest.fixture(scope="session")
def fill():
    return fill_published


def published_in(root, storage):
    """The ledger in a folder, the lake in a storage."""
    paths = {"ledger_key_file": root / "ledger" / "key", "ledger_head_file": root / "ledger" / "head"}
    url = f"sqlite:///{root / 'ledger' / 'ledger.db'}"
    ledger = open_ledger(replace(get_settings(), var=root, ledger_url=url, **paths))
    return Published(Lake(storage.below("lake")), ledger)


def fill_published(published, frames, days=None):
    """Publishes and records the frames' days (all of them by default), each dataset in one commit."""
    for name, frame in frames.items():
        by_day = {d: rows.drop(columns="day") for d, rows in frame.groupby("day") if days is None or d in days}
        by_day = {
            d: rows.assign(drop_sha256=digest_of([name, d, frame_digest(rows)]), recipe="r")
            for d, rows in by_day.items()
        }
        version = published.lake.publish_days(f"datasets/{name}", by_day)
        for day, rows in by_day.items():
            published.ledger.record_partition(
                name,
                day,
                frame_digest(rows.drop(columns=["drop_sha256", "recipe"])),
                rows["drop_sha256"].iloc[0],
                "r",
                version,
                len(rows),
                0,
                rows["known_at"].iloc[0].to_pydatetime(),
            )
    return published


def at(days, minutes):
    local = pd.to_datetime(pd.Series(days)) + pd.to_timedelta(minutes, unit="m")
    return (
        local.dt.tz_localize(ZONE, nonexistent="shift_forward", ambiguous=True)
        .dt.tz_convert("UTC")
        .astype("datetime64[us, UTC]")
    )


def make_flights(seed=0, per_day=60):
    rng = np.random.default_rng(seed)
    days = days_between(FIRST, LAST)
    day = np.repeat(days, per_day)
    n = len(day)
    departs = at(day, rng.integers(0, 24 * 60, n))
    flights = pd.DataFrame(
        {
            "carrier": rng.choice(["UA", "AA", "B6"], n),
            "flight": np.tile(np.arange(per_day), len(days)),
            "tailnum": rng.choice(["N1", "N2", "N3", "N9"], n),
            "origin": rng.choice(["EWR", "JFK", "LGA"], n),
            "dest": rng.choice(["BOS", "SEA", "MIA"], n),
            "distance": rng.choice([200.0, 1000.0, 2400.0], n),
            "sched_dep_at": departs,
            "sched_arr_at": departs + pd.to_timedelta(rng.integers(60, 400, n), unit="m"),
            "day": day,
            "known_at": at([shift_day(d, -1) for d in day], 20 * 60),
        }
    )
    hours = pd.MultiIndex.from_product([["EWR", "JFK", "LGA"], days_between(shift_day(FIRST, -1), LAST), range(24)])
    origin, weather_day, hour = (hours.get_level_values(level) for level in range(3))
    wind = rng.gamma(2, 6, len(hours))
    weather = pd.DataFrame(
        {
            "origin": origin,
            "observed_at": at(weather_day, hour * 60),
            **{name: rng.normal(50, 10, len(hours)) for name in ("temp", "dewp", "humid", "wind_dir", "pressure")},
            "wind_speed": wind,
            "wind_gust": np.where(wind > 15, wind * 1.3, np.nan),
            "precip": 0.0,
            "visib": 10.0,
            "day": weather_day,
            "known_at": at([shift_day(d, 1) for d in weather_day], 30),
        }
    ).drop_duplicates(["origin", "observed_at"])
    fate = rng.random(n)
    hour = flights["sched_dep_at"].dt.tz_convert(ZONE).dt.hour
    delay = np.where(rng.random(n) < 0.1 + hour / 40, 40.0, -5.0)
    outcomes = flights[["carrier", "flight", "origin", "sched_dep_at", "day"]].assign(
        status=np.where(fate < 0.05, "cancelled", "landed"),
        dep_delay=np.where(fate < 0.05, np.nan, delay),
        arr_delay=np.where(fate < 0.05, np.nan, delay),
        landed_at=flights["sched_arr_at"].where(fate >= 0.05),
        known_at=at([shift_day(d, 1) for d in day], 23 * 60),
    )
    planes = pd.DataFrame(
        {
            "tailnum": ["N1", "N2", "N3"],
            "year": [1999.0, 2005.0, np.nan],
            "type": "Fixed wing multi engine",
            "manufacturer": "BOEING",
            "model": "737",
            "engines": 2,
            "seats": [100, 150, 200],
            "engine": "Turbo-fan",
            "day": FIRST,
            "known_at": at([shift_day(FIRST, -1)] * 3, 20 * 60),
        }
    )
    return {"flights": flights, "weather": weather, "planes": planes, "outcomes": outcomes}
