"""What the gate is shown of a challenger and the champion, gathered from lake, ledger and registry."""

from __future__ import annotations

from time import process_time
from typing import TYPE_CHECKING

from ratchet.days import shift_day
from ratchet.deployment import Deployment
from ratchet.errors import EmptyWindowError
from ratchet.ledger.challengers import looks_at
from ratchet.windows import Window
from ratchet.workflow.training import high_water_mark

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.ledger import Challenger
    from ratchet.specs import ModelSpec

BATCH_ROWS, BATCH_TIMES = 2_000, 9


def gather_evidence(deployment: Deployment, spec: ModelSpec, challenger: Challenger, champion: Challenger | None):
    """(Evidence, judge window, labelled rows): both models' scores of the newest labelled rows that neither was fitted
    to or chosen on, as known now, and what else the gate asks (see ratchet.gate.Evidence).

    Raises EmptyWindowError where no labelled day has come after those.
    """
    from ratchet.gate import Evidence
    from ratchet.point_in_time import future_features
    from ratchet.snapshot import labelled_rows

    window = judge_window(deployment, spec, challenger, champion)
    as_of = high_water_mark(deployment, spec)
    where = (spec, deployment.datasets.good, deployment.published, window.first, window.last, as_of)
    rows = labelled_rows(*where)
    models = {"challenger": challenger} | ({"champion": champion} if champion else {})
    estimators = {who: _loaded(deployment, one) for who, one in models.items()}
    evidence = Evidence(
        rows=_scored(rows, estimators, spec),
        looks=looks_at(deployment.ledger.verdicts(spec.name), [window.first, window.last]),
        repeated_rows=_repeated(deployment, rows, list(models.values())),
        future_features=future_features(*where),
        batch_seconds=_batch_seconds(estimators, rows, spec),
        threshold={who: one.metrics["threshold"] for who, one in models.items() if "threshold" in one.metrics},
    )
    return evidence, window, rows


def judge_window(
    deployment: Deployment, spec: ModelSpec, challenger: Challenger, champion: Challenger | None
) -> Window:
    """The newest labelled days that neither model was trained or validated on: from the day after the later of both
    ends, to the newest outcome; at most twice the spec's `judge_days`. Raises EmptyWindowError for none."""
    both = [challenger, *([champion] if champion else [])]
    first = shift_day(max(one.windows[name][1] for one in both for name in ("train", "validate")), 1)
    last = shift_day(high_water_mark(deployment, spec), -spec.label_delay_days)
    if last < first:
        raise EmptyWindowError(
            f"no day to judge version {challenger.version} of {spec.name} on",
            seen=f"outcomes up to {last}",
            expected=f"outcomes of {first} or later",
            hint=f"wait for them, or ingest newer {spec.outcome_dataset}",
        )
    return Window(max(first, shift_day(last, 1 - 2 * spec.windows.judge_days)), last)


def _loaded(deployment: Deployment, one: Challenger):
    from ratchet.workflow.promotion import load_version

    return load_version(deployment, one.model, one.version)


def _scored(rows: pd.DataFrame, estimators: dict, spec: ModelSpec) -> pd.DataFrame:
    from ratchet.score import score_frame

    beside = [name for name in dict.fromkeys([*spec.evaluate.slices, *spec.evaluate.sensitive]) if name in rows]
    judged = rows[["day", "label", *beside]]
    for who, estimator in estimators.items():
        judged = judged.join(score_frame(estimator, rows, spec).add_prefix(f"{who}_"))
    return judged


def _repeated(deployment: Deployment, rows: pd.DataFrame, models: list[Challenger]) -> int:
    """Rows to be judged whose key is that of a row that one of the models was fitted to or chosen on."""
    import pandas as pd

    from ratchet.snapshot import load_snapshot

    repeated = pd.Series(False, index=rows.index)
    for one in models:
        key = deployment.dataset(deployment.model(one.model).scored_dataset).key
        frame = load_snapshot(deployment.lake.storage, one.model, one.snapshot).frame
        seen = frame.loc[frame["window"].isin(["train", "validate"]), key].drop_duplicates()
        repeated |= rows[key].merge(seen, on=key, how="left", indicator=True)["_merge"].eq("both").to_numpy()
    return int(repeated.sum())


def _batch_seconds(estimators: dict, rows: pd.DataFrame, spec: ModelSpec) -> dict[str, list[float]]:
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
