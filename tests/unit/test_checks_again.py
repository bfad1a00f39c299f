"""A drift check stands on days as the ledger has them. What is restated, or comes late, has the newest check made
again, and no other; the one before stays on record."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from small_loop import MODEL, SECOND_AS_OF, SMALL, WEAK, deployment_in, make_home, redeliver

from ratchet.upstream import land_flights
from ratchet.workflow.check_basis import changed_days, read_basis
from ratchet.workflow.dispatch import Due, list_due
from ratchet.workflow.erasure import forget_person
from ratchet.workflow.ingestion import ingest_partitions
from ratchet.workflow.monitoring import check_drift
from ratchet.workflow.scoring import due_days, score_partitions

DAY, FOLLOWING = "2013-01-20", "2013-01-21"


@pytest.fixture(scope="module")
def checked(tmp_path_factory, reigning) -> Path:
    """The champion's two weeks, checked as of the newest data."""
    root = Path(shutil.copytree(reigning, tmp_path_factory.mktemp("checked") / "world"))
    make_home(root / "home", **SMALL, candidates=WEAK)
    assert check_drift(deployment_in(root), MODEL)["status"] == "checked"
    return root


def due(deployment, kind: str) -> list[Due]:
    return [one for one in list_due(deployment) if one.dag_id == f"{MODEL}.{kind}"]


def score(deployment) -> list[str]:
    return score_partitions(deployment, MODEL, due_days(deployment, deployment.model(MODEL)))["scored"]


def warmer(by: float):
    return lambda frame: frame.assign(temp=frame["temp"] + by)


def all_late(frame):
    return frame.assign(arr_delay=frame["arr_delay"].where(frame["arr_delay"].isna(), 99.0))


def without_a_third(frame):
    return frame.assign(tailnum=frame["tailnum"].where(frame.index % 3 > 0))


def test_d3_a_restated_day_has_the_newest_check_made_again_once_it_is_scored(copy_of, checked):
    deployment = copy_of(checked)
    before, run_ids = deployment.ledger.checks(MODEL), set()
    for by, later in ((1, 5), (-1, 3)):  # a correction, and the correction of that
        assert due(deployment, "check_drift") == []
        redeliver(deployment, "weather", DAY, warmer(by), timedelta(days=later))
        ingest_partitions(deployment, "weather")
        assert due(deployment, "score") and due(deployment, "check_drift") == []
        score_partitions(deployment, MODEL, [DAY])
        assert due(deployment, "check_drift") == [], "it waits for all of its days"
        assert score(deployment) == [FOLLOWING]
        (again,) = due(deployment, "check_drift")
        assert again.conf == {"as_of": SECOND_AS_OF}
        run_ids.add(again.run_id(1))
        result = check_drift(deployment, MODEL, **again.conf)
        newest = deployment.ledger.newest_check(MODEL, 1)
        assert (result["status"], result["replaces"]) == ("checked", before[-1].key)
        days = before[-1].result["days"]
        assert [day for day in days if newest.result["days"][day] != days[day]] == [DAY, FOLLOWING]
        assert check_drift(deployment, MODEL)["status"] == "unchanged"
        before = [*before, newest]
        assert deployment.ledger.checks(MODEL) == before
    assert len(run_ids) == 2
    table = deployment.lake.read(f"drift/{MODEL}")
    assert set(table["key"]) == {one.key for one in before}
    assert set(table[~table["key"].isin(table["replaces"].dropna())]["key"]) == {before[-1].key}


def test_d4_an_outcome_that_comes_late_has_its_check_made_again_and_new_days_do_not(copy_of, checked):
    deployment = copy_of(checked)
    late, last = "2013-01-31", "2013-02-01"
    land_flights(deployment.drops, late, last)
    (landed,) = (deployment.settings.var / "landing").glob(f"**/outcomes/**/{late}")
    shutil.move(landed, deployment.settings.var / "held back")
    for dataset in deployment.datasets.good:
        ingest_partitions(deployment, dataset)
    assert due(deployment, "check_drift") == []
    assert score(deployment) == [late, last]
    assert due(deployment, "check_drift") == [], "days after those of the check are for the next one"
    first = check_drift(deployment, MODEL)
    assert first["as_of"] == "2013-02-02" and due(deployment, "check_drift") == []

    shutil.move(deployment.settings.var / "held back", landed)
    ingest_partitions(deployment, "outcomes")
    (again,) = due(deployment, "check_drift")
    second = check_drift(deployment, MODEL, **again.conf)
    assert second["as_of"] == first["as_of"]
    assert second["performance"]["rows"] != first["performance"]["rows"]
    assert due(deployment, "check_drift") == []
    untouched, before, after = deployment.ledger.checks(MODEL)
    assert [day for day, digest in after.result["days"].items() if digest != before.result["days"][day]] == [late]
    assert (untouched.as_of, untouched.result["replaces"]) == (SECOND_AS_OF, None)
    (only,) = (one for one in deployment.ledger.checks(MODEL) if one.as_of == SECOND_AS_OF)
    assert only == untouched, "the check of an earlier day stays as it is"


def test_d3_corrected_outcomes_make_the_check_again(copy_of, checked):
    deployment = copy_of(checked)
    redeliver(deployment, "outcomes", DAY, all_late, timedelta(days=5))
    ingest_partitions(deployment, "outcomes")
    (again,) = due(deployment, "check_drift")
    (before,) = deployment.ledger.checks(MODEL)
    result = check_drift(deployment, MODEL, **again.conf)
    assert (result["status"], result["replaces"]) == ("checked", before.key)
    assert result["performance"] != before.result["performance"]
    assert due(deployment, "check_drift") == []


def test_c6_an_outcome_corrected_after_its_day_leaves_the_check_as_it_was(copy_of, checked):
    """As of 31 January nobody knew of a correction that was delivered in February."""
    deployment = copy_of(checked)
    redeliver(deployment, "outcomes", DAY, all_late, timedelta(days=30))
    assert ingest_partitions(deployment, "outcomes")["published"] == [DAY]
    assert due(deployment, "check_drift") == []
    assert check_drift(deployment, MODEL, SECOND_AS_OF)["status"] == "unchanged"
    assert len(deployment.ledger.checks(MODEL)) == 1


def test_other_settings_make_a_check_again_when_asked_but_are_no_reason_to_start_it(copy_of, checked):
    """And the first settings once more: then the third check stands, though it is like the first."""
    deployment = copy_of(checked)
    for changes in ({"watch": {"outcome_days": 10}}, {}):
        make_home(deployment.settings.home, **SMALL, candidates=WEAK, **changes)
        deployment = type(deployment)(deployment.settings)
        assert due(deployment, "check_drift") == []
        before = deployment.ledger.newest_check(MODEL, 1)
        assert check_drift(deployment, MODEL)["replaces"] == before.key
        assert check_drift(deployment, MODEL)["status"] == "unchanged"
    first, second, third = deployment.ledger.checks(MODEL)
    assert (second.result["window"][0], third.result["findings"]) == ("2013-01-21", first.result["findings"])


def test_what_is_due_is_known_without_the_lake(copy_of, checked):
    deployment = copy_of(checked)
    redeliver(deployment, "outcomes", DAY, all_late, timedelta(days=5))
    ingest_partitions(deployment, "outcomes")
    seen = list_due(deployment)
    (deployment.settings.var / "lake").rename(deployment.settings.var / "elsewhere")
    assert list_due(type(deployment)(deployment.settings)) == seen
    assert [one.dag_id for one in seen].count(f"{MODEL}.check_drift") == 1


def test_k1_a_check_killed_before_its_record_leaves_the_same_rows_when_made_again(copy_of, reigning, checked):
    """The table has its rows, the ledger does not know of them; and then rows of one that will never be recorded."""
    deployment = copy_of(reigning)
    shutil.copytree(checked / "home", deployment.settings.home, dirs_exist_ok=True)
    shutil.copytree(checked / "var" / "lake" / "drift", deployment.settings.var / "lake" / "drift")
    table = deployment.lake.read(f"drift/{MODEL}")
    assert len(table) and deployment.ledger.checks(MODEL) == []
    assert check_drift(deployment, MODEL)["status"] == "checked"
    assert deployment.lake.read(f"drift/{MODEL}").equals(table)
    (check,) = deployment.ledger.checks(MODEL)
    assert set(table["key"]) == {check.key}

    deployment.lake.publish(f"drift/{MODEL}", SECOND_AS_OF, table.assign(key="killed"))
    make_home(deployment.settings.home, **SMALL, candidates=WEAK, watch={"min_rows": 300})
    check_drift(type(deployment)(deployment.settings), MODEL)
    assert "killed" not in set(deployment.lake.read(f"drift/{MODEL}")["key"])


def test_an_erased_reference_is_an_answer_on_record_and_no_check_is_started_for_it(copy_of, checked):
    deployment = copy_of(checked)
    flown = deployment.lake.read("datasets/flights", DAY, DAY)["tailnum"]
    judged = deployment.lake.read("datasets/flights", "2013-01-10", "2013-01-16")["tailnum"]
    plane = flown[flown.isin(judged)].iloc[0]
    forgotten = forget_person(deployment, "flights", {"tailnum": plane}, "asked by letter", "operator")
    assert forgotten["versions"] == {MODEL: [1]} and DAY in forgotten["days"]
    assert DAY in score(deployment)
    (before,) = deployment.ledger.checks(MODEL)
    assert due(deployment, "check_drift") == []
    told = check_drift(deployment, MODEL)
    assert told["status"] == "not enough data" and "erased" in told["explanation"]
    assert (told["replaces"], told["baseline"]) == (before.key, None) and told["performance"]["rows"]
    assert check_drift(deployment, MODEL) == told | {"status": "unchanged"}
    assert len(deployment.ledger.checks(MODEL)) == 2 and due(deployment, "check_drift") == []


def test_data_and_skew_are_told_beside_what_moved(copy_of, checked):
    deployment = copy_of(checked)
    (before,) = deployment.ledger.checks(MODEL)
    history = deployment.lake.read(f"drift/{MODEL}")
    assert {*history["area"]} >= {"data", "skew", "inputs", "predictions", "labels", "performance", "estimate"}
    skew = history[history["area"] == "skew"].set_index("name")["state"]
    assert skew["features"] == skew["scores"] == "usual"
    assert "flights/nulls.tailnum" in {*history.loc[history["area"] == "data", "name"]}

    redeliver(deployment, "flights", DAY, without_a_third, timedelta(days=5))
    ingest_partitions(deployment, "flights")
    score(deployment)
    check_drift(deployment, MODEL)
    changed = read_basis(deployment, deployment.model(MODEL), 1, SECOND_AS_OF)
    assert changed_days(before, changed) == [DAY]
    told = f"hold something else now: {DAY}<"
    assert any(told in page.read_text("utf-8") for page in checked.rglob("drift.html"))  # where the experiment has them
