"""Will a flight arrive more than 15 minutes late? Only facts of two hours or more before its scheduled departure.

Weather joins by the time it was observed, two hours before departure or earlier, never the hour itself: the stations
publish as they observe, the drop that archives a day comes after it. Times of day are those of New York, where all
three airports lie. No month or date is a feature: a tree can't extrapolate to a month it has not seen.
"""

from __future__ import annotations

import pandas as pd

ZONE = "America/New_York"
WEATHER_LEAD = pd.Timedelta(hours=2)
WEATHER_TOLERANCE = pd.Timedelta(hours=6)
LATE_AFTER_MINUTES = 15
OBSERVED = ["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]


def build_features(flights: pd.DataFrame, weather: pd.DataFrame, planes: pd.DataFrame) -> pd.DataFrame:
    """One row per flight, on the index of `flights`; feature columns only.

    flights: carrier, tailnum, origin, dest, distance (miles), sched_dep_at, sched_arr_at (UTC instants).
    weather: origin, observed_at (UTC instant), OBSERVED. The newest observation at the flight's origin that is at
    least WEATHER_LEAD and at most WEATHER_LEAD + WEATHER_TOLERANCE old at scheduled departure; none: missing values.
    planes: tailnum, year, seats; a plane nobody knows: missing values.
    """
    features = pd.concat(
        [_schedule(flights), _plane(flights, planes), _weather_before(flights, weather)],
        axis="columns",
    )
    return features


def build_label(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Key columns (carrier, flight, origin, sched_dep_at) and `label`: 1 if it arrived more than 15 minutes late.

    Cancelled and diverted flights, which have no arrival delay, are left out.
    """
    arrived = outcomes[outcomes["arr_delay"].notna()]
    label = (arrived["arr_delay"] > LATE_AFTER_MINUTES).astype("int64").rename("label")
    return pd.concat([arrived[["carrier", "flight", "origin", "sched_dep_at"]], label], axis="columns")


def _schedule(flights: pd.DataFrame) -> pd.DataFrame:
    departs = flights["sched_dep_at"].dt.tz_convert(ZONE)
    return pd.DataFrame(
        {
            "carrier": flights["carrier"],
            "origin": flights["origin"],
            "dest": flights["dest"],
            "distance": flights["distance"].astype("float64"),
            "dep_hour": departs.dt.hour + departs.dt.minute / 60,
            "weekday": departs.dt.day_name(),
            "sched_minutes": (flights["sched_arr_at"] - flights["sched_dep_at"]) / pd.Timedelta(minutes=1),
        }
    )


def _plane(flights: pd.DataFrame, planes: pd.DataFrame) -> pd.DataFrame:
    by_tail = planes.drop_duplicates("tailnum", keep="last").set_index("tailnum")
    plane = by_tail[["year", "seats"]].astype("float64").reindex(flights["tailnum"]).set_axis(flights.index)
    flown_in = flights["sched_dep_at"].dt.tz_convert(ZONE).dt.year
    return pd.DataFrame({"plane_age": flown_in - plane["year"], "plane_seats": plane["seats"]})


def _weather_before(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    wanted = pd.DataFrame(
        {"origin": flights["origin"], "at": flights["sched_dep_at"] - WEATHER_LEAD, "row": range(len(flights))}
    )
    seen = weather[["origin", "observed_at", *OBSERVED]].astype({name: "float64" for name in OBSERVED})
    joined = pd.merge_asof(
        wanted.sort_values("at", kind="stable"),
        seen.sort_values(["observed_at", "origin"], kind="stable"),
        left_on="at",
        right_on="observed_at",
        by="origin",
        tolerance=WEATHER_TOLERANCE,
    ).sort_values("row")
    return joined[OBSERVED].set_axis(flights.index)
