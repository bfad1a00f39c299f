import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ratchet.days import shift_day
from ratchet.errors import ParameterError
from ratchet.gate import judge
from ratchet.specs import ModelSpec, load_model_specs

SPEC = load_model_specs(Path(__file__).parents[2] / "include" / "models").good["flight_delay"]


def facts(version=2, as_of="2013-07-01", train="2013-04-30", validate="2013-05-31", judged="2013-06-30"):
    windows = {
        "train": ["2013-01-01", train],
        "validate": [shift_day(train, 1), validate],
        "judge": [shift_day(validate, 1), judged],
    }
    return {"version": version, "as_of": as_of, "windows": windows}


CHALLENGER = facts()
CHAMPION = facts(1, "2013-04-01", "2013-02-28", "2013-03-14", "2013-03-31")


def judged_rows(challenger=2.0, champion=0.5, days=30, rows=100, seed=0, first="2013-06-01", day_noise=0.2):
    """Rows of `days` days; a score is worth its factor (0: nothing) and errs by day as well as by row."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    truth = rng.normal(size=days * rows) + 0.5 * rng.normal(size=days)[day]

    def score(worth):
        return 1 / (1 + np.exp(-(worth * truth + rng.normal(size=len(day)) + day_noise * rng.normal(size=days)[day])))

    return pd.DataFrame(
        {
            "day": [shift_day(first, int(d)) for d in day],
            "label": (truth + rng.normal(size=len(day)) > 0.6).astype(int),
            "challenger_score": score(challenger),
            "champion_score": score(champion),
        }
    )


def with_rule(**rule) -> ModelSpec:
    return SPEC.model_copy(update={"promote_if": SPEC.promote_if.model_copy(update=rule)})


def check(verdict, name):
    return next(c for c in verdict.checks if c["name"] == name)


def failed(verdict):
    return [c["name"] for c in verdict.checks if not c["passed"]]


def test_a_better_challenger_is_promoted():
    verdict = judge(SPEC, CHALLENGER, CHAMPION, judged_rows())
    assert verdict.verdict == "PROMOTE" and verdict.reasons == []
    assert [c["name"] for c in verdict.checks] == [
        "not_the_champion",
        "not_superseded",
        "enough_days",
        "both_classes",
        "challenger_unseen",
        "champion_unseen",
        "challenger_scores_usable",
        "champion_scores_usable",
        "minimum_quality",
        "better_than_champion",
    ]
    better = check(verdict, "better_than_champion")
    assert better["interval"][0] > 0 and better["interval"][0] < better["value"] < better["interval"][1]


def test_a_good_first_model_is_promoted_without_a_comparison():
    rows = judged_rows(days=17).drop(columns="champion_score")
    verdict = judge(SPEC, CHALLENGER, None, rows)
    assert verdict.verdict == "PROMOTE"
    assert "better_than_champion" not in [c["name"] for c in verdict.checks]


def test_a_first_model_may_come_with_an_empty_champion_column():
    assert judge(SPEC, CHALLENGER, None, judged_rows(days=17).assign(champion_score=None)).verdict == "PROMOTE"


@pytest.mark.parametrize(("days", "verdict"), [(13, "HOLD"), (14, "PROMOTE")])
def test_hold_when_a_first_model_has_too_few_days(days, verdict):
    seen = judge(SPEC, CHALLENGER, None, judged_rows(days=days))
    assert seen.verdict == verdict
    if verdict == "HOLD":
        assert seen.reasons == ["13 days with labels; a first model needs 14"]


@pytest.mark.parametrize(("days", "verdict"), [(27, "HOLD"), (28, "PROMOTE")])
def test_hold_when_a_comparison_has_too_few_days(days, verdict):
    seen = judge(SPEC, CHALLENGER, CHAMPION, judged_rows(days=days))
    assert seen.verdict == verdict
    if verdict == "HOLD":
        assert seen.reasons == ["27 days with labels; a comparison with the champion needs 28"]


@pytest.mark.parametrize("window", ["train", "validate", "judge"])
def test_hold_when_the_champion_has_seen_the_days(window):
    windows = {**CHAMPION["windows"], window: ["2013-05-20", "2013-06-01"]}
    verdict = judge(SPEC, CHALLENGER, {**CHAMPION, "windows": windows}, judged_rows())
    assert verdict.verdict == "HOLD" and failed(verdict) == ["champion_unseen"]
    assert "2013-06-01" in verdict.reasons[0]


@pytest.mark.parametrize("window", ["train", "validate"])
def test_hold_when_the_challenger_has_seen_the_days(window):
    windows = {**CHALLENGER["windows"], window: ["2013-05-20", "2013-06-01"]}
    verdict = judge(SPEC, {**CHALLENGER, "windows": windows}, CHAMPION, judged_rows())
    assert verdict.verdict == "HOLD" and failed(verdict) == ["challenger_unseen"]


def test_hold_when_the_challenger_is_the_champion():
    verdict = judge(SPEC, CHALLENGER, CHALLENGER, judged_rows())
    assert verdict.verdict == "HOLD" and "champion already" in verdict.reasons[0]


@pytest.mark.parametrize("as_of", ["2013-04-01", "2013-03-31", "2012-12-31"])
def test_c5_a_challenger_trained_on_older_data_is_superseded(as_of):
    verdict = judge(SPEC, {**CHALLENGER, "as_of": as_of}, CHAMPION, judged_rows())
    assert verdict.verdict == "REJECT" and any("superseded" in reason for reason in verdict.reasons)


def test_c5_superseded_stands_even_where_the_evidence_is_short():
    verdict = judge(SPEC, {**CHALLENGER, "as_of": "2013-03-01"}, CHAMPION, judged_rows(days=3))
    assert verdict.verdict == "REJECT"


def test_a_higher_version_number_does_not_help_older_data():
    verdict = judge(SPEC, {**CHALLENGER, "version": 99, "as_of": "2013-03-01"}, CHAMPION, judged_rows())
    assert verdict.verdict == "REJECT"


def test_reject_below_the_minimum():
    verdict = judge(SPEC, CHALLENGER, None, judged_rows(challenger=0.0))
    assert verdict.verdict == "REJECT" and failed(verdict) == ["minimum_quality"]


def test_reject_above_the_minimum_only_by_luck():
    """The value reaches the minimum, its lower bound does not."""
    rows = judged_rows()
    value = check(judge(SPEC, CHALLENGER, None, rows), "minimum_quality")["value"]
    verdict = judge(with_rule(minimum=value - 0.001), CHALLENGER, None, rows)
    assert verdict.verdict == "REJECT" and "does not surely reach" in verdict.reasons[0]


def test_reject_when_worse_than_the_champion():
    verdict = judge(SPEC, CHALLENGER, CHAMPION, judged_rows(challenger=1.0, champion=3.0))
    assert verdict.verdict == "REJECT" and failed(verdict) == ["better_than_champion"]


def test_reject_when_exactly_as_good_as_the_champion():
    rows = judged_rows().assign(champion_score=lambda f: f["challenger_score"])
    verdict = judge(SPEC, CHALLENGER, CHAMPION, rows)
    assert verdict.verdict == "REJECT" and check(verdict, "better_than_champion")["value"] == 0


def test_reject_when_better_but_by_less_than_is_worth_a_promotion():
    rows = judged_rows()
    low = check(judge(SPEC, CHALLENGER, CHAMPION, rows), "better_than_champion")["interval"][0]
    assert judge(with_rule(better_by=low - 0.001), CHALLENGER, CHAMPION, rows).verdict == "PROMOTE"
    assert judge(with_rule(better_by=low + 0.001), CHALLENGER, CHAMPION, rows).verdict == "REJECT"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.5])
def test_reject_a_challenger_whose_scores_are_no_probabilities(bad):
    rows = judged_rows()
    rows.loc[7, "challenger_score"] = bad
    verdict = judge(SPEC, CHALLENGER, CHAMPION, rows)
    assert verdict.verdict == "REJECT" and failed(verdict) == ["challenger_scores_usable"]


def test_hold_when_the_champions_scores_can_not_be_compared_with():
    rows = judged_rows()
    rows.loc[7, "champion_score"] = np.nan
    verdict = judge(SPEC, CHALLENGER, CHAMPION, rows)
    assert verdict.verdict == "HOLD" and failed(verdict) == ["champion_scores_usable"]


@pytest.mark.parametrize("label", [0, 1])
def test_hold_when_nothing_or_everything_happened(label):
    verdict = judge(SPEC, CHALLENGER, CHAMPION, judged_rows().assign(label=label))
    assert verdict.verdict == "HOLD" and failed(verdict) == ["both_classes"]


@pytest.mark.parametrize("champion", [None, CHAMPION])
def test_hold_without_any_row(champion):
    verdict = judge(SPEC, CHALLENGER, champion, judged_rows().iloc[:0])
    assert verdict.verdict == "HOLD" and set(failed(verdict)) == {"enough_days", "both_classes"}


def test_too_few_days_outweigh_poor_quality():
    verdict = judge(SPEC, CHALLENGER, CHAMPION, judged_rows(challenger=0.0, days=5))
    assert verdict.verdict == "HOLD" and {"enough_days", "minimum_quality"} <= set(failed(verdict))


def test_no_single_failed_check_leaves_a_promote():
    """Whatever fails, the verdict is never PROMOTE, and PROMOTE means that all passed."""
    frames = [judged_rows(), judged_rows(0.0), judged_rows(days=5), judged_rows().iloc[:0], judged_rows(1.0, 3.0)]
    challengers = [CHALLENGER, {**CHALLENGER, "as_of": "2013-01-01"}, facts(train="2013-06-03", validate="2013-06-10")]
    for frame in frames:
        for challenger in challengers:
            for champion in (None, CHAMPION, CHALLENGER):
                verdict = judge(SPEC, challenger, champion, frame)
                assert (verdict.verdict == "PROMOTE") == (failed(verdict) == [])


def test_a_gate_that_can_not_see_does_not_open():
    rows = judged_rows()
    for column in rows.columns:
        with pytest.raises(ParameterError, match=column):
            judge(SPEC, CHALLENGER, CHAMPION, rows.drop(columns=column))
    for fact in ("version", "as_of", "windows"):
        lacking = {k: v for k, v in CHAMPION.items() if k != fact}
        with pytest.raises(ParameterError, match="champion"):
            judge(SPEC, CHALLENGER, lacking, rows)
    blind = {**CHAMPION, "windows": {"train": CHAMPION["windows"]["train"]}}
    with pytest.raises(ParameterError, match="windows of the champion"):
        judge(SPEC, CHALLENGER, blind, rows)
    with pytest.raises(ParameterError, match="labels"):
        judge(SPEC, CHALLENGER, CHAMPION, rows.assign(label=2))


def test_judging_again_gives_the_same_verdict_and_digest_and_leaves_the_rows_alone():
    rows = judged_rows()
    before = rows.copy()
    one, two = (
        judge(SPEC, CHALLENGER, CHAMPION, rows),
        judge(SPEC, CHALLENGER, CHAMPION, rows.sample(frac=1, random_state=1)),
    )
    assert one == two and one.digest == two.digest
    pd.testing.assert_frame_equal(rows, before)
    assert json.loads(json.dumps(one.as_dict(), allow_nan=False)) == one.as_dict()


def test_the_digest_names_whom_it_is_about():
    rows = judged_rows()
    digests = {
        judge(SPEC, CHALLENGER, CHAMPION, rows).digest,
        judge(SPEC, {**CHALLENGER, "version": 3}, CHAMPION, rows).digest,
        judge(SPEC, CHALLENGER, {**CHAMPION, "as_of": "2013-04-02"}, rows).digest,
        judge(SPEC, CHALLENGER, CHAMPION, judged_rows(seed=1)).digest,
    }
    assert len(digests) == 4


def test_equal_models_are_seldom_promoted_though_rows_of_a_day_err_together():
    """Two models of one true quality, each wrong in its own way on each day, for 120 nights: about the 2.5 % asked
    for. A test that took rows for independent would promote a fifth of them."""
    quick = with_rule(resamples=200)
    nights = [judged_rows(1.0, 1.0, days=28, rows=150, seed=seed, day_noise=1.5) for seed in range(120)]
    promoted = sum(judge(quick, CHALLENGER, CHAMPION, rows).verdict == "PROMOTE" for rows in nights)
    by_row = [rows.assign(day=[shift_day("2013-06-01", n % 100) for n in range(len(rows))]) for rows in nights[:40]]
    fooled = sum(judge(quick, CHALLENGER, CHAMPION, rows).verdict == "PROMOTE" for rows in by_row)
    assert promoted <= 8 and fooled >= 5


def test_a_truly_better_model_is_promoted_as_a_rule():
    quick = with_rule(resamples=200)
    promoted = sum(
        judge(quick, CHALLENGER, CHAMPION, judged_rows(1.5, 0.8, days=28, rows=40, seed=s, day_noise=0.3)).verdict
        == "PROMOTE"
        for s in range(20)
    )
    assert promoted >= 16
