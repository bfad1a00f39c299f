"""The checks of a model in production, made as the check_drift DAG makes them and kept on disk as models are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from time import process_time
from typing import TYPE_CHECKING

from ratchet.backtest.shelf import Code, Trained, read_json
from ratchet.days import shift_day
from ratchet.digests import digest_of
from ratchet.labels import LABEL_TYPES
from ratchet.monitoring.check import check_drift
from ratchet.windows import TrainingWindows

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.backtest.history import History
    from ratchet.specs import ModelSpec
    from ratchet.storage import Storage


class Checks:
    """Of a policy's champions, each by its own earlier checks."""

    def __init__(self, history: History, spec: ModelSpec, storage: Storage, code: Code) -> None:
        self._history, self._spec, self._storage, self._code = history, spec, storage, code
        self._earlier: list[list[Mapping]] = []
        self._of: tuple[str, str] | None = None
        self._reference: pd.DataFrame | None = None

    @property
    def newest(self) -> list[list[Mapping]]:
        """The findings of the champion's newest checks, oldest first, as many as persistence looks at."""
        return self._earlier

    def make(self, champion: Trained, since: str, as_of: str) -> Mapping:
        """{state, alarms, asks, findings, worse_by, seconds (of CPU)} of a check as of a day, of a champion that has
        scored every day from `since` on."""
        if self._of != (champion.identity, since):
            self._of, self._earlier, self._reference = (champion.identity, since), [], None
        name = f"checks/{self._name(champion, since, as_of)}.json"
        found = read_json(self._storage, name)
        if found is None:
            found = self._make(champion, since, as_of)
            self._storage.write(name, json.dumps(found).encode())
        self._earlier = [*self._earlier, found["findings"]][-self._spec.watch.persistence.of :]
        return found

    def _name(self, champion: Trained, since: str, as_of: str) -> str:
        made_by = [champion.identity, self._history.digest, self._code.source, self._spec.model_dump(mode="json")]
        return digest_of([made_by, since, as_of, digest_of(self._earlier)])

    def _make(self, champion: Trained, since: str, as_of: str) -> dict:
        started, spec, history = process_time(), self._spec, self._history
        if self._reference is None:
            self._reference = reference_of(history, spec, champion)
        days, told = history.days(since, as_of), history.days(since, as_of, known_by=as_of)
        due_to = shift_day(as_of, -spec.label_delay_days)
        found = check_drift(
            spec,
            self._reference,
            self._rows(champion, days[-spec.watch.window_days :]).drop(columns="label"),
            self._rows(champion, told[-spec.watch.outcome_days :], known_by=as_of),
            earlier=self._earlier[-spec.watch.persistence.of + 1 :],
            importance=champion.importance or None,
            threshold=champion.metrics.get("threshold"),
            waiting=[day for day in days if max(told, default="") < day <= due_to],
        ).as_dict()
        kept = {name: found[name] for name in ("state", "alarms", "asks", "findings", "worse_by")}
        return {**kept, "seconds": process_time() - started}

    def _rows(self, champion: Trained, days: list[str], known_by: str | None = None) -> pd.DataFrame:
        """The rows of these days with the champion's scores; with `known_by`, those whose labels were known by then."""
        if not days:
            rows = self._history.rows.iloc[:0]
        elif known_by:
            rows = self._history.labelled(days[0], days[-1], known_by).astype({"label": LABEL_TYPES[self._spec.task]})
        else:
            rows = self._history.between(days[0], days[-1])
        return rows.drop(columns=["known_on", "truth"]).join(champion.scores)


def reference_of(history: History, spec: ModelSpec, champion: Trained) -> pd.DataFrame:
    """The rows that the champion knows, with its scores, null in train."""
    windows = TrainingWindows.from_dict(champion.windows)
    rows = history.training_rows(windows, champion.as_of).drop(columns=["known_on", "truth"])
    return rows.astype({"label": LABEL_TYPES[spec.task]}).join(champion.scores)
