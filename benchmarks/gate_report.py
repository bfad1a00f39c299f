"""The section `gate` of RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.stats import norm

from benchmarks.gate_flights import CHALLENGER_TO, CHALLENGERS, CHAMPION, CHAMPION_TO, Power
from benchmarks.gate_instrument import NIGHTLY, NIGHTS, RULES, WINDOW, Measured, Nights, Seen, share
from benchmarks.results import Section, Target, table
from ratchet.gate import alpha_left

ALPHA, EFFECT = 0.025, 4.0
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
    asked = [seen for seen in measured.seen if seen.met is not None]
    targets = [*map(_target, asked), *_nightly_targets(measured.nights)]
    return Section("gate", "how often it promotes what, in worlds whose truth is known", targets, _text(measured))


def _target(seen: Seen) -> Target:
    case, told = seen.case, share(seen.promoted["gate"], seen.trials)
    asked = f"{case.at_most:.0%} or less" if case.at_most is not None else f"{case.at_least:.0%} or more"
    return Target(f"{seen.name}, {seen.world}: promoted", told, "", asked, seen.met)


def _nightly_targets(nights: dict[str, list[Nights]]) -> Iterator[Target]:
    for world, runs in nights.items():
        any_at_all = sum(one.promotions["gate"] > 0 for one in runs)
        mean, error = _inflation(runs, "gate")
        what = f"{NIGHTS} nights of equal models, {world}"
        told = share(any_at_all, len(runs))
        yield Target(
            f"{what}: any promotion", told, "", f"{MOST_NIGHTS:.0%} or less", any_at_all <= MOST_NIGHTS * len(runs)
        )
        told = f"{mean:+.4f} (standard error {error:.4f})"
        yield Target(f"{what}: inflation", told, "", f"{MOST_INFLATION} or less", mean <= MOST_INFLATION)


def _inflation(runs: list[Nights], rule: str) -> tuple[float, float]:
    values = [one.inflation[rule] for one in runs]
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _text(measured: Measured) -> str:
    draws = measured.power[0].draws
    return f"""
{measured.trials:,} trials of each kind in each world; in brackets the exact 95 % interval (Clopper and Pearson). It is
the whole gate that is asked (`ratchet.gate.judge`), with the library's own margins: 10,000 rows, of which 22 % are
positive, on 40 days (independent rows) or 30 (days); slices of 4,000, 4,000 and 2,000 rows, two groups to be fair to,
rows acted on from 1/6. Beside it, on the same rows: `>=`, a metric that is no lower; and "by rows", a paired test at
2.5 % that takes rows for independent. The models' AUC is 0.75 (independent rows) to 0.84, their scores correlate with
0.9 within a class, as those of two logistic models of the flights do; "less alike": with 0.8, as two of boosting do.
Days move both label and score.

{table(["challenger", "world", *RULES, "the gate's verdicts", "for"], map(_row, measured.seen))}

### {NIGHTS} nights of equal models

A window of {WINDOW} days slides by a day a night, with 40 rows a day; each promoted challenger is the next champion.
{len(next(iter(measured.nights.values())))} such runs a world.
"No spending" is the same gate at its whole alpha every night. Inflation: the last champion's AUC on the last window
above that of a model that nobody chose there, with its standard error.

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
            mean, error = _inflation(runs, rule)
            yield rule, world, share(any_at_all, len(runs)), f"{each:.2f}", f"{mean:+.4f} ({error:.4f})"


def _spending_rows() -> Iterator[tuple[str, ...]]:
    for name, alpha in SPENDING.items():
        left = [alpha(look) for look in LOOKS]
        yield (name, *(f"{one:.5f} (found {norm.sf(norm.isf(one) - EFFECT):.0%})" for one in left))


def _power_row(power: Power) -> tuple[str, ...]:
    promoted = share(power.verdicts.get("PROMOTE", 0), power.draws)
    better = share(power.better, power.draws)
    return power.challenger, str(power.days), better, promoted, _counts(power.verdicts), _counts(power.held_for)
