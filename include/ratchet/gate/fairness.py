"""Fairness of decisions to groups, as fairlearn measures it: by the two groups that fare best and worst.

Which groups these are is told by rates that err, and the lowest and highest of many erring rates lie apart even where
all groups fare alike: with 20 groups of 1,000 rows, of which a model acts on one in five, the ratio of the two is 0.75
and not 1. Two models that act on equally many of the same rows err alike, and the difference of their numbers is right;
but one that acts on fewer errs more, and would be rejected for that. So harm counts as sure only beyond what the errors
explain: a parametric bootstrap's estimate of bias (Efron and Tibshirani, "An introduction to the bootstrap", 1993,
chapter 10). Its truth: both models' shares, as parts of their mean, averaged, and drawn towards that mean by as much of
their spread as is error (as James and Stein do; Efron and Morris, JASA 70, 1975). Its errors: the jackknife's
deviations, each day's with a sign by lot, so that groups share the luck of a day (the wild bootstrap; Liu, Annals of
Statistics 16(4), 1988). The lots are always the same: the same rows give the same value. Averaging takes a harm that
the challenger alone does for error in part, so this may only turn a REJECT into a HOLD: what passes is asked of the
numbers as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ratchet.statistics import Jackknifed, combined

LOTS = 256  # each with its opposite


def parity_advantage(challenger: Sequence[Jackknifed], champion: Sequence[Jackknifed]) -> tuple[Jackknifed, float]:
    """By how much the challenger's demographic parity ratio is higher: the lowest of the groups' shares of rows acted
    on, over the highest (fairlearn's demographic_parity_ratio); 1 where nobody is acted on. And how much lower errors
    alone may make it, 0 or more."""
    return _advantage(_lowest_over_highest, challenger, champion)


def opportunity_advantage(challenger: Sequence[Jackknifed], champion: Sequence[Jackknifed]) -> tuple[Jackknifed, float]:
    """By how much the challenger's equal opportunity difference is smaller: the highest of the groups' shares of
    positive rows acted on, less the lowest (fairlearn's equal_opportunity_difference). And how much larger errors alone
    may make it, 0 or more."""
    return _advantage(_lowest_less_highest, challenger, champion)


def _lowest_over_highest(*shares) -> np.ndarray:
    highest = np.max(shares, axis=0)
    return np.where(highest > 0, np.min(shares, axis=0) / np.where(highest > 0, highest, 1), 1.0)


def _lowest_less_highest(*shares) -> np.ndarray:
    return np.min(shares, axis=0) - np.max(shares, axis=0)


def _advantage(
    function: Callable[..., np.ndarray], challenger: Sequence[Jackknifed], champion: Sequence[Jackknifed]
) -> tuple[Jackknifed, float]:
    seen = combined(function, *challenger).minus(combined(function, *champion))
    likely = _likely_pattern(challenger, champion)
    bias = _added_by_errors(function, challenger, likely) - _added_by_errors(function, champion, likely)
    return seen, max(0.0, -bias)


def _likely_pattern(*models: Sequence[Jackknifed]) -> np.ndarray:
    """How the groups' shares stand to their mean, so far as both models together tell it: shape (groups,)."""
    found = np.mean([_values(of) / _mean(of) for of in models], axis=0)
    errors = np.mean([_errors(of) / _mean(of) for of in models], axis=0)
    spread, of_errors = float(np.var(found)), float(np.var(errors, axis=0).mean())
    real = max(0.0, 1 - of_errors / spread) if spread else 0.0
    return 1 + real * (found - found.mean())


def _added_by_errors(function: Callable[..., np.ndarray], of: Sequence[Jackknifed], pattern: np.ndarray) -> float:
    truth = np.clip(pattern * _values(of).mean(), 0, 1)
    return float(function(*np.clip(truth[:, None] + _errors(of), 0, 1)).mean() - function(*truth))


def _values(of: Sequence[Jackknifed]) -> np.ndarray:
    return np.array([share.value for share in of])


def _mean(of: Sequence[Jackknifed]) -> float:
    """1 where all are 0, and nothing can be said in parts of it."""
    return float(_values(of).mean()) or 1.0


def _errors(shares: Sequence[Jackknifed]) -> np.ndarray:
    """Errors that the groups' shares could have, of the jackknife's (co)variance: shape (groups, 2 * LOTS)."""
    without = np.array([share.without for share in shares])
    days = without.shape[1]
    deviation = (without - without.mean(axis=1, keepdims=True)) * np.sqrt((days - 1) / days)
    errors = deviation @ np.random.default_rng(0).choice([-1.0, 1.0], size=(days, LOTS))
    return np.hstack([errors, -errors])
