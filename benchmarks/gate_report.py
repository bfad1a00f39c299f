"""The section `gate` of RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.stats import norm, t

from benchmarks.gate_flights import CHALLENGER_TO, CHALLENGERS, CHAMPION, CHAMPION_TO, Power
from benchmarks.gate_instrument import (
    CONFIDENCE,
    NIGHTLY,
    NIGHTS,
    RULES,
    WINDOW,
    Nights,
    Seen,
    interval,
    share,
    shown,
)
from benchmarks.gate_rounds import Measured
from benchmarks.results import Section, Target, table
from ratchet.gate import alpha_left

ALPHA, EFFECT, BETTER = 0.025, 4.0, "better by 0.01"
MOST_INFLATION, MOST_NIGHTS = 0.002, 0.10
LOOKS = (1, 2, 5, 28)
SPENDING = {
    "alpha / (k (k + 1)), the gate's": lambda look: alpha_left(ALPHA, look - 1),
    "6 alpha / (pi k)^2": lambda look: 6 * ALPHA / (np.pi * look) ** 2,
    "alpha / 2^k": lambda look: ALPHA / 2**look,
    f"alpha / {WINDOW}": lambda look: ALPHA / WINDOW,
    "alpha each time (no spending)": lambda look: ALPHA,
}


def gate_section(measured: Measured) -> Section:
    asked = [seen for seen in measured.seen if seen.case.at_most is not None or seen.case.at_least is not None]
    targets = [*map(_target, asked), *_nightly_targets(measured.nights)]
    return Section("gate", "how often it promotes what, in worlds whose truth is known", targets, _text(measured))


def _target(seen: Seen) -> Target:
    case, told = seen.case, share(seen.promoted["gate"], seen.trials)
    asked = f"{case.at_most:.0%} or less" if case.at_most is not None else f"{case.at_least:.0%} or more"
    return Target(f"{seen.name}, {seen.world}: promoted", told, "", asked, seen.met)


def _nightly_targets(nights: dict[str, list[Nights]]) -> Iterator[Target]:
    for world, runs in nights.items():
        any_at_all = sum(one.promotions["gate"] > 0 for one in runs)
        what, told = f"{NIGHTS} nights of equal models, {world}", share(any_at_all, len(runs))
        met = shown(interval(any_at_all, len(runs)), at_most=MOST_NIGHTS)
        yield Target(f"{what}: any promotion", told, "", f"{MOST_NIGHTS:.0%} or less", met)
        mean, low, high = _inflation(runs, "gate")
        met = shown((low, high), at_most=MOST_INFLATION)
        yield Target(f"{what}: inflation", _with_interval(mean, low, high), "", f"{MOST_INFLATION} or less", met)


def _inflation(runs: list[Nights], rule: str) -> tuple[float, float, float]:
    """The mean over the runs, and the ends of its 95 % interval (Student's t)."""
    values = [one.inflation[rule] for one in runs]
    half = t.isf((1 - CONFIDENCE) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    mean = float(np.mean(values))
    return mean, float(mean - half), float(mean + half)


def _with_interval(mean: float, low: float, high: float) -> str:
    return f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"


def _text(measured: Measured) -> str:
    draws = measured.power[0].draws
    return f"""
{measured.trials:,} trials of each kind in each world; in brackets the exact 95 % interval (Clopper and Pearson). "Met":
the whole interval lies within the target; "not shown": it reaches over it; "missed": it lies outside. Nothing here is
timed, so that a busy machine changes nothing.

It is the whole gate that is asked (`ratchet.gate.judge`), with the library's own margins: 10,000 rows, of which 22 %
are positive, on 40 days (independent rows), 30 (days) or 28 (days that follow each other); slices of 4,000, 4,000 and
2,000 rows, two groups to be fair to, rows acted on from 1/6. Beside it, on the same rows: `>=`, a metric that is no
lower; and "by rows", a paired test at 2.5 % that takes rows for independent. The models' AUC is 0.75 (independent rows)
to 0.84, their scores correlate with 0.9 within a class, as those of two logistic models of the flights do. Days move
both label and score; of "days that follow each other" what moves them correlates with the day before, by the number
named. At 0.9 some 28 days tell as little as 2 or 3 independent ones (`ratchet.statistics`): nothing is promised there.

Rows repeated from train and features from the future are found before the gate is asked (`ratchet.workflow.evidence`,
`ratchet.point_in_time`): here it is handed the finding.

"Less alike": the scores correlate with 0.8, as those of two boosting models do. The same gain is then found less often,
because what decides is the error of a difference: its variance is that of both models less twice what they have in
common.
{_less_alike(measured)}

{table(["challenger", "world", *RULES, "the gate's verdicts", "for"], map(_row, measured.seen))}

### {NIGHTS} nights of equal models

A window of {WINDOW} days slides by a day a night, with 40 rows a day; each promoted challenger is the next champion.
{len(next(iter(measured.nights.values())))} such runs a world.
"No spending" is the same gate at its whole alpha every night. Inflation: the last champion's AUC on the last window
above that of a model that nobody chose there, with its 95 % interval (Student's t).

{table(["rule", "world", "any promotion", "promotions a run", "inflation"], _nightly_rows(measured.nights))}

### Looking again

What alpha is left at the k-th look at overlapping windows, and how often a challenger that is better by {EFFECT:g}
standard errors would be found at that look. All but the last two sum to alpha over any number of looks; alpha /
{WINDOW} does so over the {WINDOW} looks that a nightly window of {WINDOW} days overlaps with.

{table(["alpha at look", *map(str, LOOKS)], _spending_rows())}

### Days that the flights take

The spec's {CHAMPION}, fitted up to {CHAMPION_TO}, is champion; challengers are its {" and ".join(CHALLENGERS)}, fitted
up to {CHALLENGER_TO}. They are judged on days drawn from June to August without replacement, {draws} times for each
number of days. The spec as shipped, but for `min_days_comparison`; times of a batch are not compared. "Surely better":
the check `better_than_champion` passed.

{table(["challenger", "days", "surely better", "promoted", "verdicts", "held for"], map(_power_row, measured.power))}

Days that were drawn are less alike than days that follow each other: a real window of as many days tells less.
"""


def _less_alike(measured: Measured) -> str:
    found = {
        seen.name: seen for seen in measured.seen if seen.name.startswith(BETTER) and seen.world == "independent rows"
    }
    alike, less = (found[name] for name in (BETTER, f"{BETTER}, models less alike"))
    told = [share(seen.promoted["gate"], seen.trials) for seen in (alike, less)]
    return f"Better by 0.01 on 10,000 independent rows: at 0.9 {told[0]} are promoted, at 0.8 {told[1]}."


def _row(seen: Seen) -> tuple[str, ...]:
    shares = [share(seen.promoted[rule], seen.trials) for rule in RULES]
    return (seen.name, seen.world, *shares, _counts(seen.verdicts), ", ".join(_often(seen.failed)) or "-")


def _often(failed: Mapping[str, int]) -> list[str]:
    """The checks that failed most often, at most three."""
    return [f"{name} {count:,}" for name, count in sorted(failed.items(), key=lambda one: -one[1])[:3]]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "-"


def _nightly_rows(nights: dict[str, list[Nights]]) -> Iterator[tuple[str, ...]]:
    for rule in NIGHTLY:
        for world, runs in nights.items():
            any_at_all = sum(one.promotions[rule] > 0 for one in runs)
            each = np.mean([one.promotions[rule] for one in runs])
            inflation = _with_interval(*_inflation(runs, rule))
            yield rule, world, share(any_at_all, len(runs)), f"{each:.2f}", inflation


def _spending_rows() -> Iterator[tuple[str, ...]]:
    for name, alpha in SPENDING.items():
        left = [alpha(look) for look in LOOKS]
        yield (name, *(f"{one:.5f} (found {norm.sf(norm.isf(one) - EFFECT):.0%})" for one in left))


def _power_row(power: Power) -> tuple[str, ...]:
    promoted = share(power.verdicts.get("PROMOTE", 0), power.draws)
    better = share(power.better, power.draws)
    return (
        power.challenger,
        str(power.days),
        better,
        promoted,
        _counts(power.verdicts),
        ", ".join(_often(power.held_for)) or "-",
    )
