"""The sections `ingestion` and `growth` of RESULTS.md."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from benchmarks.ingestion import BIG, BIGGEST, GROWTH, REFUSED, Measured, slope
from benchmarks.results import Section, Target, table

MOST_MIB = 1024
MOST_TIMES_VALIDATION = 3.0
LEAST_ROWS_A_SECOND = 100_000
LINEAR = 0.15  # how far from 1 a slope may be


def ingestion_section(measured: Measured) -> Section:
    year, big, biggest, rows = measured.year, measured.big, measured.biggest, measured.year[0]["rows"]
    targets = [
        _at_most("a year of days: peak memory", year, lambda run: run["peak_mib"], "{:,.0f} MiB", MOST_MIB),
        _at_most("a year of days: time / GX alone", year, _times_validation, "{:.2f}x", MOST_TIMES_VALIDATION),
        _seen("a year of days: rows a second", year, _rows_a_second, "{:,.0f}"),
        _seen("the same year again, nothing to do / first time", year, _again, "{:.1%}"),
        _rate("one big drop: rows a second", big),
        _at_most("one big drop: time / GX alone", big, _times_validation, "{:.2f}x", MOST_TIMES_VALIDATION),
        _seen("one big drop: peak memory", big, lambda run: run["peak_mib"], "{:,.0f} MiB"),
        _rate("the biggest drop: rows a second", biggest),
        _at_most("the biggest drop: time / GX alone", biggest, _times_validation, "{:.2f}x", MOST_TIMES_VALIDATION),
        _seen("the biggest drop: peak memory", biggest, lambda run: run["peak_mib"], "{:,.0f} MiB"),
        *(_refused(kind, run) for kind, run in measured.refused.items()),
    ]
    again = median(run["again_seconds"] for run in year)
    text = f"""
Figures are medians of {len(year)}, the year and the two big drops in turn. Every run is a process of its own,
with an empty lake and ledger (SQLite) in a folder; memory is its highest resident size (VmHWM), of which
{year[0]["start_mib"]:,.0f} MiB are there once the libraries are imported. The clock starts after the imports.

- **A year of days**: `ingest_days` over the {year[0]["days"]} daily drops of 2013, {rows:,} rows, in one run. Again:
  the same call once more in the same process, {again:.2f} s.
- **One big drop**: {BIG:,} rows of one day, {measured.unpacked[BIG] / 1e6:,.0f} MB unpacked, 8 columns, made of the
  year's flights. **The biggest**: {BIGGEST:,} rows, {measured.unpacked[BIGGEST] / 1e6:,.0f} MB of the 268 MB that a
  drop may have. From the drop to a published partition that is on record.
- **GX alone**: Great Expectations without ingestion. `ratchet.expectations.validate_days`, the call that ingestion
  makes, on the same typed frames, in the same batches, with the same suite, in the same process right after the run;
  reading drops, making columns for the suite and everything after the verdict are not in it. Both got the shipped suite
  of flights without its upper bound of rows a day. Without any code of ours (the whole suite on a frame a day, as its
  documentation does it) Great Expectations takes {_plain(year)} as long as that on the year, {_plain(big)} on the
  big drop.

### What can't be taken

{table(["drop", "refused after", "peak memory", "read by then"], [_refusal(k, r) for k, r in measured.refused.items()])}

What was read of the first two is manifest, suite and ledger; nothing of the drop. Of the third the rows are kept as
they are read, up to the limit of 256 MiB unpacked, which is where it is refused.

### Where the time goes

In seconds, of the repetition of median length. Clocks round calls cost next to nothing at these sizes.

{table(["", "a year of days", "one big drop"], _step_lines(_middle(year), _middle(big)))}
"""
    return Section("ingestion", "from drop to published partition, against Great Expectations alone", targets, text)


def growth_section(taken: list[list[dict]]) -> Section:
    slopes = [slope(runs) for runs in taken]
    typical = [
        {"rows": runs[0]["rows"], "seconds": median(r["seconds"] for r in runs)} for runs in zip(*taken, strict=True)
    ]
    middle = slope(typical)
    met = abs(middle - 1) <= LINEAR
    asked = f"{1 - LINEAR:.2f} to {1 + LINEAR:.2f}"
    processor = median(slope(runs, "processor_seconds") for runs in taken)
    targets = [
        Target(
            "growth of time with rows, a month to ten years", f"{middle:.2f}", _spread(slopes, "{:.2f}"), asked, met
        ),
        Target("the same of processor time", f"{processor:.2f}"),
    ]
    lines = [_growth_line(months, [runs[n] for runs in taken]) for n, months in enumerate(GROWTH)]
    head = ["months", "days", "rows", "seconds", "microseconds a row", "peak memory", "again"]
    text = f"""
The slope of log time over log rows by least squares; 1 is linear. Figures are medians of {len(taken)}. Each run is one
call of `ingest_days` over all its days, in a process of its own with an empty lake and ledger. The days after 2013 are
those of 2013 once more, moved to the same calendar day of a later year. Again: the same call once more, with nothing
to do.

{table(head, lines)}
"""
    return Section("growth", "ingestion of a month to ten years of days", targets, text)


def _times_validation(run: dict) -> float:
    return run["seconds"] / run["alone_seconds"]


def _rows_a_second(run: dict) -> float:
    return run["rows"] / run["seconds"]


def _again(run: dict) -> float:
    return run["again_seconds"] / run["seconds"]


def _seen(what: str, runs: list[dict], figure: Callable[[dict], float], form: str) -> Target:
    values = [figure(run) for run in runs]
    return Target(what, form.format(median(values)), _spread(values, form))


def _at_most(what: str, runs: list[dict], figure: Callable[[dict], float], form: str, most: float) -> Target:
    seen = _seen(what, runs, figure, form)
    met = median(map(figure, runs)) <= most
    return Target(what, seen.seen, seen.spread, f"{form.format(most)} or less", met)


def _rate(what: str, runs: list[dict]) -> Target:
    seen = _seen(what, runs, _rows_a_second, "{:,.0f}")
    met = median(map(_rows_a_second, runs)) >= LEAST_ROWS_A_SECOND
    return Target(what, seen.seen, seen.spread, f"{LEAST_ROWS_A_SECOND:,} or more", met)


def _spread(values: list[float], form: str) -> str:
    return f"{form.format(min(values))} to {form.format(max(values))}" if len(values) > 1 else ""


def _refused(kind: str, run: dict) -> Target:
    return Target(REFUSED[kind], f"refused, with {run['peak_mib']:,.0f} MiB", "", "refused", True)


def _refusal(kind: str, run: dict) -> tuple[str, ...]:
    read = f"{run['read_bytes'] / 1e6:.1f} MB"
    return REFUSED[kind], f"{run['seconds']:.2f} s", f"{run['peak_mib']:,.0f} MiB", read


def _plain(runs: list[dict]) -> str:
    return f"{median(run['plain_seconds'] / run['alone_seconds'] for run in runs if 'plain_seconds' in run):.1f} times"


def _middle(runs: list[dict]) -> dict:
    return sorted(runs, key=lambda run: run["seconds"])[(len(runs) - 1) // 2]


def _step_lines(*runs: dict) -> list[tuple[str, ...]]:
    parts = [_own_parts(run) for run in runs]
    return [(name, *(f"{part[name]:.2f}" for part in parts)) for name in parts[0]]


def _own_parts(run: dict) -> dict[str, float]:
    """Each second once: checking without the validation within it, and what no clock was on."""
    steps = dict(run["steps"])
    checking = steps.pop("checking, Great Expectations within")
    steps["checking rows and keys"] = checking - steps["Great Expectations"]
    steps["everything else"] = run["seconds"] - sum(steps.values())
    return steps | {"in all": run["seconds"]}


def _growth_line(months: int, runs: list[dict]) -> tuple[str, ...]:
    rows, seconds = runs[0]["rows"], median(run["seconds"] for run in runs)
    again, peak = (median(run[name] for run in runs) for name in ("again_seconds", "peak_mib"))
    each = f"{seconds / rows * 1e6:.0f}"
    return (
        str(months),
        f"{runs[0]['days']:,}",
        f"{rows:,}",
        f"{seconds:.1f}",
        each,
        f"{peak:,.0f} MiB",
        f"{again:.1f} s",
    )
