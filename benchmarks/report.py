"""The section `train_evaluate` of RESULTS.md."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks.results import Section, Target
from benchmarks.train_evaluate import AS_OF, FIRST, LAST, Measured

TARGETS = {"cold": 1.0, "warm": 2.5}
NAMES = {
    "airflow": "live Airflow, from the trigger to the run's end",
    "cold": "one cold process, from the start of Python to its exit",
    "warm": "one warm process, the same calls once more",
}


@dataclass(frozen=True)
class Ratio:
    """Airflow's median over another way's; `low` and `high` are of single repetitions."""

    against: str
    value: float
    low: float
    high: float
    target: float

    @property
    def met(self) -> bool:
        return self.value <= self.target


def ratios(measured: Measured) -> list[Ratio]:
    airflow = measured.seconds["airflow"]
    made = []
    for way, target in TARGETS.items():
        other = measured.seconds[way]
        each = [a / b for a, b in zip(airflow, other, strict=True)]
        made.append(Ratio(way, median(airflow) / median(other), min(each), max(each), target))
    return made


def train_evaluate_section(measured: Measured) -> Section:
    title = "through a live Airflow, against the same library calls in one process"
    return Section("train_evaluate", title, [_target(ratio) for ratio in ratios(measured)], _text(measured))


def _target(ratio: Ratio) -> Target:
    spread = f"{ratio.low:.2f}x to {ratio.high:.2f}x"
    what, asked = f"Airflow / {ratio.against} process", f"{ratio.target:.1f}x or less"
    return Target(what, f"{ratio.value:.2f}x", spread, asked, ratio.met)


def _text(measured: Measured) -> str:
    repetitions = len(measured.seconds["airflow"])
    rows = ", ".join(f"{count:,} to {name}" for name, count in measured.rows.items())
    return f"""
| | median | lowest to highest | peak memory |
|---|---|---|---|
{_lines(_seconds_line(measured, way) for way in NAMES)}
| first run of Airflow after its start | {measured.first_airflow:.1f} s | once | |

{repetitions} repetitions, the three ways in turn in each. Ratios are of medians. One training is a snapshot of the
flights of {FIRST} to {LAST} as of {AS_OF}
({rows}),
each candidate of the shipped spec fitted, measured and logged to MLflow, and the best registered as challenger. All
three ways use one var folder and one MLflow server. Each training has a seed of its own, so that none is found done
already, and ended in a model version of its own, which was checked.

Airflow is up and has run the DAG once before: the first run after a start is slower, and is told apart. Every other DAG
is paused, and the retrain request is filed before the clock starts, for all three ways. The trigger's `run_after` is a
second back: on SQLite Airflow compares it with the clock in whole seconds, and the run would wait half a second on
average for the next one.

Airflow runs the candidates beside each other on all cores, while one process makes its calls one after another on one:
on one core the ratios would be worse, and other work on the machine slows the Airflow run down most. Memory of the
processes is their highest resident size; that of Airflow is all of its servers and workers and the MLflow server
together, shared pages counted once, in one more run that was not timed.

### Where the time goes

The Airflow run of median length, in seconds after the trigger:

| task | queued | started | ended | ran for |
|---|---|---|---|---|
{_lines(_task_line(task) for task in _median_tasks(measured))}

The library calls, medians in seconds (the cold ones include their imports; the start of Python comes on top):

| call | cold | warm |
|---|---|---|
{_lines(_step_line(measured, call) for call in measured.steps["warm"][0])}
"""


def _seconds_line(measured: Measured, way: str) -> str:
    seconds, memory = measured.seconds[way], measured.peak_mib.get(way)
    told = f"{memory / 1024:.1f} GiB" if memory else "unknown"
    return f"| {NAMES[way]} | {median(seconds):.1f} s | {min(seconds):.1f} to {max(seconds):.1f} s | {told} |"


def _median_tasks(measured: Measured) -> list[tuple[str, float, float, float]]:
    seconds = measured.seconds["airflow"]
    ranked = sorted(range(len(seconds)), key=seconds.__getitem__)
    return measured.tasks[ranked[(len(ranked) - 1) // 2]]


def _task_line(task: tuple[str, float, float, float]) -> str:
    name, queued, started, ended = task
    return f"| {name} | {queued:.2f} | {started:.2f} | {ended:.2f} | {ended - started:.2f} |"


def _step_line(measured: Measured, call: str) -> str:
    cold, warm = (median(steps[call] for steps in measured.steps[way]) for way in ("cold", "warm"))
    return f"| {call} | {cold:.2f} | {warm:.2f} |"


def _lines(lines) -> str:
    return "\n".join(lines)
