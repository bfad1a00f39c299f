"""The features of scored days, built again from exactly what they were scored from; and as a training would now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import pandas as pd

from ratchet.deployment import Deployment
from ratchet.errors import NotStoredError, SpecError, UnknownNameError
from ratchet.ledger import Partition, Scored
from ratchet.monitoring.values import Finding
from ratchet.published import Published
from ratchet.specs import ModelSpec
from ratchet.workflow.check_frames import predictions_of_record, with_own_features
from ratchet.workflow.scoring import seen_by
from ratchet.workflow.versions import load_version

if TYPE_CHECKING:
    from ratchet.ledger import Ledger

SAMPLE_DAYS = 3  # of those scored, spread evenly, the newest among them


def skew_findings(
    deployment: Deployment, spec: ModelSpec, version: int, scored: Mapping[str, Scored], as_of: str
) -> list[Finding]:
    """Training-serving skew on SAMPLE_DAYS of the days that `version` scored (area "skew", see
    ratchet.monitoring.skew). `scored`: by day, its scoring of record. The training's view is that as of `as_of`."""
    from ratchet.monitoring.skew import find_skew
    from ratchet.score import score_frame

    spec = with_own_features(deployment, spec, version)
    try:
        served, trained, late = _views(deployment, spec, scored, as_of)
    except (UnknownNameError, NotStoredError) as error:  # rows that were erased, or old versions cleared away
        return _not_told(f"what these days were scored from can't be read any more: {error.what}")
    except SpecError as error:  # of now; a feature of the version may be gone with it
        return _not_told(f"the features of version {version} can't be made any more: {error.what}")
    served, trained, recorded = _side_by_side(deployment, spec, version, served, trained, scored)
    estimator = load_version(deployment, spec.name, version) if len(served) else None
    scores = {"recorded": recorded} | {
        name: score_frame(estimator, view, spec) if len(view) else view.reindex(columns=spec.score_columns)
        for name, view in (("served", served), ("trained", trained))
    }
    return find_skew(served, trained, scores, spec.features, late)


def _not_told(says: str) -> list[Finding]:
    return [Finding("skew", "features", "not enough data", "none", says)]


def sample_days(days: Sequence[str], most: int = SAMPLE_DAYS) -> list[str]:
    """At most so many, evenly spread, the newest among them."""
    days = sorted(days)
    if len(days) <= most:
        return days
    return [days[round(n * (len(days) - 1) / (most - 1))] for n in range(most)]


def _views(deployment: Deployment, spec: ModelSpec, scored: Mapping[str, Scored], as_of: str) -> tuple:
    """Rows as served and as trained, and the days whose partitions are others now."""
    from ratchet.snapshot import build_inputs

    days = sample_days([day for day, one in scored.items() if one.partitions])
    if not days:
        return pd.DataFrame(columns=["day"]), pd.DataFrame(columns=["day"]), []
    specs = deployment.datasets.good
    served = [build_inputs(spec, specs, _as_scored(deployment, scored[day]), day, day) for day in days]
    source = _Noting(deployment.lake, deployment.ledger)
    trained = build_inputs(spec, specs, source, days[0], days[-1], as_of)
    late = [day for day in days if _digests(spec, scored[day]) != source.digests(spec, day)]
    return pd.concat(served, ignore_index=True), trained[trained["day"].isin(days)], late


class _Noting(Published):
    """Published, noting which revisions it has read."""

    def __init__(self, lake, ledger: Ledger) -> None:
        super().__init__(lake, ledger)
        self.noted: dict[str, dict[str, str]] = {}

    def read(self, dataset: str, first: str | None, last: str | None, known_before: datetime | None = None):
        found = super().read(dataset, first, last, known_before)
        self.noted[dataset] = {one.day: one.digest for one in found[1]}
        return found

    def digests(self, spec: ModelSpec, day: str) -> dict[str, dict[str, str]]:
        """Of the partitions that the features of a day are made from."""
        return {
            name: {one: self.noted[name][one] for one in seen_by(day, self.noted[name], wanted)}
            for name, wanted in spec.inputs.items()
        }


class _AsNamed:
    """The ledger as it was for a scoring: of each day the revisions up to the one that it names; no other day."""

    def __init__(self, ledger: Ledger, named: Mapping[str, Mapping[str, Sequence]]) -> None:
        self._ledger, self._named = ledger, named

    def partition_revisions(
        self, dataset: str, first: str | None = None, last: str | None = None
    ) -> dict[str, list[Partition]]:
        named = self._named.get(dataset, {})
        found = self._ledger.partition_revisions(dataset, first, last)
        then = {day: [one for one in found[day] if one.revision <= of[0]] for day, of in named.items() if day in found}
        return {day: revisions for day, revisions in then.items() if revisions}


def _as_scored(deployment: Deployment, scored: Scored) -> Published:
    return Published(deployment.lake, _AsNamed(deployment.ledger, scored.partitions))


def _digests(spec: ModelSpec, scored: Scored) -> dict[str, dict[str, str]]:
    return {
        name: {day: digest for day, (_, digest) in sorted(scored.partitions.get(name, {}).items())}
        for name in spec.inputs
    }


def _side_by_side(
    deployment: Deployment,
    spec: ModelSpec,
    version: int,
    served: pd.DataFrame,
    trained: pd.DataFrame,
    scored: Mapping[str, Scored],
) -> tuple:
    """The rows that are in either view and were predicted, in one order: served, trained, and the scores of record. A
    row that only one view has (it was added or taken away by a correction) can't be compared."""
    if served.empty:
        return served, trained, served.reindex(columns=spec.score_columns)
    rows = predictions_of_record(deployment, spec, version, {day: scored[day] for day in served["day"].unique()})
    by = [*dict.fromkeys([*deployment.dataset(spec.scored_dataset).key, "day"])]
    common = served[by].merge(trained[by], on=by, how="inner").merge(rows[by], on=by, how="inner")
    return tuple(
        common.merge(one, on=by, how="left", validate="one_to_one")[columns]
        for one, columns in (
            (served, ["day", *spec.features]),
            (trained, ["day", *spec.features]),
            (rows[[*by, *spec.score_columns]], spec.score_columns),
        )
    )
