"""What is due is read from the ledger alone: nothing is lost, nothing is started twice, and what can't work ends."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from small_loop import FIRST_AS_OF, MODEL, SMALL, answer, ask, deployment_in, make_home, promote, train

from ratchet.digests import frame_digest
from ratchet.upstream import land_flights
from ratchet.workflow.dispatch import ATTEMPTS, Due, give_up, list_due, runs_to_start
from ratchet.workflow.failed_runs import FailedRun
from ratchet.workflow.ingestion import ingest_partitions
from ratchet.workflow.promotion import judge_challenger
from ratchet.workflow.scoring import due_days, inputs_digests, score_partitions
from ratchet.workflow.training import request_retrain


def is_known_as_an_attempt(due: Due) -> bool:
    """By whoever finds the run failed."""
    return [FailedRun(due.dag_id, due.run_id(n)).attempt for n in (1, 3)] == [1, 3]


def due_of(deployment, kind: str) -> list[Due]:
    return [due for due in list_due(deployment) if due.dag_id == f"{MODEL}.{kind}"]


def request(deployment, as_of: str = FIRST_AS_OF) -> str:
    return request_retrain(deployment, MODEL, reason="r", source="api", actor="system", as_of=as_of)["batch"]


def restate(deployment, dataset: str, day: str) -> None:
    """The day again with one value changed, as a corrected drop leaves it in lake and ledger."""
    rows = deployment.lake.read(f"datasets/{dataset}", day, day)
    rows.loc[rows.index[0], "temp"] += 1
    version = deployment.lake.publish(f"datasets/{dataset}", day, rows, {})
    known = deployment.ledger.partition(dataset, day)
    deployment.ledger.record_partition(
        dataset, day, frame_digest(rows), "0" * 64, known.recipe, version, len(rows), 0, known.delivered_at
    )


def test_a_request_is_due_until_its_training_is_done(copy_of, taken_in):
    deployment = copy_of(taken_in)
    assert list_due(deployment) == []
    batch = request(deployment)
    (due,) = list_due(deployment)
    assert (due.dag_id, due.conf) == (f"{MODEL}.train_evaluate", {"batch": batch})
    assert list_due(deployment) == [due] and is_known_as_an_attempt(due)
    deployment.ledger.start_batch(batch, due.run_id(1), MODEL)
    assert list_due(deployment) == [replace(due, held_by=due.run_id(1))], "its run may have died"
    assert train(deployment, FIRST_AS_OF)["version"] == 1
    assert due_of(deployment, "train_evaluate") == []


def test_a_training_given_up_is_out_of_the_way(copy_of, taken_in):
    deployment = copy_of(taken_in)
    batch = request(deployment)
    (due,) = list_due(deployment)
    give_up(deployment, due)
    assert list_due(deployment) == []
    again = request(deployment)
    assert again != batch and [due.conf["batch"] for due in list_due(deployment)] == [again]


def test_a_challenger_is_due_until_something_final_is_said(copy_of, trained):
    deployment = copy_of(trained)
    (due,) = list_due(deployment)
    assert (due.dag_id, due.conf) == (f"{MODEL}.promote", {"version": 1}) and is_known_as_an_attempt(due)
    judge_challenger(deployment, MODEL, 1)
    ask(deployment, 1)
    assert list_due(deployment) == [due]
    assert runs_to_start(lambda: [due], lambda dag, run: "active") == ([], []), "awaiting approval is not started twice"
    answer(deployment, 1, "approver", "Reject")
    assert list_due(deployment) == []


def test_a_promotion_makes_scoring_due_and_scoring_ends_it(copy_of, trained):
    deployment = copy_of(trained)
    promote(deployment, 1)
    (due,) = list_due(deployment)
    assert due.dag_id == f"{MODEL}.score" and is_known_as_an_attempt(due)
    assert (due.conf["days"][0], due.conf["days"][-1]) == (FIRST_AS_OF, "2013-01-30")
    score_partitions(deployment, MODEL, due.conf["days"][:3])
    (rest,) = list_due(deployment)
    assert rest.conf["days"] == due.conf["days"][3:] and rest.key != due.key
    score_partitions(deployment, MODEL, due.conf["days"])
    assert list_due(deployment) == []


def test_a_held_challenger_is_judged_again_when_a_week_more_has_outcomes(copy_of, reigning):
    """Too few days for a comparison, today and a minute later; a week later the question is another."""
    root = copy_of(reigning).settings.home.parent
    make_home(root / "home", **{**SMALL, "promote_if": {**SMALL["promote_if"], "min_days_comparison": 28}})
    deployment = deployment_in(root)
    version = train(deployment, "2013-01-28")["version"]
    (first,) = due_of(deployment, "promote")
    assert first.conf == {"version": version}
    assert judge_challenger(deployment, MODEL, version)["verdict"] == "HOLD"
    assert due_of(deployment, "promote") == []
    for days, due in (("2013-02-05", False), ("2013-02-06", True)):
        land_flights(deployment.drops, "2013-01-31", days)
        for dataset in ("flights", "weather", "outcomes"):
            ingest_partitions(deployment, dataset)
        assert bool(due_of(deployment, "promote")) is due
    (again,) = due_of(deployment, "promote")
    assert again.conf == first.conf and again.key != first.key
    assert judge_challenger(deployment, MODEL, version)["window"][1] == "2013-02-06"
    assert due_of(deployment, "promote") == []


def test_restated_weather_makes_its_day_and_the_next_due_under_a_new_run(copy_of, reigning):
    deployment = copy_of(reigning)
    spec, days = deployment.model(MODEL), ["2013-01-19", "2013-01-20", "2013-01-21", "2013-01-22"]
    before = inputs_digests(deployment, spec, days)
    run_ids = set()
    for _ in range(2):  # a second correction of the same day must not hide behind the run of the first
        restate(deployment, "weather", "2013-01-20")
        now = inputs_digests(deployment, spec, days)
        assert {day for day in days if now[day] != before[day]} == {"2013-01-20", "2013-01-21"}
        (due,) = list_due(deployment)
        assert due.conf == {"days": ["2013-01-20", "2013-01-21"]}
        run_ids.add(due.run_id(1))
        assert score_partitions(deployment, MODEL, due.conf["days"])["scored"] == due.conf["days"]
        assert list_due(deployment) == []
    assert len(run_ids) == 2


def test_a_day_waits_for_its_weather_but_not_for_ever(copy_of, reigning):
    deployment = copy_of(reigning)
    spec, ledger = deployment.model(MODEL), deployment.ledger
    known = ledger.partition("flights", "2013-01-30")
    for number, day in enumerate(["2013-01-31", "2013-02-01", "2013-02-02"]):
        ledger.record_partition("flights", day, str(number) * 64, "0" * 64, "r", 1, 10, 0, known.delivered_at)
        expected = ["2013-01-31"] if day == "2013-02-02" else []
        assert due_days(deployment, spec) == expected


def test_the_days_that_one_champion_scored_are_not_due_for_the_next(copy_of, succeeded):
    deployment = copy_of(succeeded)
    assert deployment.ledger.champion(MODEL).version == 2
    assert {day.version for day in deployment.ledger.scored_days(MODEL).values()} == {1}
    assert due_of(deployment, "score") == []


@given(states=st.lists(st.sampled_from(["failed", "success", "active", "none"]), min_size=ATTEMPTS, max_size=ATTEMPTS))
def test_attempts_follow_one_another_only_when_the_last_is_over(states):
    """A run that ended well and left its item due has done nothing: somebody marked it so."""
    due = Due("a", "a.train_evaluate", "train__x", {"batch": "b"})
    run_ids = [due.run_id(attempt) for attempt in range(1, ATTEMPTS + 1)]
    asked = []

    def state_of(dag_id, run_id):
        asked.append(run_id)
        return states[run_ids.index(run_id)]

    start, given_up = runs_to_start(lambda: [due], state_of)
    over = next((n for n, state in enumerate(states) if state in ("active", "none")), ATTEMPTS)
    assert given_up == ([due] if over == ATTEMPTS else [])
    wanted = over < ATTEMPTS and states[over] == "none"
    assert [run["trigger_run_id"] for run in start] == ([run_ids[over]] if wanted else [])
    assert all(run["trigger_dag_id"] == due.dag_id and run["conf"] == due.conf for run in start)
    assert asked == run_ids[: over + 1]


def test_one_that_is_given_up_does_not_hold_up_the_others():
    bad, good = Due("a", "a.score", "bad", {}), Due("b", "b.score", "good", {})
    start, given_up = runs_to_start(lambda: [bad, good], lambda dag, run: "failed" if run.startswith("bad") else "none")
    assert given_up == [bad] and [run["trigger_run_id"] for run in start] == [good.run_id(1)]


def test_what_was_done_while_the_states_were_read_is_not_started_again():
    """The run ended, and the ledger said so, between the two looks: neither a second run nor a failed attempt."""
    due = Due("a", "a.score", "key", {})
    looks = iter([[due], []])
    assert runs_to_start(lambda: next(looks), lambda dag, run: "success") == ([], [])


def test_work_that_a_run_of_another_name_does_is_not_started_beside_it():
    by_hand = Due("a", "a.train_evaluate", "train__x", {"batch": "b"}, held_by="manual__1")
    any_run = Due("a", "a.score", "score__x", {}, held_by="*")
    busy = {"manual__1": "active", "*": "active"}
    assert runs_to_start(lambda: [by_hand, any_run], lambda dag, run: busy.get(run, "none")) == ([], [])
    start, _ = runs_to_start(lambda: [by_hand, any_run], lambda dag, run: "none")
    assert [run["trigger_run_id"] for run in start] == [by_hand.run_id(1), any_run.run_id(1)]
