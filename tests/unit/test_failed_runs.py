"""Runs that failed are found whatever callback was lost, each once, and are settled when the work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from airflow.sdk import DAG
from small_loop import MODEL, REPO, deployment_in, make_home

from ratchet.alert_text import runbook_of
from ratchet.workflow.champion_alerts import held_days, tell_of_champions
from ratchet.workflow.dispatch import Due, give_up, settle_given_up
from ratchet.workflow.failed_runs import FailedRun, raise_failed_run, watch_runs
from ratchet.workflow.loop_alerts import note_mlflow, note_refused, note_sweep, verify_ledger
from ratchet.workflow.scoring import inputs_digests
from ratchet_airflow.notifiers import FailedRunNotifier
from ratchet_airflow.operators.dispatch import SendAlertsOperator

INGEST, SCORE, CHECK = "flights.ingest_validate", f"{MODEL}.score", f"{MODEL}.check_drift"


@dataclass
class Scheduler:
    """Airflow's answers about runs kept in a dict, {(dag, run): state}; `listed`: the DAGs whose runs were listed."""

    runs: dict[tuple[str, str], str] = field(default_factory=dict)
    listed: list[str] = field(default_factory=list)
    calls: int = 0

    def count(self, dag_id: str, run_ids: Sequence[str] | None = None, state: str | None = None) -> int:
        assert run_ids is None or 0 < len(run_ids) <= 100
        self.calls += 1
        of_dag = {run: seen for (dag, run), seen in self.runs.items() if dag == dag_id}
        wanted = of_dag if run_ids is None else set(run_ids) & set(of_dag)
        return sum(1 for run in wanted if state in (None, of_dag[run]))

    def states(self, dag_id: str, run_ids: Sequence[str] | None = None) -> dict[str, dict[str, str]]:
        self.listed.append(dag_id)
        return {run: {"task": state} for (dag, run), state in self.runs.items() if dag == dag_id}


@pytest.fixture
def deployment(tmp_path):
    """An empty one; whatever alerts it gets link to runbooks that there are, and stand on record."""
    make_home(tmp_path / "home")
    deployment = deployment_in(tmp_path)
    yield deployment
    books = str(REPO / "docs" / "runbooks")
    assert all(Path(runbook_of(alert, books)).is_file() for alert in deployment.ledger.open_alerts())


def open_runs(deployment) -> dict[str, str]:
    return {alert.key: alert.level for alert in deployment.ledger.open_alerts()}


LEVELS = {
    (INGEST, "scheduled__2013-02-01T00:00:00+00:00"): "page",
    (INGEST, "manual__2013-02-01T00:00:00+00:00"): "warn",  # who started it looks at it
    (INGEST, "backfill__2013-02-01T00:00:00+00:00"): "warn",
    (CHECK, "scheduled__2013-02-01T00:00:00+00:00"): "warn",
    (SCORE, "score__2013-02-01__2013-02-03__abc__1"): "note",  # dispatch starts it again
    (SCORE, "score__2013-02-01__2013-02-03__abc__3"): "warn",  # giving it up is an alert of its own
    (f"{MODEL}.train_evaluate", "train__2013-02-01__b000001__2"): "note",
    ("ratchet.upkeep", "scheduled__2013-02-01T00:00:00+00:00"): "warn",
    (f"{MODEL}.rollback", "incident__42__1"): "warn",  # a caller's own id
}


def test_k7_every_kind_of_failed_run_is_found_once(deployment):
    scheduler = Scheduler(dict.fromkeys(LEVELS, "failed") | {(dag, "another"): "success" for dag, _ in LEVELS})
    told = watch_runs(deployment, scheduler)
    assert sorted(told["raised"]) == sorted(f"run/{dag}/{run}" for dag, run in LEVELS)
    for (dag, run), level in LEVELS.items():
        alert = deployment.ledger.newest_alert(dag.rpartition(".")[0], f"run/{dag}/{run}")
        assert (alert.level, alert.facts["dag"], alert.facts["run"], alert.facts["tasks"]) == (
            level,
            dag,
            run,
            ["task"],
        )
    before = len(deployment.ledger.events())
    assert watch_runs(deployment, scheduler)["raised"] == [] and len(deployment.ledger.events()) == before


def test_where_nothing_new_failed_runs_are_counted_and_not_listed(deployment):
    scheduler = Scheduler({(INGEST, "manual__1"): "failed", (SCORE, "manual__2"): "success"})
    watch_runs(deployment, scheduler)
    scheduler.listed.clear()
    watch_runs(deployment, scheduler)
    assert scheduler.listed == []


def test_k7_what_a_callback_raised_is_not_raised_again_and_the_others_are_found(deployment):
    runs = {(INGEST, f"manual__{n:03}"): "failed" if n % 7 == 0 else "success" for n in range(150)}
    raise_failed_run(deployment, FailedRun(INGEST, "manual__007"))
    watch_runs(deployment, Scheduler(runs))
    failed = {f"run/{dag}/{run}" for (dag, run), state in runs.items() if state == "failed"}
    assert set(open_runs(deployment)) == failed and len(failed) == 22
    assert deployment.ledger.newest_alert("flights", f"run/{INGEST}/manual__007").times == 1


def test_k7_one_that_was_purged_does_not_hide_another(deployment):
    """As many failed runs as before, and one of them is new."""
    scheduler = Scheduler({(INGEST, "manual__1"): "failed"})
    watch_runs(deployment, scheduler)
    scheduler.runs = {(INGEST, "manual__2"): "failed"}
    told = watch_runs(deployment, scheduler)
    assert told == {"raised": [f"run/{INGEST}/manual__2"], "settled": [f"run/{INGEST}/manual__1"]}


def test_one_that_was_cleared_and_succeeds_is_settled_and_may_fail_anew(deployment):
    scheduler = Scheduler({(INGEST, "manual__1"): "failed"})
    for state, raised, settled in (("failed", 1, 0), ("running", 0, 0), ("success", 0, 1), ("failed", 1, 0)):
        scheduler.runs[INGEST, "manual__1"] = state
        told = watch_runs(deployment, scheduler)
        assert (len(told["raised"]), len(told["settled"])) == (raised, settled), state
    assert len(deployment.ledger.alerts_under("flights", "run/")) == 1 and len(open_runs(deployment)) == 1


@pytest.mark.parametrize(
    ("dag", "run", "later", "settles"),
    [
        (CHECK, "scheduled__2013-02-01T00:00:00+00:00", "scheduled__2013-02-02T00:00:00+00:00", True),
        (CHECK, "scheduled__2013-02-01T00:00:00+00:00", "scheduled__2013-01-31T00:00:00+00:00", False),
        (CHECK, "scheduled__2013-02-01T00:00:00+00:00", "manual__2013-02-02T00:00:00+00:00", False),
        (f"{MODEL}.train_evaluate", "train__2013-02-01__b000001__1", "train__2013-02-01__b000001__2", True),
        (f"{MODEL}.train_evaluate", "train__2013-02-01__b000001__1", "train__2013-02-01__b000002__2", False),
        (INGEST, "manual__1", "manual__2", False),  # it may have been about other days
        (f"{MODEL}.reproduce", "scheduled__2013-02-03T03:00:00+00:00", "scheduled__2013-02-10T03:00:00+00:00", False),
        (f"{MODEL}.monthly_report", "scheduled__2013-05-01T08:00:00+00:00", "scheduled__2013-06-01T08:00:00", False),
        (f"{MODEL}.rollback", "incident__42__1", "incident__42__2", False),  # a caller's own ids
    ],
)
def test_a_later_run_of_the_same_work_settles_it_once_and_for_all(deployment, dag, run, later, settles):
    scheduler = Scheduler({(dag, run): "failed"})
    assert watch_runs(deployment, scheduler)["settled"] == []
    scheduler.runs[dag, later] = "success"
    assert bool(watch_runs(deployment, scheduler)["settled"]) is settles
    assert watch_runs(deployment, scheduler) == {"raised": [], "settled": []}


def test_what_the_loop_does_about_a_failed_run_is_said_of_dispatch_s_own_and_of_the_same_work_only():
    begins = {
        FailedRun(SCORE, "score__a__b__c__2"): "dispatch starts afresh what is still due",
        FailedRun(SCORE, "score__a__b__c__3"): "the last of 3 attempts",
        FailedRun(SCORE, "ticket__7__1"): "nothing",
        FailedRun(f"{MODEL}.rollback", "incident__42__1"): "nothing",
        FailedRun(SCORE, "scheduled__2013-02-01"): "the next run by the schedule takes the same work up",
        FailedRun(f"{MODEL}.reproduce", "scheduled__2013-02-01"): "nothing: the next run by the schedule does other",
    }
    assert [run.done.startswith(said) for run, said in begins.items()] == [True] * len(begins)


@pytest.mark.parametrize(
    ("dag", "model", "key"),
    [
        (INGEST, "flights", f"run/{INGEST}/manual__1"),
        ("my_own", "my_own", "run/my_own/manual__1"),
        ("ratchet.dispatch", "ratchet", "loop/dispatch"),
    ],
)
def test_a_failed_run_s_callback_raises_its_alert(deployment, as_environment, dag, model, key):
    """What dispatch would send, if it came to that, is sent for it."""
    as_environment(deployment)
    FailedRunNotifier()({"dag": DAG(dag, schedule=None), "run_id": "manual__1"})
    (alert,) = deployment.ledger.open_alerts()
    assert (alert.model, alert.key) == (model, key) and alert.facts["run"] == "manual__1"
    assert (deployment.settings.var / "alerts" / "alerts.jsonl").exists() is (model == "ratchet")


def test_what_dispatch_gave_up_is_a_page_until_it_is_done(deployment):
    due = Due(MODEL, SCORE, "score__a__b__c", {"days": ["a"]})
    give_up(deployment, due)
    give_up(deployment, due)
    (alert,) = deployment.ledger.open_alerts(MODEL)
    assert (alert.level, alert.times, alert.key) == ("page", 1, "given-up/score__a__b__c")
    of_later_data = Due(MODEL, SCORE, "score__a__e__f", {"days": ["a", "e"]})
    for still, unreached, left in (([due], (), 1), ([of_later_data], (), 1), ([], {MODEL}, 1), ([], (), 0)):
        settle_given_up(deployment, lambda still=still: still, unreached)
        assert len(deployment.ledger.open_alerts()) == left


def test_a_spec_that_breaks_settles_nothing(tmp_path):
    """Nothing is due of a model that nobody can read, and nothing is done."""
    make_home(tmp_path / "home")
    deployment = deployment_in(tmp_path)
    due = Due(MODEL, SCORE, "score__a__b__c", {"days": ["a"]})
    give_up(deployment, due)
    scheduler = Scheduler({(SCORE, due.run_id(3)): "failed"})
    raise_failed_run(deployment, FailedRun(SCORE, due.run_id(3)))
    path = deployment.settings.model_specs / f"{MODEL}.yaml"
    sound = path.read_text()
    for spec, left in ((f"{sound}\nno_such_key: 1\n", 2), (sound, 0)):
        path.write_text(spec)
        deployment = deployment_in(tmp_path)
        settle_given_up(deployment, list, ())
        watch_runs(deployment, scheduler)
        assert len(deployment.ledger.open_alerts()) == left


def test_a_run_that_held_a_day_back_is_not_said_to_be_done(deployment):
    """Its alert is settled: the day has one of its own, until it is scored."""
    ledger, run = deployment.ledger, FailedRun(SCORE, "score__2013-02-01__2013-02-03__abc__1")
    facts = hold_back(deployment, "2013-02-02", deliver(deployment, "2013-02-02", "B"))
    raise_failed_run(deployment, run)
    watch_runs(deployment, Scheduler({(SCORE, run.run_id): "failed"}))
    assert ledger.newest_alert(MODEL, run.key).why == "it is done, or no longer due; still held back: 2013-02-02"
    for _ in range(2):
        tell_of_champions(deployment)
        (alert,) = ledger.open_alerts()
        assert (alert.key, alert.level, alert.times) == ("held/2013-02-02", "warn", 1)
        assert alert.facts["why"] == facts["why"]
    ledger.record_scored(MODEL, "2013-02-02", facts["inputs_digest"], 1, 9, 1, {}, None)
    tell_of_champions(deployment)
    assert ledger.open_alerts() == []


def test_a_day_is_held_back_while_it_holds_what_was_held_back(deployment):
    """Delivered as it was scored before, nothing is to be done; held back with the same rows again, it is told anew."""
    ledger, day = deployment.ledger, "2013-02-02"
    for content, scored, told in (("A", True, 0), ("B", False, 1), ("A", False, 0), ("B", False, 1), ("C", True, 0)):
        digest = deliver(deployment, day, content)
        if scored:
            ledger.record_scored(MODEL, day, digest, 1, 9, 1, {}, None)
        elif content == "B":
            hold_back(deployment, day, digest)
        tell_of_champions(deployment)
        assert [alert.key for alert in ledger.open_alerts()] == [f"held/{day}"] * told, content
        assert [*held_days(deployment, MODEL)] == [day] * told
    deliver(deployment, day, "B")
    for _ in range(2):
        tell_of_champions(deployment)
        ledger.settle_alert(MODEL, f"held/{day}", "a person has looked")
    assert len([one for one in ledger.events() if one.kind == "alert_raised"]) == 3


def deliver(deployment, day: str, content: str) -> str:
    """The digest of what the day's features are made from then."""
    at = datetime(2013, 2, 4, tzinfo=UTC)
    deployment.ledger.record_partition("flights", day, content, content * 64, "r", 1, 9, 0, at)
    return inputs_digests(deployment, deployment.model(MODEL), [day])[day]


def hold_back(deployment, day: str, digest: str) -> dict:
    facts = {"day": day, "inputs_digest": digest, "version": 1, "why": "all rows have the same score"}
    deployment.ledger.note("day_held", f"models/{MODEL}/held_days", facts, "ratchet")
    return facts


@pytest.mark.parametrize(
    ("dag", "word", "settles"),
    [(SCORE, "score", False), (CHECK, "check", False), (f"{MODEL}.promote", "promote", True)],
)
def test_a_key_that_new_data_changed_is_no_sign_that_the_work_is_done(deployment, monkeypatch, dag, word, settles):
    due = [Due(MODEL, dag, f"{word}__of_later_data__f", {})]
    monkeypatch.setattr("ratchet.workflow.failed_runs.list_due", lambda deployment: due)
    scheduler = Scheduler({(dag, f"{word}__of_some_data__c__3"): "failed"})
    assert bool(watch_runs(deployment, scheduler)["settled"]) is settles
    due.clear()
    watch_runs(deployment, scheduler)
    assert open_runs(deployment) == {}


def test_k7_many_open_runs_are_asked_about_by_the_hundred(deployment):
    runs = {(INGEST, f"{how}__{n:03}"): "failed" for n in range(52) for how in ("scheduled", "backfill")}
    scheduler = Scheduler(runs)
    assert len(watch_runs(deployment, scheduler)["raised"]) == 104
    asked = Scheduler(runs)
    watch_runs(deployment, asked)
    assert asked.calls < 30 and len(open_runs(deployment)) == 104
    scheduler.runs |= {(INGEST, "scheduled__040"): "success", (INGEST, "backfill__050"): "success"}
    assert len(watch_runs(deployment, scheduler)["settled"]) == 42, "itself and what is before it, and the other itself"


def test_a_training_given_up_is_settled_with_its_runs_by_one_that_is_done(deployment):
    ledger, dag = deployment.ledger, f"{MODEL}.train_evaluate"
    scheduler = Scheduler({(dag, f"train__x__{n}"): "failed" for n in (1, 2, 3)})
    watch_runs(deployment, scheduler)
    batches = []
    for recipe in ("r1", "r2"):
        asked = ledger.request_retrain(MODEL, "2013-02-01", "r", "person", "analyst", recipe)
        batches.append(asked.batch_id)
        if recipe == "r1":
            give_up(deployment, Due(MODEL, dag, "train__x", {"batch": asked.batch_id}))
    settle_given_up(deployment, list, ())
    watch_runs(deployment, scheduler)
    levels = [alert.level for alert in ledger.open_alerts()]
    assert levels == ["note"] * 3 + ["warn"], "its batch is closed, and nothing trained"
    ledger.start_batch(batches[1], "run", MODEL)
    ledger.finish_batch(batches[1], "done", 1)
    settle_given_up(deployment, list, ())
    watch_runs(deployment, scheduler)
    assert ledger.open_alerts() == []


def test_a_training_that_a_run_of_another_name_has_done_settles_its_attempt(deployment):
    """A person started one with the same batch: there is no next attempt, and nothing was given up."""
    ledger, dag = deployment.ledger, f"{MODEL}.train_evaluate"
    batch = ledger.request_retrain(MODEL, "2013-02-01", "r", "person", "analyst", "recipe").batch_id
    scheduler = Scheduler({(dag, f"train__2013-02-01__{batch}__1"): "failed", (dag, "manual__1"): "success"})
    ledger.start_batch(batch, "manual__1", MODEL)
    assert watch_runs(deployment, scheduler)["settled"] == []
    ledger.finish_batch(batch, "done", 1)
    assert watch_runs(deployment, scheduler)["settled"] == [f"run/{dag}/train__2013-02-01__{batch}__1"]


class TaskOfASweep:
    """What the task that sends alerts asks its own task instance; with `broken` the scheduler can't be asked."""

    dag_id, broken = "ratchet.dispatch", False

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    def get_task_states(self, dag_id, run_ids=None):
        return {run_id: {"list_due": "success", "send_alerts": "running"} for run_id in run_ids}

    def get_dr_count(self, dag_id, run_ids=None, states=None):
        if self.broken:
            raise ConnectionError("no answer")
        return 0


def test_a_sweep_whose_sending_itself_fails_three_times_is_a_page(deployment, as_environment):
    as_environment(deployment)
    send, dag, levels = SendAlertsOperator(task_id="send_alerts"), DAG("ratchet.dispatch", schedule=None), []
    for n in range(3):
        task = TaskOfASweep(f"scheduled__{n}")
        task.broken = True
        with pytest.raises(ConnectionError):
            send.execute({"ti": task})
        FailedRunNotifier()({"dag": dag, "run_id": task.run_id})
        (alert,) = deployment.ledger.open_alerts()
        levels.append(alert.level)
    assert (levels, alert.key, alert.times) == (["note", "note", "page"], "loop/dispatch", 3)
    send.execute({"ti": TaskOfASweep("scheduled__3")})
    assert deployment.ledger.open_alerts() == []


def test_what_a_champion_is_like_hides_no_run(deployment, as_environment):
    as_environment(deployment)
    deployment.ledger.note("day_held", f"models/{MODEL}/held_days", {"without": "a day"}, "ratchet")
    raise_failed_run(deployment, FailedRun(INGEST, "manual__1"))
    with pytest.raises(KeyError):
        SendAlertsOperator(task_id="send_alerts").execute({"ti": TaskOfASweep("scheduled__1")})
    assert deployment.ledger.open_alerts() == [], "Airflow has no such run any more"


def test_a_sweep_that_fails_is_a_note_and_three_in_a_row_a_page(deployment):
    told = [note_sweep(deployment, f"scheduled__{n}").level for n in (1, 1, 2, 2, 3, 3)]  # by task and callback
    assert told == ["note"] * 4 + ["page"] * 2
    assert note_sweep(deployment, None).settled_at and deployment.ledger.open_alerts() == []


def test_an_mlflow_that_is_away_gets_louder_with_time(deployment, monkeypatch):
    from ratchet.workflow import loop_alerts

    clock = type("Clock", (), {"now": staticmethod(lambda zone: later)})
    monkeypatch.setattr(loop_alerts, "datetime", clock)
    began = datetime.now(UTC)
    for minutes, level in ((0, "note"), (9, "note"), (11, "warn"), (61, "page")):
        later = began.fromtimestamp(began.timestamp() + 60 * minutes + 5, UTC)
        alert = note_mlflow(deployment, {MODEL})
        assert (alert.level, alert.facts["models"]) == (level, [MODEL])
    assert note_mlflow(deployment, set()).settled_at and note_mlflow(deployment, set()) is None


def test_a_ledger_that_does_not_verify_is_a_page(deployment):
    from ledger_story import tamper

    deployment.ledger.request_retrain(MODEL, "2013-02-01", "r", "person", "analyst", "recipe")
    assert verify_ledger(deployment)["ok"] and deployment.ledger.open_alerts() == []
    tamper(deployment.ledger, "UPDATE ledger_requests SET actor = 'nobody'")
    assert not verify_ledger(deployment)["ok"]
    (alert,) = deployment.ledger.open_alerts()
    assert (alert.level, alert.key) == ("page", "loop/ledger") and "actor" in alert.facts["found"]


def test_refused_drops_are_one_warning_until_every_day_is_published(deployment):
    ledger, days, frame = deployment.ledger, ["2013-01-01", "2013-01-02"], pd.DataFrame({"carrier": ["AA"]})
    for day in days:
        deployment.drops.write("flights", day, frame, datetime(2013, 1, 4, tzinfo=UTC), "an airport")
    assert note_refused(deployment, "flights") is None
    drops = {day: deployment.drops.find("flights", day) for day in days}
    for day, drop in drops.items():
        ledger.record_refusal("flights", day, drop.delivery, "r", ["100 rows <b>"])
    alert = note_refused(deployment, "flights")
    assert (alert.level, alert.key, alert.facts["days"]) == ("warn", "data/flights", days)
    for day, left in zip(days, (1, 0), strict=True):
        drop = drops[day]
        ledger.record_partition("flights", day, "d", drop.sha256, "r", 1, 9, 0, drop.delivered_at)
        note_refused(deployment, "flights")
        assert len(ledger.open_alerts("flights")) == left
