"""Predictions of a fitted estimator, and one predictions partition a day."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd

from ratchet.errors import EmptyWindowError, ModelFileError, ParameterError
from ratchet.prediction_ids import prediction_ids
from ratchet.snapshot import build_inputs

if TYPE_CHECKING:
    from ratchet.lake import Lake
    from ratchet.ledger import Champion
    from ratchet.published import Published
    from ratchet.specs import DatasetSpec, ModelSpec


@dataclass(frozen=True)
class ScoredDay:
    """`unchanged`: the partition was there already, from the same inputs and version, and was left as it is. `routing`:
    the canary that served a share of its rows, "" for none."""

    day: str
    rows: int
    table_version: int
    unchanged: bool
    routing: str = ""


def score_frame(estimator, inputs: pd.DataFrame, spec: ModelSpec) -> pd.DataFrame:
    """What the estimator says of each row, on the index of `inputs`, in `spec.score_columns`, as float64: the
    probability of label 1, that of each class (0 for one that it has never seen), or the value.

    Reads the spec's feature columns only. Raises ParameterError for a missing column, ModelFileError for an
    estimator that doesn't know the label 1, or knows classes that the spec doesn't.
    """
    if missing := [name for name in spec.features if name not in inputs.columns]:
        raise ParameterError(
            f"the inputs of {spec.name} lack features",
            seen=list(inputs.columns),
            expected=missing,
            hint="build them with ratchet.snapshot.build_inputs",
        )
    columns = None if spec.task == "regression" else _columns_of(estimator, spec)
    scores = pd.DataFrame(0.0, index=inputs.index, columns=spec.score_columns)
    if inputs.empty:
        return scores
    if columns is None:
        return scores.assign(score=estimator.predict(inputs[spec.features]))
    probabilities = estimator.predict_proba(inputs[spec.features])
    return scores.assign(**{name: probabilities[:, at] for name, at in columns.items()})


def _columns_of(estimator, spec: ModelSpec) -> dict[str, int]:
    """{score column: which of the estimator's classes it is}."""
    classes = list(estimator.classes_)
    if spec.task == "binary" and 1 in classes:
        return {"score": classes.index(1)}
    if spec.task == "multiclass" and set(classes) <= set(spec.classes):
        return {f"score_{name}": at for at, name in enumerate(classes)}
    raise ModelFileError(
        f"a model of {spec.name} that can't say what is "
        + ("positive" if spec.task == "binary" else "one of its classes"),
        seen=f"classes {classes}",
        expected="0 and 1" if spec.task == "binary" else f"some of {spec.classes}",
        hint="train it on rows of all classes",
    )


def score_days(
    spec: ModelSpec,
    dataset_specs: Mapping[str, DatasetSpec],
    published: Published,
    estimator,
    champion: Champion,
    inputs_digests: Mapping[str, str],
    *,
    read_at: int | None = None,
    as_of: str | None = None,
    scored_at: datetime | None = None,
    score: Callable[..., pd.DataFrame] = score_frame,
    routing_on: Callable[[str], str] = lambda day: "",
) -> Iterator[ScoredDay]:
    """Score event days with the champion; publish each as one partition of predictions/<model>; yield it when it is.

    inputs_digests: {day: digest of the partitions that its features come from}. A partition that holds this digest and
    the champion's version already is left as it is. `read_at`: the table's state before the champion was looked up;
    raises ConflictError when another run has written such a partition since: whoever was overtaken changes nothing.
    Columns written: the scored dataset's key, day, prediction_id (see ratchet.prediction_ids), the spec's score
    columns, model_version, model_digest, routing (of the canary that serves a share of the day, else ""), scored_at
    (UTC; now by default), inputs_digest. Inputs are those known as of `as_of` (default: all), from the same function as
    training. `score` stands in for `score_frame`, and what it raises is raised before that day is published; it may
    give model_version, model_digest and routing, too. `routing_on`: the routing that a day is expected to be under: a
    partition under another is scored again. Raises EmptyWindowError for a day without rows.
    """
    if not inputs_digests:
        return
    lake, table = published.lake, f"predictions/{spec.name}"
    read_at = lake.state(table) if read_at is None else read_at
    there = _published(lake, table, min(inputs_digests), max(inputs_digests))
    scored_at = pd.Timestamp(scored_at or datetime.now(UTC)).as_unit("us")
    todo = [
        day
        for day, digest in sorted(inputs_digests.items())
        if day not in there or not there[day].holds(digest, champion.version, routing_on(day))
    ]
    inputs = {}
    for first, last in stretches(todo):
        stretch = build_inputs(spec, dataset_specs, published, first, last, as_of)
        inputs |= {day: rows.reset_index(drop=True) for day, rows in stretch.groupby("day")}
    key = dataset_specs[spec.scored_dataset].key
    for day in sorted(inputs_digests):
        if day not in todo:
            yield ScoredDay(day, there[day].rows, lake.version(table), unchanged=True, routing=there[day].routing)
            continue
        if day not in inputs:
            raise EmptyWindowError(
                f"nothing to score on {day}",
                where=f"datasets/{spec.scored_dataset}",
                expected="a published partition",
                hint=f"ingest {spec.scored_dataset} for that day",
            )
        rows = inputs[day][[*key, "day"]]
        said = score(estimator, inputs[day], spec)
        by_champion = {"model_version": int(champion.version), "model_digest": champion.model_digest, "routing": ""}
        predictions = rows.assign(
            prediction_id=prediction_ids(spec.name, rows, key),
            **said[spec.score_columns],
            **{name: said.get(name, default) for name, default in by_champion.items()},
            scored_at=scored_at,
            inputs_digest=inputs_digests[day],
        )
        routing = predictions["routing"].iloc[0]
        facts = {"model_version": champion.version, "inputs_digest": inputs_digests[day], "routing": routing}
        version = lake.publish(table, day, predictions, facts, read_at=read_at)
        yield ScoredDay(day, len(predictions), version, unchanged=False, routing=routing)


@dataclass(frozen=True)
class _There:
    """A partition as it is: a day is published whole, from one set of inputs and under one routing ("" for none)."""

    inputs_digest: str
    routing: str
    versions: frozenset[int]
    rows: int

    def holds(self, inputs_digest: str, version: int, routing: str) -> bool:
        """Whether it is what scoring it now would give. A routing is of one champion."""
        same = (self.inputs_digest, self.routing) == (inputs_digest, routing)
        return same and (bool(routing) or self.versions == {version})


def _published(lake: Lake, table: str, first: str, last: str) -> dict[str, _There]:
    seen = lake.read(table, first, last, columns=["day", "inputs_digest", "model_version", "routing"])
    return {
        day: _There(rows["inputs_digest"].iloc[0], rows["routing"].iloc[0], frozenset(rows["model_version"]), len(rows))
        for day, rows in seen.groupby("day")
    }


def stretches(days: list[str], gap_days: int = 7) -> Iterator[tuple[str, str]]:
    """Days that lie close together as ranges: one read for each, without reading across a long gap."""
    ordinals = pd.to_datetime(pd.Series(days)).diff().dt.days
    group = (ordinals > gap_days).cumsum()
    for _, members in pd.Series(days, dtype=object).groupby(group):
        yield members.iloc[0], members.iloc[-1]
