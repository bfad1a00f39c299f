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


def from_later_weather_now_and_then(flights, weather, planes):
    """Looks ahead for one flight in twenty."""
    ahead = from_later_weather(flights, weather, planes)
    return ahead.assign(
        temp=ahead["temp"].where(flights["flight"] % 20 == 0, build_features(flights, weather, planes)["temp"])
    )


def that_can_not_do_without(flights, weather, planes):
    """Breaks where a column known later is not there yet."""
    return build_features(flights, weather, planes).assign(distance=flights["sched_arr_at"].dt.minute.astype("int64"))


def from_the_schedule(flights):
    """Counts the flights of the day, which are all known in the morning; but not those of the next."""
    departs = flights["sched_dep_at"].dt.tz_convert("America/New_York")
    return pd.DataFrame(
        {
            "carrier": flights["carrier"],
            "distance": flights.groupby("day")["flight"].transform("size").astype("float64"),
            "dep_hour": departs.dt.hour.astype("float64"),
        }
    )


def from_outcomes_of(days_ago):
    """The delay of the same flight number some days ago."""

    def build(flights, outcomes):
        then = pd.to_datetime(flights["day"]) - pd.Timedelta(days=days_ago)
        wanted = pd.DataFrame({"day": then.dt.strftime("%Y-%m-%d"), "flight": flights["flight"].to_numpy()})
        seen = outcomes[["day", "flight", "arr_delay"]].drop_duplicates(["day", "flight"])
        delay = wanted.merge(seen, on=["day", "flight"], how="left")["arr_delay"].astype("float64")
        return from_the_schedule(flights).assign(distance=delay.to_numpy())

    return build


from_today_s_outcomes, from_yesterday_s_outcomes, from_older_outcomes = (from_outcomes_of(days) for days in range(3))


def from_all_outcomes_of(days_ago, value):
    """The sum over all flights of some days ago of what the label is not made of."""

    def build(flights, outcomes):
        then = (pd.to_datetime(flights["day"]) - pd.Timedelta(days=days_ago)).dt.strftime("%Y-%m-%d")
        per_day = value(outcomes).astype("float64").groupby(outcomes["day"]).sum()
        return from_the_schedule(flights).assign(distance=then.map(per_day).astype("float64").to_numpy())

    return build


delays_yesterday, delays_before = (from_all_outcomes_of(days, lambda rows: rows["dep_delay"]) for days in (1, 2))
cancelled_yesterday, cancelled_before = (
    from_all_outcomes_of(days, lambda rows: rows["status"] == "cancelled") for days in (1, 2)
)
rows_yesterday, rows_before = (from_all_outcomes_of(days, lambda rows: rows["flight"].notna()) for days in (1, 2))


def from_weather_an_hour_before(flights, weather, planes):
    """Takes weather of one hour before departure, where two are due."""
    later = flights.assign(sched_dep_at=flights["sched_dep_at"] + pd.Timedelta(hours=1))
    return build_features(flights, weather, planes).assign(temp=build_features(later, weather, planes)["temp"])


def from_all_weather_up_to(hours):
    """The mean over all observations that it is given of the time up to some hours before departure."""

    def build(flights, weather, planes):
        seen = weather.sort_values("observed_at")
        seen = seen.assign(mean=seen["temp"].astype("float64").expanding().mean())[["observed_at", "mean"]]
        at = flights["sched_dep_at"] - pd.Timedelta(hours=hours)
        wanted = pd.DataFrame({"at": at, "row": range(len(flights))}).sort_values("at")
        joined = pd.merge_asof(wanted, seen, left_on="at", right_on="observed_at").sort_values("row")
        return build_features(flights, weather, planes).assign(temp=joined["mean"].to_numpy())

    return build


from_all_weather_before, from_all_weather_and_later = from_all_weather_up_to(2), from_all_weather_up_to(-3)


def from_its_own_outcome(outcomes):
    """Of a model that scores the very rows which hold the outcome."""
    departs = outcomes["sched_dep_at"].dt.tz_convert("America/New_York")
    return pd.DataFrame(
        {
            "carrier": outcomes["carrier"],
            "distance": outcomes["arr_delay"].astype("float64"),
            "dep_hour": departs.dt.hour.astype("float64"),
        }
    )
