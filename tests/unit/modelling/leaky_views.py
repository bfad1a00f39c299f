"""Feature functions that know too much, each in its own way."""

import pandas as pd

from feature_views.flight_delay import build_features


def from_later_weather(flights, weather, planes):
    """Joins the observation nearest to departure, also one after it."""
    features = build_features(flights, weather, planes)
    wanted = pd.DataFrame({"origin": flights["origin"], "at": flights["sched_dep_at"], "row": range(len(flights))})
    seen = weather[["origin", "observed_at", "temp"]].sort_values("observed_at")
    joined = pd.merge_asof(
        wanted.sort_values("at"), seen, left_on="at", right_on="observed_at", by="origin", direction="nearest"
    )
    return features.assign(temp=joined.sort_values("row")["temp"].astype("float64").to_numpy())


def from_the_day_s_other_flights(flights, weather, planes):
    """Counts the flights of the whole day, those after this one too."""
    per_day = flights.groupby("day")["flight"].transform("size").astype("float64")
    return build_features(flights, weather, planes).assign(distance=per_day)


def from_a_column_known_later(flights, weather, planes):
    """Reads a column that is filled in after landing."""
    return build_features(flights, weather, planes).assign(
        sched_minutes=flights["sched_arr_at"].astype("int64").astype("float64").where(flights["sched_arr_at"].notna())
    )
