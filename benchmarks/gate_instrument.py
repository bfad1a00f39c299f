"""The gate as an instrument: how often the whole of it promotes what, in worlds in which the truth is known.

Beside it the two rules that are common elsewhere, on the same rows: a metric that is no lower, and a paired test that
takes rows for independent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from benchmarks.gate_cases import WORLDS, Case, case_of
from benchmarks.gate_worlds import FIRST, NOISE, Drawn, World, facts_of, failed_checks, spec_of, verdict_on
from ratchet.days import shift_day
from ratchet.gate import GateVerdict
from ratchet.gate.quality import difference_of
from ratchet.ledger import Verdict
from ratchet.ledger.challengers import looks_at
from ratchet.statistics import estimate

WINDOW, NIGHTS = 28, 90
NIGHTLY_WORLDS = {
    "independent rows": World(WINDOW + NIGHTS - 1, 40),
    "days": World(WINDOW + NIGHTS - 1, 40, day_effect=0.6, day_shift=0.3, own_day_share=0.5),
    "days that follow each other, 0.5": World(WINDOW + NIGHTS - 1, 40, 0.6, 0.3, 0.5, neighbours=0.5),
}
RULES = ("gate", ">=", "by rows")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Seen:
    """How many of `trials` each rule promoted, the gate's verdicts, and the checks that failed."""

    name: str
    world: str
    trials: int
    promoted: Mapping[str, int]
    verdicts: Mapping[str, int]
    failed: Mapping[str, int]

    @property
    def case(self) -> Case:
        return case_of(self.name)

    @property
    def met(self) -> bool | None:
        case = self.case
        return shown(interval(self.promoted["gate"], self.trials), case.at_most, case.at_least)


def shown(interval: tuple[float, float], at_most: float | None = None, at_least: float | None = None) -> bool | None:
    """Is the truth within the bound, as the whole interval says? None: it reaches over it, or nothing was asked."""
    low, high = interval
    if at_most is not None:
        return True if high <= at_most else False if low > at_most else None
    if at_least is not None:
        return True if low >= at_least else False if high < at_least else None
    return None


def try_case(name: str, world: str, trials: int, *, others: bool = True, seed: Sequence[int] = (2013,)) -> Seen:
    """Each trial draws rows and models anew. `others`: also ask the other two rules."""
    case = case_of(name)
    rng, spec = np.random.default_rng([*seed, *map(ord, case.name + world)]), spec_of(sensitive=case.sensitive)
    promoted, verdicts, failed = Counter(dict.fromkeys(RULES, 0)), Counter(), Counter()
    for _ in range(trials):
        drawn = Drawn(WORLDS[world], rng)
        challenger, champion, evidence = case.draw(drawn)
        rows = drawn.frame(challenger, champion)
        verdict = verdict_on(rows, spec, **evidence)
        verdicts[verdict.verdict] += 1
        failed.update(failed_checks(verdict))
        promoted["gate"] += verdict.verdict == "PROMOTE"
        if others:
            better, surely = compare_by_rows(rows)
            promoted.update({">=": better, "by rows": surely})
    return Seen(name, world, trials, dict(promoted), dict(verdicts), dict(failed))


def compare_by_rows(rows: pd.DataFrame) -> tuple[bool, bool]:
    """Is the AUC no lower; and surely higher at 2.5 %, taking rows for independent?"""
    spec = spec_of()
    of = estimate(difference_of(spec, rows.assign(day=np.arange(len(rows)))), 2 * spec.promote_if.alpha)
    return of.value >= 0, of.low > 0


@dataclass(frozen=True)
class Nights:
    """One model's ninety nights, by rule: promotions, and by how much the last champion's score on the last window is
    above that of the model they began with, which nobody chose there. All are equally good."""

    promotions: Mapping[str, int]
    inflation: Mapping[str, float]


@dataclass(frozen=True)
class Night:
    """A challenger and a rule's champion of the time, on the rows of a window of days. `facts`: of both, by name;
    `said`: the rule's verdicts until then."""

    rows: pd.DataFrame
    window: list[str]
    facts: dict[str, dict]
    said: list[Verdict]


def try_nights(world: World, rng: np.random.Generator, rules: Sequence[str] = ("gate", ">=")) -> Nights:
    """`world.days` is WINDOW + NIGHTS - 1: the window slides by a day a night, and each night brings an equal model."""
    drawn = Drawn(world, rng)
    first, before = drawn.scores(NOISE), _trained_before(-1, version=1)
    champion, facts = dict.fromkeys(rules, first), dict.fromkeys(rules, before)
    count, said = Counter(dict.fromkeys(rules, 0)), {rule: [] for rule in rules}
    for number in range(world.days - WINDOW + 1):
        challenger, ours, days = (
            drawn.scores(NOISE),
            _trained_before(number, number + 2),
            slice(number, number + WINDOW),
        )
        window = [shift_day(FIRST, number), shift_day(FIRST, number + WINDOW - 1)]
        for rule in rules:
            rows, both = drawn.frame(challenger, champion[rule], days), {"challenger": ours, "champion": facts[rule]}
            if NIGHTLY[rule](Night(rows, window, both, said[rule])):
                champion[rule], facts[rule], count[rule] = challenger, ours, count[rule] + 1
    last = slice(world.days - WINDOW, world.days)
    gain = {rule: difference_of(spec_of(), drawn.frame(of, first, last)).value for rule, of in champion.items()}
    return Nights(dict(count), gain)


def _trained_before(night: int, version: int) -> dict:
    """Facts of a model that has validated up to the day before that night's window."""
    return facts_of(version, shift_day(FIRST, night - 15))


def _by_the_gate(night: Night) -> bool:
    """Looks are counted as in production, by the verdicts on record."""
    verdict = verdict_on(night.rows, spec_of(), looks=looks_at(night.said, night.window), **night.facts)
    night.said.append(_on_record(verdict, night))
    return verdict.verdict == "PROMOTE"


def _on_record(verdict: GateVerdict, night: Night) -> Verdict:
    return Verdict(
        model="tried",
        version=night.facts["challenger"]["version"],
        champion_epoch=1,
        champion_version=night.facts["champion"]["version"],
        judged_to=night.window[1],
        verdict=verdict.verdict,
        checks=verdict.checks,
        window=night.window,
        digest="",
        recorded_at=datetime(2013, 12, 31, tzinfo=UTC),
    )


def _without_spending(night: Night) -> bool:
    """Of an alpha twice as large the first look has all."""
    return verdict_on(night.rows, spec_of(alpha=0.05), **night.facts).verdict == "PROMOTE"


# Rules by name: promoted?
NIGHTLY: dict[str, Callable[[Night], bool]] = {
    "gate": _by_the_gate,
    "gate, no spending": _without_spending,
    "by rows": lambda night: compare_by_rows(night.rows)[1],
    ">=": lambda night: difference_of(spec_of(), night.rows).value >= 0,
}


def interval(promoted: int, trials: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper and Pearson, Biometrika 26, 1934)."""
    of = binomtest(promoted, trials).proportion_ci(CONFIDENCE, method="exact")
    return float(of.low), float(of.high)


def share(promoted: int, trials: int) -> str:
    """In per cent, with its interval."""
    low, high = interval(promoted, trials)
    return f"{promoted / trials:.1%} ({low:.1%} to {high:.1%})"
