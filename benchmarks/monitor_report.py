"""The section `monitor` of RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterator

from scipy.stats import chi2

from benchmarks.gate_instrument import CONFIDENCE, interval, share, shown
from benchmarks.monitor_instrument import AT_LEAST, CHECKS, REFERENCE_DAYS, ROWS_A_DAY, SHOWN, WINDOWS, WORLDS
from benchmarks.monitor_quarters import QUARTER
from benchmarks.monitor_rounds import Measured, Part
from benchmarks.monitor_worlds import spec_of
from benchmarks.results import Section, Target, table

MOST_FALSE, LEAST_FOUND, LEAST_FASTER = 0.01, 0.95, 10
UNSEEN = "days and a season"  # the scores of the judge window have seen a part of it: that they move is no error
NOT_ASKED = "days that follow each other, 0.7"  # a month of them tells as little as 5 independent days


def monitor_section(measured: Measured) -> Section:
    targets = [*_false(measured.parts["driftless"]), *_found(measured.parts), *_loud(measured.parts)]
    return Section(
        "monitor",
        "how often it calls what moved, in worlds whose truth is known",
        [*targets, *_budget(measured.parts["quarter"]), _speed(measured.seconds)],
        _text(measured),
    )


def _false(part: Part) -> Iterator[Target]:
    """Of all windows of a world together: those of a trial share its reference."""
    for world in part.worlds:
        of_world = part.of(world)
        count, trials = sum(of_world.values()), part.trials * len(of_world)
        asked = {} if world == NOT_ASKED else {"at_most": MOST_FALSE}
        met = shown(interval(count, trials), **asked)
        told = f"{MOST_FALSE:.0%} or less" if asked else ""
        yield Target(f"nothing moved, {world}: alarms", share(count, trials), "", told, met)


def _found(parts: dict[str, Part]) -> Iterator[Target]:
    for part in (parts["planted"], parts["harmed"]):
        for (world, what), count in part.counts.items():
            if not what.startswith("nothing"):
                met = shown(interval(count, part.trials), at_least=LEAST_FOUND)
                asked = f"{LEAST_FOUND:.0%} or more"
                yield Target(f"{what}; {world}: found", share(count, part.trials), "", asked, met)


def _loud(parts: dict[str, Part]) -> Iterator[Target]:
    asked = [(parts["harmless"], what) for what in parts["harmless"].counts]
    asked += [(parts["harmed"], what) for what in parts["harmed"].counts if what[1].startswith("nothing")]
    for part, (world, what) in asked:
        count = part.counts[world, what]
        met = shown(interval(count, part.trials), at_most=MOST_FALSE)
        name = what if part is parts["harmed"] else f"{what}: warned or paged"
        yield Target(f"{name}; {world}", share(count, part.trials), "", f"{MOST_FALSE:.0%} or less", met)


def _budget(part: Part) -> Iterator[Target]:
    allowed = spec_of().watch.false_alarms
    for world in part.worlds:
        for kind, most in (("pages", allowed.pages), ("warnings", allowed.warnings)):
            asked = kind == "pages" or world != UNSEEN
            count = part.counts[world, kind]
            low, high = (one / part.trials for one in _poisson(count))
            met = (True if high <= most else False if low > most else None) if asked else None
            seen = f"{count / part.trials:.2f} ({low:.2f} to {high:.2f})"
            yield Target(
                f"{kind} a quarter in which nothing is wrong; {world}",
                seen,
                "",
                f"{most:g} or less" if asked else "",
                met,
            )


def _poisson(count: int) -> tuple[float, float]:
    """The exact 95 % interval of a mean count (Garwood, Biometrika 28, 1936)."""
    tail = (1 - CONFIDENCE) / 2
    return (float(chi2.ppf(tail, 2 * count) / 2) if count else 0.0), float(chi2.isf(tail, 2 * count + 2) / 2)


def _speed(seconds: dict[str, float]) -> Target:
    times = seconds["evidently"] / seconds["ratchet"]
    told = f"{seconds['ratchet']:.2f} s of CPU, Evidently {seconds['evidently']:.1f} s: {times:.0f} times as fast"
    what = f"a year against a year, 17 columns of {int(seconds['rows']):,} rows each"
    return Target(what, told, "", f"{LEAST_FASTER} times", times >= LEAST_FASTER)


def _text(measured: Measured) -> str:
    parts = measured.parts
    return f"""
In brackets the exact 95 % interval (Clopper and Pearson; of counts: Garwood). "Met": the whole interval lies within the
target; "not shown": it reaches over it; "missed": it lies outside. But for the last line nothing is timed, and that one
is in CPU seconds of one run: a busy machine changes little.

The worlds (benchmarks/monitor_worlds.py) have five numbers, of which one is skewed, one of whole numbers and one nearly
always 0, two texts of 5 and of 300 values, and a score. A reference has {REFERENCE_DAYS} days of {ROWS_A_DAY} rows;
that of the season is a year. "Days": what a day has of its own has a standard deviation of 0.3 of a row's, so that 500
rows of a day tell as little as 12 of as many days; of "days that follow each other" it correlates with the day before
by the number named. At 0.7 nothing is promised: see docs/adr/0020. Windows of one trial are held against one
reference.

### Nothing has moved

Of {parts["driftless"].trials:,} windows of each kind, those that are called moved (`find_movements`; one check, before
`watch.persistence`).

{table(["window", *WORLDS], _driftless_rows(parts["driftless"]))}

Evidently's `DataDriftPreset` with its defaults, on windows drawn in the same way: half of the columns or more are
called drifted ("dataset"), and any column is. {parts["evidently"].trials:,} windows of each kind.

{table(["window", *_evidently_head(parts["evidently"])], _evidently_rows(parts["evidently"]))}

### What is planted, what harms nobody, and quarters

Planted in features: the column is named in {AT_LEAST} of {CHECKS} checks a day apart, and the whole window is harmed:
{parts["planted"].trials:,} trials. Where days differ by more than the 0.15 sd of these worlds, half an sd is
found less often: at 0.2 nine times in ten, at 0.3 not reliably (docs/adr/0020). In outcomes: somebody is paged at
the end of 14 labelled days of 500 rows (`check_drift`): {parts["harmed"].trials:,} trials.

A quarter is {QUARTER} daily checks by `check_drift`, with
`watch.persistence` and the findings of the features' quality, of a model that knows a year of 50 rows a day, and scores
of its last 12 weeks; its later days come from anywhere in the year, so that a season may move its scores, and rightly
warns. An alarm that stays open is one. Deliveries, skew and the loop's health have no part in it.
{parts["quarter"].trials:,} quarters; with a page: {_with_a_page(parts["quarter"])}.
"""


def _driftless_rows(part: Part) -> Iterator[tuple[str, ...]]:
    for window in WINDOWS:
        yield window, *(share(part.counts[world, window], part.trials) for world in WORLDS)


def _evidently_head(part: Part) -> list[str]:
    return [f"{world}: {what}" for world in part.worlds for what in ("dataset", "any column")]


def _evidently_rows(part: Part) -> Iterator[tuple[str, ...]]:
    for window in SHOWN:
        asked = [(world, f"{window}: {what}") for world in part.worlds for what in ("dataset", "any column")]
        yield window, *(share(part.counts[one], part.trials) for one in asked)


def _with_a_page(part: Part) -> str:
    counts = ((world, part.counts[world, "quarters with a page"]) for world in part.worlds)
    return "; ".join(f"{world} {share(count, part.trials)}" for world, count in counts)
