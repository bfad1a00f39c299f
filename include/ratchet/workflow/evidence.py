"""What the gate is shown of a challenger and the champion, gathered from lake, ledger and registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from time import process_time
from typing import TYPE_CHECKING

from ratchet.days import shift_day
from ratchet.deployment import Deployment
from ratchet.errors import EmptyWindowError
from ratchet.ledger.challengers import looks_at
from ratchet.windows import Window, known_before
from ratchet.workflow.training import high_water_mark
from ratchet.workflow.versions import load_version

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.ledger import Challenger
    from ratchet.specs import ModelSpec

BATCH_ROWS, BATCH_TIMES = 2_000, 9
LEAST_OUTCOMES = 0.8  # of the share of a day's rows that usually have theirs


def gather_evidence(deployment: Deployment, spec: ModelSpec, challenger: Challenger, champion: Challenger | None):
    """(Evidence, judge window, labelled rows): both models' scores of the newest labelled rows that neither was fitted
    to or chosen on, as known now, and what else the gate asks (see ratchet.gate.Evidence). Days of which many outcomes
    are still to come are left out: those that come first are not like the others.

    Raises EmptyWindowError where no labelled day has come after those.
    """
    from ratchet.gate import Evidence
    from ratchet.point_in_time import find_leaks
    from ratchet.score import score_frame
    from ratchet.snapshot import labelled_rows

    as_of = high_water_mark(deployment, spec)
    window = judge_window(spec, challenger, champion, as_of)
    where = (spec, deployment.datasets.good, deployment.published, window.first, window.last, as_of)
    rows = labelled_rows(*where)
    late = late_days(deployment, spec, rows, window, as_of)
    rows = rows[~rows["day"].isin(late)].reset_index(drop=True)
    models = {"challenger": challenger} | ({"champion": champion} if champion else {})
    estimators = {who: load_version(deployment, spec.name, one.version) for who, one in models.items()}
    leaks = find_leaks(*where)
    evidence = Evidence(
        rows=judged_rows(rows, {who: score_frame(one, rows, spec) for who, one in estimators.items()}, spec),
        looks=looks_at(deployment.ledger.verdicts(spec.name), [window.first, window.last]),
        late_days=late,
        repeated_rows=_repeated(deployment, spec, rows, models.values()),
        future_features=leaks.features,
        range_dependent=leaks.range_dependent,
        rows_without_instant=leaks.rows_without_instant,
        fails_without_future=leaks.failure,
        batch_seconds=batch_seconds(estimators, rows, spec),
        threshold={who: one.metrics["threshold"] for who, one in models.items() if "threshold" in one.metrics},
    )
    return evidence, window, rows


def judge_window(spec: ModelSpec, challenger: Challenger, champion: Challenger | None, as_of: str) -> Window:
    """The newest labelled days that neither model was trained or validated on: from the day after the later of both
    ends, to the newest whose outcomes are known as of a day; at most twice the spec's `judge_days`. Raises
    EmptyWindowError for none."""
    both = [challenger, *([champion] if champion else [])]
    first = shift_day(max(one.windows[name][1] for one in both for name in ("train", "validate")), 1)
    last = shift_day(as_of, -spec.label_delay_days)
    if last < first:
        raise EmptyWindowError(
            f"no day to judge version {challenger.version} of {spec.name} on",
            seen=f"outcomes up to {last}",
            expected=f"outcomes of {first} or later",
            hint=f"wait for them, or ingest newer {spec.outcome_dataset}",
        )
    return Window(max(first, shift_day(last, 1 - 2 * spec.windows.judge_days)), last)


def late_days(deployment: Deployment, spec: ModelSpec, rows: pd.DataFrame, window: Window, as_of: str) -> list[str]:
    """The days of the window of whose rows a smaller share has its outcome than LEAST_OUTCOMES of the median day's,
    of those that have any.

    A row has its outcome when the outcome dataset has its key; where that is the scored dataset itself, when it is
    among the labelled `rows`.
    """

    def read(dataset: str) -> pd.DataFrame:
        before = known_before(as_of, deployment.dataset(dataset).zone)
        return deployment.published.read(dataset, window.first, window.last, before)[0]

    key, scored = deployment.dataset(spec.scored_dataset).key, read(spec.scored_dataset)
    outcomes = rows if spec.outcome_dataset == spec.scored_dataset else read(spec.outcome_dataset)
    if scored.empty or outcomes.empty:
        return []
    return days_of_few_outcomes(_found_in(outcomes, scored, key), scored["day"].to_numpy())


def days_of_few_outcomes(has_outcome: pd.Series, day: Sequence[str]) -> list[str]:
    """By rows of the scored dataset: whether each has its outcome, and its day (see late_days)."""
    share = has_outcome.groupby(day).mean()
    return sorted(share.index[share < LEAST_OUTCOMES * share[share > 0].median()])


def _found_in(others: pd.DataFrame, rows: pd.DataFrame, key: list[str]) -> pd.Series:
    """Of each row whether others have its key."""
    known = others[key].drop_duplicates()
    return rows[key].merge(known, on=key, how="left", indicator=True)["_merge"].eq("both")


def judged_rows(rows: pd.DataFrame, scores: Mapping[str, pd.DataFrame], spec: ModelSpec) -> pd.DataFrame:
    """The rows as the gate takes them (see ratchet.gate.Evidence), from each model's scores on their index."""
    beside = [name for name in dict.fromkeys([*spec.evaluate.slices, *spec.evaluate.sensitive]) if name in rows]
    judged = rows[["day", "label", *beside]]
    for who, said in scores.items():
        judged = judged.join(said.add_prefix(f"{who}_"))
    return judged


def _repeated(deployment: Deployment, spec: ModelSpec, rows: pd.DataFrame, models: Iterable[Challenger]) -> int:
    """Rows to be judged whose key is that of a row that one of the models was fitted to or chosen on."""
    import pandas as pd

    from ratchet.snapshot import load_snapshot

    frames = [load_snapshot(deployment.lake.storage, spec.name, one.snapshot).frame for one in models]
    seen = pd.concat([frame[frame["window"].isin(["train", "validate"])] for frame in frames])
    return int(_found_in(seen, rows, deployment.dataset(spec.scored_dataset).key).sum())


def batch_seconds(estimators: dict, rows: pd.DataFrame, spec: ModelSpec) -> dict[str, list[float]]:
    """CPU seconds in which each scores the same rows on one thread, in turn: what else the machine does counts for
    little. The first round, which warms up, is not counted."""
    from threadpoolctl import threadpool_limits

    from ratchet.score import score_frame

    batch, seconds = rows.head(BATCH_ROWS), {who: [] for who in estimators}
    with threadpool_limits(1):
        for _ in range(BATCH_TIMES + 1):
            for who, estimator in estimators.items():
                started = process_time()
                score_frame(estimator, batch, spec)
                seconds[who].append(process_time() - started)
    return {who: times[1:] for who, times in seconds.items()}
