"""A search for a candidate's parameters: fitted on the train window, compared on the validate window, and no other.

Optuna's tree-structured Parzen estimator (Bergstra and others, "Algorithms for Hyper-Parameter Optimization", 2011)
proposes each trial from those before it. Its draws are seeded anew for each trial, by the spec's seed and the trial's
number, and each trial is kept before the next one begins: a search that was killed goes on where it was, and comes to
the same end as one that was not.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING

import optuna

from ratchet.digests import digest_of
from ratchet.errors import EmptyWindowError, NotStoredError, ParameterError, SpecError
from ratchet.failpoints import failpoint
from ratchet.model_files import check_estimator
from ratchet.specs import CandidateSpec, Range
from ratchet.train import choose_best, train_candidate

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.snapshot import Snapshot
    from ratchet.specs import ModelSpec
    from ratchet.storage import Storage

log = logging.getLogger(__name__)
optuna.logging.set_verbosity(optuna.logging.WARNING)  # progress is told in our words
FEW_ROWS = 100  # of a window and class: to see whether an estimator can be saved
_MOST_BYTES = 2**20  # of one trial


@dataclass(frozen=True)
class Trial:
    """One fit with `params` (those searched). `metrics`: see ratchet.train.measure; empty where it failed, and `error`
    says why. `seconds`: of fitting and measuring."""

    number: int
    params: dict
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Searched:
    """`best`: the candidate with the best parameters in its `params`, and no search any more."""

    best: CandidateSpec
    trials: list[Trial]

    @property
    def seconds(self) -> float:
        return sum(trial.seconds for trial in self.trials)

    def table(self) -> pd.DataFrame:
        """A row a trial: number, the parameters, seconds, the metrics, error."""
        import pandas as pd

        rows = [
            {"number": t.number, **t.params, "seconds": t.seconds, **t.metrics, "error": t.error} for t in self.trials
        ]
        return pd.DataFrame(rows)


class Trials:
    """The trials of one search, each an object `<folder>/<number>.json` in the storage: written once, left alone."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage, self._folder = storage, folder

    def read(self) -> list[Trial]:
        """Those there are, from number 0 up to the first that is missing."""
        found = []
        while (trial := self._read(len(found))) is not None:
            found.append(trial)
        return found

    def keep(self, trial: Trial) -> Trial:
        """The trial of that number: this one, or the one that another attempt has kept meanwhile."""
        if (known := self._read(trial.number)) is None:
            self._storage.write(self._key(trial.number), json.dumps(asdict(trial), sort_keys=True).encode())
        return known or trial

    def _read(self, number: int) -> Trial | None:
        try:
            kept = self._storage.read(self._key(number), _MOST_BYTES)
        except NotStoredError:
            return None
        try:
            return Trial(**json.loads(kept))
        except (TypeError, ValueError) as error:
            raise ParameterError(
                "a trial of a search that can't be read",
                seen=repr(error),
                where=self._storage.address(self._key(number)),
                hint="delete the folder of that search and train again: it is searched anew",
            ) from error

    def _key(self, number: int) -> str:
        return f"{self._folder}/{number:04d}.json"


def search(candidate: CandidateSpec, spec: ModelSpec, snapshot: Snapshot, trials: Trials) -> Searched:
    """Fit trials until there are as many as asked for, or the time is over: no trial begins once those before it took
    `seconds` together, in however many attempts. There is one at least. The best by the model's metric on validate.

    Where time ended it, how many trials there were depends on the machine: that, and the parameters found, go on
    record. A trial that can't be fitted is one of the trials. Raises SpecError when none can, and before the first
    trial ModelFileError for an estimator that can't be saved.
    """
    done, asked, metric = trials.read()[: candidate.search.trials], candidate.search, spec.problem.success.metric
    distributions = {name: _distribution(values) for name, values in asked.space.items()}
    study = optuna.create_study(direction="maximize" if spec.problem.success.higher_is_better else "minimize")
    for trial in done:
        study.add_trial(_as_told(trial, distributions, metric))
    if not done:
        _check_savable(candidate, spec, snapshot)
    while len(done) < asked.trials and (not done or sum(trial.seconds for trial in done) < asked.seconds):
        study.sampler = optuna.samplers.TPESampler(seed=_seed(spec.seed, len(done)))
        proposed = study.ask(distributions)
        trial = _try(len(done), proposed.params, candidate, spec, snapshot)
        failpoint("training.trial_fitted")
        done.append(trials.keep(trial))
        _tell(study, proposed, done[-1], metric)
        _report(candidate, done, metric)
    return Searched(_best(candidate, spec, done, metric), done)


def _check_savable(candidate: CandidateSpec, spec: ModelSpec, snapshot: Snapshot) -> None:
    """By a fit on few rows, with the first value of each parameter: hours of search would end in the same error. One
    that these rows do not fit is left for the trials to tell."""
    by = ["window"] if spec.task == "regression" else ["window", "label"]
    few = replace(snapshot, frame=snapshot.frame.groupby(by).head(FEW_ROWS))
    first = {name: _first(values) for name, values in candidate.search.space.items()}
    try:
        fitted = train_candidate(with_params(candidate, first), spec, few)
    except (SpecError, EmptyWindowError):
        return
    check_estimator(fitted.estimator)


def _first(values: Range | list) -> float | int | str | bool:
    if not isinstance(values, Range):
        return values[0]
    return int(values.low) if values.whole else values.low


def _try(number: int, params: dict, candidate: CandidateSpec, spec: ModelSpec, snapshot: Snapshot) -> Trial:
    began = perf_counter()
    try:
        metrics = train_candidate(with_params(candidate, params), spec, snapshot).metrics
    except SpecError as error:
        return Trial(number, params, perf_counter() - began, error=f"{error.what}: {error.seen}"[:1000])
    return Trial(number, params, perf_counter() - began, metrics)


def with_params(candidate: CandidateSpec, params: dict) -> CandidateSpec:
    """The candidate with these parameters on top of its own, and no search."""
    return candidate.model_copy(update={"params": {**candidate.params, **params}, "search": None})


def _best(candidate: CandidateSpec, spec: ModelSpec, done: list[Trial], metric: str) -> CandidateSpec:
    fitted = {f"{trial.number:04d}": trial for trial in done if not trial.error}
    if not fitted:
        raise SpecError(
            f"none of {len(done)} trials of candidate {candidate.name!r} of {spec.name!r} could be fitted",
            seen=done[-1].error,
            where=f"include/models/{spec.name}.yaml",
            hint="mend its search space or its params",
        )
    return with_params(candidate, fitted[choose_best({n: t.metrics for n, t in fitted.items()}, metric)].params)


def _distribution(values: Range | list) -> optuna.distributions.BaseDistribution:
    if not isinstance(values, Range):
        return optuna.distributions.CategoricalDistribution(values)
    if values.whole:
        return optuna.distributions.IntDistribution(int(values.low), int(values.high), log=values.log)
    return optuna.distributions.FloatDistribution(values.low, values.high, log=values.log)


def _as_told(trial: Trial, distributions: dict, metric: str) -> optuna.trial.FrozenTrial:
    failed = {"state": optuna.trial.TrialState.FAIL} if trial.error else {"value": trial.metrics[metric]}
    return optuna.trial.create_trial(params=trial.params, distributions=distributions, **failed)


def _tell(study: optuna.Study, proposed: optuna.Trial, trial: Trial, metric: str) -> None:
    if trial.error:
        study.tell(proposed, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(proposed, trial.metrics[metric])


def _seed(seed: int, number: int) -> int:
    return int(digest_of([seed, number])[:8], 16)


def _report(candidate: CandidateSpec, done: list[Trial], metric: str) -> None:
    spent, asked = sum(trial.seconds for trial in done), candidate.search
    result = done[-1].error or f"{metric} {done[-1].metrics[metric]:.4f}"
    told = (candidate.name, len(done), asked.trials, result, spent, asked.seconds)
    log.info("%s: trial %d of %d: %s; %.0f of %.0f seconds", *told)
