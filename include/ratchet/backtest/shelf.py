"""Models trained while playing, each kept on disk by what it was made from: policies share them, and a run that was
killed finds them again. A model is kept as its scores of all rows from its validate window on."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import process_time
from typing import TYPE_CHECKING

import pandas as pd

from ratchet.digests import digest_of, frame_digest
from ratchet.errors import EmptyWindowError, NotStoredError
from ratchet.evaluation.explanation import measure_importance
from ratchet.evaluation.scored import score_rows
from ratchet.labels import LABEL_TYPES
from ratchet.score import score_frame
from ratchet.snapshot import Snapshot
from ratchet.train import challenger_identity, choose_best, train_candidate
from ratchet.tuning import Trials, search
from ratchet.workflow.candidates import THREADS
from ratchet.workflow.evidence import batch_seconds

if TYPE_CHECKING:
    from ratchet.backtest.history import History
    from ratchet.specs import CandidateSpec, ModelSpec
    from ratchet.storage import Storage
    from ratchet.train import Fitted
    from ratchet.windows import TrainingWindows

MOST_BYTES = 2**30


@dataclass(frozen=True)
class Code:
    """What beside data and spec decides which model comes out."""

    source: str
    lock: str


@dataclass(frozen=True)
class Trained:
    """`scores`: the spec's score columns, on the index of the history's rows from the validate window on.
    `batch_seconds`: see ratchet.gate.Evidence. `importance`: by feature, as an evaluation has it. `cpu_seconds`: of
    fitting and measuring all candidates."""

    identity: str
    snapshot: str
    as_of: str
    windows: dict[str, list[str]]
    candidate: str
    metrics: dict[str, float]
    model_digest: str
    cpu_seconds: float
    batch_seconds: list[float]
    importance: dict[str, float]
    scores: pd.DataFrame = field(repr=False)


class Shelf:
    """Trains a challenger as a training run does, or takes the one that was trained from the same things before."""

    def __init__(self, history: History, spec: ModelSpec, storage: Storage, code: Code) -> None:
        self._history, self._spec, self._storage, self._code = history, spec, storage, code
        self._known: dict[str, Trained] = {}

    def train(self, as_of: str, windows: TrainingWindows) -> Trained:
        """Raises EmptyWindowError for a window without labelled rows, or of one class only."""
        snapshot = take_snapshot(self._history, self._spec, as_of, windows)
        code = self._code
        identity = challenger_identity(snapshot.digest, self._spec, code.source, code.lock, self._spec.seed)
        name = digest_of([identity, self._history.digest])  # the history's end decides how many rows are scored
        if name not in self._known:
            self._known[name] = self._load(name) or self._make(name, identity, snapshot)
        return self._known[name]

    def _make(self, name: str, identity: str, snapshot: Snapshot) -> Trained:
        started, spec, rows = process_time(), self._spec, self._history.rows
        fitted = {one.name: self._fit(one, snapshot, identity) for one in spec.candidates}
        seconds = process_time() - started
        best = fitted[choose_best({n: one.metrics for n, one in fitted.items()}, spec.problem.success.metric)]
        windows = snapshot.manifest["windows"]
        later = rows.iloc[self._history.at(windows["validate"][0], self._history.last_day)]
        scores = score_frame(best.estimator, later, spec)
        made = Trained(
            identity=identity,
            snapshot=snapshot.digest,
            as_of=snapshot.manifest["as_of"],
            windows=windows,
            candidate=best.name,
            metrics=best.metrics,
            model_digest=digest_of([best.name, frame_digest(scores, ordered=True)]),
            cpu_seconds=seconds,
            batch_seconds=batch_seconds({"it": best.estimator}, later, spec)["it"],
            importance=_importance(best, snapshot, spec),
            scores=scores,
        )
        self._keep(name, made)
        return made

    def _fit(self, candidate: CandidateSpec, snapshot: Snapshot, identity: str) -> Fitted:
        if candidate.search:
            trials = Trials(self._storage, f"searches/{identity}/{candidate.name}")
            candidate = search(candidate, self._spec, snapshot, trials).best
        return train_candidate(candidate, self._spec, snapshot, THREADS)

    def _keep(self, name: str, made: Trained) -> None:
        """The facts come last: without them nothing is there."""
        scores = io.BytesIO()
        made.scores.reset_index(drop=True).to_parquet(scores)
        self._storage.write(f"models/{name}.parquet", scores.getvalue())
        facts = {key: value for key, value in vars(made).items() if key != "scores"}
        self._storage.write(f"models/{name}.json", json.dumps(facts).encode())

    def _load(self, name: str) -> Trained | None:
        facts = read_json(self._storage, f"models/{name}.json")
        if facts is None:
            return None
        scores = pd.read_parquet(io.BytesIO(self._storage.read(f"models/{name}.parquet", MOST_BYTES)))
        at = self._history.at(facts["windows"]["validate"][0], self._history.last_day)
        return Trained(**facts, scores=scores.set_axis(self._history.rows.index[at]))


def take_snapshot(history: History, spec: ModelSpec, as_of: str, windows: TrainingWindows) -> Snapshot:
    """As ratchet.snapshot.take_snapshot, of the history. Raises EmptyWindowError for a window without rows."""
    frame = history.training_rows(windows, as_of).drop(columns=["known_on", "truth"])
    frame = frame.astype({"label": LABEL_TYPES[spec.task]})
    rows = frame["window"].value_counts()
    if missing := [name for name in windows.named() if name not in rows]:
        raise EmptyWindowError(
            f"windows of {spec.name} without labelled rows",
            seen=f"{', '.join(missing)} as of {as_of}",
            expected=str(windows.as_dict()),
            hint="play other days",
        )
    manifest = {"model": spec.name, "digest": frame_digest(frame), "as_of": as_of, "windows": windows.as_dict()}
    return Snapshot(frame, manifest)


def _importance(best: Fitted, snapshot: Snapshot, spec: ModelSpec) -> dict[str, float]:
    rows = snapshot.frame[snapshot.frame["window"] == "validate"]
    _, table = measure_importance(best.estimator, score_rows(best.estimator, rows, spec, best.metrics.get("threshold")))
    return {line.feature: float(line.drop) for line in table[["feature", "drop"]].itertuples()}


def read_json(storage: Storage, key: str) -> Mapping | None:
    try:
        return json.loads(storage.read(key, MOST_BYTES))
    except NotStoredError:
        return None
