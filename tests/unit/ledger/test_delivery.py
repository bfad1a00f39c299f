"""The delivery figures are counted from the ledger's own record."""

from __future__ import annotations

from datetime import timedelta

import pytest
from ledger_story import MODEL

from ratchet.delivery import delivery


def hours(first, then) -> float:
    return round((then - first) / timedelta(hours=1), 3)


def test_before_anything_has_happened_there_are_no_figures(ledger):
    figures = delivery(ledger, MODEL)
    assert (figures.promotions, figures.rollbacks, figures.promotions_per_month) == (0, 0, {})
    assert figures.failed_share is figures.data_to_production is figures.time_to_roll_back is None


def test_promotions_and_rollbacks_are_counted_and_timed(story):
    story.two_champions()
    story.approved(3)
    story.now += timedelta(days=40)
    third = story.promote(3, 2)
    back = story.rollback(None, 3)
    figures = delivery(story.ledger, MODEL)
    assert (figures.promotions, figures.rollbacks, figures.broken_glass) == (3, 1, 0)
    months = [f"{move.moved_at:%Y-%m}" for move in story.ledger.champion_history(MODEL) if move.how == "promotion"]
    assert figures.promotions_per_month == {month: months.count(month) for month in set(months)}
    assert len(set(months)) == 2
    assert figures.failed_share == pytest.approx(1 / 3)
    assert figures.time_to_roll_back == hours(third.moved_at, back.moved_at)


def test_a_failed_first_scoring_is_a_failed_promotion_once(story):
    story.two_champions()
    story.ledger.record_first_scoring(MODEL, 2, False, {"why": ["all the same"]})
    story.rollback(None, 2)
    assert delivery(story.ledger, MODEL).failed_share == 0.5


def test_broken_glass_is_counted_apart_and_with_the_promotions(story):
    story.register(1)
    glass = story.ledger.break_glass(MODEL, 1, actor="analyst", reason="an emergency", run_id="run-g")
    story.ask(1, glass.digest, "run-g")
    story.answer(1, run="run-g")
    story.promote(1, 0, glass_digest=glass.digest)
    figures = delivery(story.ledger, MODEL)
    assert (figures.promotions, figures.broken_glass) == (1, 1)


@pytest.mark.parametrize("source", ["drift", "performance"])
def test_the_way_from_data_and_from_drift_to_production(story, source):
    ledger = story.ledger
    published = ledger.record_partition("flights", "2013-03-01", "d" * 64, "a" * 64, "r", 1, 9, 0, story.now)
    asked = ledger.request_retrain(MODEL, "2013-04-01", "it moved", source, "check_drift", "recipe")
    request = ledger.request(asked.id)
    ledger.record_snapshot(MODEL, "s" * 64, "2013-04-01", {"flights": {"2013-03-01": [1, "d" * 64, "a" * 64]}})
    story.register(1, batch_id=asked.batch_id)
    story.ask(1, story.judge(1).digest)
    story.answer(1)
    champion = story.promote(1, 0)
    figures = delivery(ledger, MODEL)
    assert figures.data_to_production == hours(published.recorded_at, champion.moved_at)
    assert figures.drift_to_promotion == hours(request.requested_at, champion.moved_at)
