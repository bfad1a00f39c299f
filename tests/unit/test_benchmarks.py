"""What `make bench` says of its measurements; the measurements themselves are its own affair."""

from __future__ import annotations

import gzip
from datetime import timedelta

import pandas as pd
import pytest

from benchmarks import __main__ as command
from benchmarks import flight_drops
from benchmarks.gate_flights import Power
from benchmarks.gate_instrument import NIGHTLY, Nights, Seen
from benchmarks.gate_report import gate_section
from benchmarks.gate_rounds import Measured as Tried
from benchmarks.gate_rounds import keep_round, measure
from benchmarks.ingestion import BIG, BIGGEST, GROWTH, REFUSED, slope
from benchmarks.ingestion import Measured as Ingested
from benchmarks.ingestion_calls import STEPS, _World
from benchmarks.ingestion_report import growth_section, ingestion_section
from benchmarks.machine import OthersShare, bytes_read, describe_machine, memory_mib, peak_mib
from benchmarks.report import ratios, train_evaluate_section
from benchmarks.results import Section, Target, put_section, write_section
from benchmarks.train_evaluate import Measured
from ratchet.drops import DropStore
from ratchet.errors import DropError
from ratchet.read_drop import read_drop

FACTS = {"command": "make bench", "date": "2013-01-01", "machine": "-", "versions": "-", "noise": "-"}


@pytest.fixture
def measured() -> Measured:
    steps = {"take_training_snapshot": 1.0, "put_forward_challenger": 0.5}
    return Measured(
        seconds={"airflow": [6.0, 5.0, 30.0], "cold": [8.0, 7.0, 9.0], "warm": [2.0, 4.0, 2.0]},
        first_airflow=12.3,
        tasks=[[("take_snapshot", 0.1, 0.2, run)] for run in (1.11, 2.22, 3.33)],
        steps={"cold": [steps] * 3, "warm": [steps] * 3},
        peak_mib={"airflow": 2048, "cold": 512},
        rows={"train": 50_009},
    )


def run(seconds: float, rows: int = 1000, **more) -> dict:
    told = {"seconds": seconds, "processor_seconds": seconds, "rows": rows, "days": 1, "again_seconds": seconds / 10}
    told |= {"alone_seconds": 2.0, "plain_seconds": 5.0, "start_mib": 300.0, "peak_mib": 400.0}
    return told | {"steps": dict.fromkeys(STEPS, 0.5)} | more


@pytest.fixture
def ingested() -> Ingested:
    refused = {kind: {"seconds": 0.1, "read_bytes": 100, "peak_mib": 301.0} for kind in REFUSED}
    return Ingested(
        year=[run(4.0), run(8.0), run(5.0, peak_mib=2000.0)],
        big=[run(3.0, rows=1_000_000), run(9.0, rows=1_000_000)],
        biggest=[run(50.0, rows=3_000_000)],
        refused=refused,
        unpacked={BIG: 68_000_000, BIGGEST: 206_000_000},
    )


def test_ratios_are_of_medians_and_their_spread_of_single_repetitions(measured):
    cold, warm = ratios(measured)
    assert (cold.against, cold.value, cold.low) == ("cold", 6 / 8, 5 / 7)
    assert (warm.against, warm.value, warm.low, warm.high) == ("warm", 3.0, 5 / 4, 15.0)
    assert (cold.met, warm.met) == (True, False)


def test_the_report_says_which_target_was_missed(measured):
    text = write_section(train_evaluate_section(measured), **FACTS)
    assert "| Airflow / cold process | 0.75x | 0.71x to 3.33x | 1.0x or less | met |" in text
    assert "| Airflow / warm process | 3.00x | 1.25x to 15.00x | 2.5x or less | **missed** |" in text
    assert "| first run of Airflow after its start | 12.3 s | once | |" in text
    assert "1.11" in text and "3.33 |" not in text  # the tasks shown are those of the median run


def test_ingestion_is_held_against_great_expectations_alone_run_by_run(ingested):
    text = write_section(ingestion_section(ingested), **FACTS)
    assert "| a year of days: time / GX alone | 2.50x | 2.00x to 4.00x | 3.00x or less | met |" in text
    assert "| a year of days: peak memory | 400 MiB | 400 MiB to 2,000 MiB | 1,024 MiB or less | met |" in text
    assert "| one big drop: rows a second | 222,222 | 111,111 to 333,333 | 100,000 or more | met |" in text
    assert "| the biggest drop: rows a second | 60,000 | | 100,000 or more | **missed** |" in text
    assert "| the same year again, nothing to do / first time | 10.0% | 10.0% to 10.0% | | |" in text


def test_each_second_of_an_ingestion_is_told_once(ingested):
    text = ingestion_section(ingested).text
    # Of 5 s (the median run) seven clocks of 0.5 s, the validation within the checking.
    assert "| everything else | 2.00 | 0.00 |" in text and "| in all | 5.00 | 3.00 |" in text
    assert "| checking rows and keys | 0.00 | 0.00 |" in text


def test_the_calls_that_clocks_are_put_on_are_there():
    assert all(callable(getattr(owner, name)) for owner, name in STEPS.values())


@pytest.mark.parametrize(("power", "met"), [(1.0, True), (1.3, False), (0.7, False)])
def test_growth_is_linear_within_limits(power, met):
    runs = [run((1000 * months) ** power, rows=1000 * months) for months in GROWTH]
    assert slope(runs) == pytest.approx(power)
    assert growth_section([runs, runs]).targets[0].met is met


def test_the_gates_section_says_met_only_of_what_its_whole_interval_shows():
    found = {"equal": 40, "better by 0.01": 1830, "worse by 0.02": 18, "a leaked feature": 0, "the champion itself": 60}
    found["better by 0.01, models less alike"] = 1200
    seen = [
        Seen(name, "independent rows", 2000, {"gate": promoted, ">=": 900, "by rows": 200}, {}, {})
        for name, promoted in found.items()
    ]
    runs = [Nights(dict.fromkeys(NIGHTLY, 0), dict.fromkeys(NIGHTLY, off)) for off in (0.0015, 0.0017, 0.0019)]
    power = [Power("logistic", 28, 100, 45, {"PROMOTE": 10, "REJECT": 90}, {})]
    section = gate_section(Tried(2000, seen, {"days": runs}, power))
    assert {one.what.removesuffix(", independent rows: promoted"): one.verdict for one in section.targets} == {
        "equal": "met",
        "better by 0.01": "met",
        "worse by 0.02": "not shown",  # 0.9 %, which may be 0.5 or 1.4
        "a leaked feature": "met",
        "the champion itself": "**missed**",
        "90 nights of equal models, days: any promotion": "not shown",  # none of three runs
        "90 nights of equal models, days: inflation": "not shown",  # 0.0017, which may be 0.0012 or 0.0022
    }
    assert "at 0.9 91.5% (90.2% to 92.7%) are promoted, at 0.8 60.0% (57.8% to 62.2%)." in section.text


def test_the_gates_rounds_that_are_kept_are_added_up_and_not_tried_again(tmp_path):
    for number in range(3):
        seen = [Seen("equal", "independent rows", 100, {"gate": number, ">=": 40}, {"REJECT": 100}, {"success": 1})]
        nights = {"days": [Nights({"gate": 0}, {"gate": number / 1000})]}
        power = [Power("logistic", 28, 5, 1, {"HOLD": 5}, {"calibration": number})]
        keep_round(Tried(100, seen, nights, power), tmp_path / f"gate-round-{number}.json")
    said = []
    measured = measure(tmp_path, 3, said.append)
    assert said == [] and measured.trials == 300
    assert measured.seen == [
        Seen("equal", "independent rows", 300, {"gate": 3, ">=": 120}, {"REJECT": 300}, {"success": 3})
    ]
    assert [run.inflation["gate"] for run in measured.nights["days"]] == [0, 0.001, 0.002]
    assert measured.power == [Power("logistic", 28, 15, 3, {"HOLD": 15}, {"calibration": 3})]


def test_a_part_measured_again_replaces_its_own_section_only():
    first, second, again = (
        write_section(Section(part, "t", [Target("a", seen)], "### more\n\ntext"), **FACTS)
        for part, seen in [("train_evaluate", "1 s"), ("growth", "2 s"), ("train_evaluate", "3 s")]
    )
    order = list(command.PARTS)
    text = put_section(put_section("# What Ratchet costs, measured\n", second, order), first, order)
    assert text.index("## train_evaluate: t") < text.index("## growth: t") and "1 s" in text
    replaced = put_section(text, again, order)
    assert replaced == text.replace("1 s", "3 s") and replaced.count("## train_evaluate") == 1


def test_a_missed_target_is_the_commands_exit_status(monkeypatch, tmp_path, capsys):
    sections = {
        "ingestion": Section("ingestion", "t", [Target("a", "1"), Target("b", "1", "", "1", True)], ""),
        "growth": Section("growth", "t", [Target("c", "2", "1 to 3", "1", False)], ""),
    }
    parts = {name: lambda folder, repeat, say, name=name: sections[name] for name in sections}
    monkeypatch.setattr(command, "PARTS", parts)
    out = tmp_path / "RESULTS.md"
    assert command.main(["ingestion", "--out", str(out)]) == 0
    assert command.main(["--out", str(out)]) == 1
    assert "c: 2 (single repetitions 1 to 3), target 1: missed" in capsys.readouterr().out
    assert [line for line in out.read_text().splitlines() if line.startswith("## ")] == [
        "## ingestion: t",
        "## growth: t",
    ]
    with pytest.raises(SystemExit):
        command.main(["nope"])


def test_what_the_machine_does_not_tell_is_no_error(monkeypatch):
    assert peak_mib() > 1 and bytes_read() > 0
    monkeypatch.setattr("benchmarks.machine._lines", lambda path: [])
    assert OthersShare().share() is None
    assert memory_mib([1]) == peak_mib() == bytes_read() == 0
    assert "processor unknown" in describe_machine()


@pytest.fixture
def flights(tmp_path, monkeypatch):
    """Drops of two days in 2013, in the place of the whole year."""
    days = ("2013-02-28", "2013-03-09")
    monkeypatch.setattr(flight_drops, "land_year", lambda landing: [_land(landing, day) for day in days])
    return tmp_path


def _land(landing, day):
    from ratchet.upstream import land_flights

    return land_flights(DropStore(landing), day, day)


def read(landing, day, tmp_path):
    world = _World(landing, tmp_path / f"state-{landing.name}-{day}")
    drop = world.drops.announced("flights", day)
    with world.drops.fetched(drop, 2**28) as path:
        return world, read_drop(path, drop, world.spec)


def test_days_of_other_years_hold_their_own_departures(flights):
    landing = flights / "years"
    rows = flight_drops.land_years(landing, 2014, 2016)
    assert DropStore(landing).days("flights") == [
        *("2014-02-28", "2014-03-09", "2015-02-28", "2015-03-09"),
        *("2016-02-28", "2016-02-29", "2016-03-09"),
    ]
    found = 0
    for day in DropStore(landing).days("flights"):
        frame = read(landing, day, flights)[1].frame
        assert set(frame["sched_dep_at"].dt.tz_convert("America/New_York").dt.strftime("%Y-%m-%d")) == {day}
        assert (frame["sched_arr_at"] - frame["sched_dep_at"]).between("0h", timedelta(hours=24)).all()
        found += len(frame)
    assert found == rows


def test_a_big_drop_is_taken_whole(flights):
    landing = flights / "big"
    unpacked = flight_drops.land_big(landing, 5000)
    world, rows = read(landing, flight_drops.BIG_DAY, flights)
    assert (
        len(gzip.decompress((landing / "flights" / flight_drops.BIG_DAY / "flights.csv.gz").read_bytes())) == unpacked
    )
    assert len(rows.frame) == 5000 and not rows.frame.duplicated(world.spec.key).any()
    report = world.ingest([flight_drops.BIG_DAY])
    assert (report.rows, report.quarantined) == (5000, 0)
    assert pd.Timestamp(report.published[0]) == pd.Timestamp(flight_drops.BIG_DAY)


@pytest.mark.parametrize("kind", ["announced", "bigger_than_announced"])
def test_drops_of_5_gb_are_refused(tmp_path, kind):
    getattr(flight_drops, f"land_{kind}")(tmp_path / "landing")
    world = _World(tmp_path / "landing", tmp_path / "state")
    with pytest.raises(DropError, match="is too big"):
        world.ingest([flight_drops.BIG_DAY])
