import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

from ratchet.days import shift_day
from ratchet.errors import ParameterError
from ratchet.gate import Evidence, alpha_left, judge
from ratchet.gate.fairness import opportunity_advantage, parity_advantage
from ratchet.gate.quality import quality_checks
from ratchet.ledger.challengers import MEASURED
from ratchet.specs import ModelSpec, load_model_specs
from ratchet.statistics import Jackknifed, estimate

SHIPPED = load_model_specs(Path(__file__).parents[2] / "include" / "models").good["flight_delay"]
SECONDS = {"challenger": [0.10, 0.11, 0.10, 0.12, 0.10], "champion": [0.10, 0.10, 0.11, 0.10, 0.10]}
HALF = {"challenger": 0.5, "champion": 0.5}


def with_rule(spec=None, **rule) -> ModelSpec:
    spec = spec or SPEC
    return spec.model_copy(update={"promote_if": spec.promote_if.model_copy(update=rule)})


def with_margins(**margins) -> ModelSpec:
    return with_rule(no_worse=SPEC.promote_if.no_worse.model_copy(update=margins))


def with_success(**success) -> ModelSpec:
    problem = SPEC.problem.model_copy(update={"success": SPEC.problem.success.model_copy(update=success)})
    return SPEC.model_copy(update={"problem": problem})


SPEC = SHIPPED.model_copy(
    update={
        "evaluate": SHIPPED.evaluate.model_copy(
            update={"slices": ["site"], "sensitive": ["site"], "min_group_rows": 600}
        ),
        "promote_if": type(SHIPPED.promote_if)(
            alpha=0.025, better_by=0.002, no_worse={"metric": 0.05, "calibration": 0.1, "fairness": 0.25, "latency": 3}
        ),
    }
)


def facts(version=2, as_of="2013-07-01", train="2013-04-30", validate="2013-05-31", judged="2013-06-30"):
    windows = {
        "train": ["2013-01-01", train],
        "validate": [shift_day(train, 1), validate],
        "judge": [shift_day(validate, 1), judged],
    }
    return {"version": version, "as_of": as_of, "windows": windows, "model_digest": f"digest of {version}"}


CHALLENGER = facts()
CHAMPION = facts(1, "2013-04-01", "2013-02-28", "2013-03-14", "2013-03-31")


def judged_rows(challenger=1.5, champion=1.0, days=30, rows=120, seed=0, first="2013-06-01", day_noise=0.2):
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
            "site": np.array(["A", "A", "B", "C"])[np.arange(len(day)) % 4],
        }
    )


def judged(rows=None, spec=None, challenger=CHALLENGER, champion=CHAMPION, **evidence):
    rows = judged_rows() if rows is None else rows
    known = {"batch_seconds": SECONDS, "threshold": HALF, **evidence}
    return judge(spec or SPEC, challenger, champion, Evidence(rows, **known))


def first_judged(rows=None, **known):
    return judged(judged_rows(days=17) if rows is None else rows, champion=None, **known)


def check(verdict, name):
    return next(c for c in verdict.checks if c["name"] == name)


def names(verdict):
    return [c["name"] for c in verdict.checks]


def failed(verdict):
    return [c["name"] for c in verdict.checks if not c["passed"]]


# What passes


def test_a_better_challenger_is_promoted():
    verdict = judged()
    assert (verdict.verdict, verdict.reasons) == ("PROMOTE", [])
    assert names(verdict) == [
        "not_the_champion",
        "not_superseded",
        "enough_days",
        "enough_rows",
        "labels_usable",
        "groups_known",
        "challenger_unseen",
        "champion_unseen",
        "repeated_rows",
        "point_in_time",
        "challenger_scores_usable",
        "champion_scores_usable",
        "success",
        "better_than_champion",
        "plausible",
        "slice.site.A",
        "slice.site.B",
        "slice.site.C",
        "calibration",
        "fairness.site.parity",
        "fairness.site.opportunity",
        "latency",
    ]
    for name in names(verdict)[-7:]:
        low, high = check(verdict, name)["interval"]
        assert low < check(verdict, name)["value"] < high and check(verdict, name)["threshold"] is not None


def test_a_good_first_model_has_no_baseline():
    verdict = first_judged(judged_rows(days=17).drop(columns="champion_score"))
    assert (verdict.verdict, verdict.reasons) == ("NO_BASELINE", [])
    assert "better_than_champion" not in names(verdict) and not any(name.startswith("slice") for name in names(verdict))


def test_a_first_model_may_come_with_an_empty_champion_column():
    assert first_judged(judged_rows(days=17).assign(champion_score=None)).verdict == "NO_BASELINE"


# Standing


def test_hold_when_the_challenger_is_the_champion():
    verdict = judged(challenger=CHAMPION)
    assert verdict.verdict == "HOLD" and "champion already" in verdict.reasons[0]


def test_hold_when_the_challenger_is_the_champions_model_under_another_version():
    verdict = judged(challenger={**CHALLENGER, "model_digest": CHAMPION["model_digest"]})
    assert verdict.verdict == "HOLD" and "the very model" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ({"content": "c", "scores_digest": "s"}, {"content": "c", "scores_digest": "s"}, True),
        ({"content": "c", "scores_digest": "s"}, {"content": "c", "scores_digest": "of other rows"}, True),
        ({"content": "of another Python", "scores_digest": "s"}, {"content": "c", "scores_digest": "s"}, True),
        ({"content": "c", "scores_digest": "s"}, {"content": "d", "scores_digest": "t"}, False),
        ({}, {}, False),
        ({"content": "c", "scores_digest": "s"}, {}, False),
    ],
)
def test_hold_when_the_challenger_is_the_champions_model_saved_again_in_other_bytes(ours, theirs, same):
    verdict = judged(challenger={**CHALLENGER, "proof": ours}, champion={**CHAMPION, "proof": theirs})
    assert (failed(verdict) == ["not_the_champion"]) == same == (verdict.verdict == "HOLD")


@pytest.mark.parametrize("as_of", ["2013-04-01", "2013-03-31", "2012-12-31"])
def test_c5_a_challenger_trained_on_older_data_is_superseded(as_of):
    verdict = judged(challenger={**CHALLENGER, "as_of": as_of})
    assert verdict.verdict == "REJECT" and any("superseded" in reason for reason in verdict.reasons)


def test_c5_superseded_stands_even_where_the_evidence_is_short():
    verdict = judged(judged_rows(days=3), challenger={**CHALLENGER, "as_of": "2013-03-01", "version": 99})
    assert verdict.verdict == "REJECT"


# Evidence


@pytest.mark.parametrize(("days", "verdict"), [(13, "HOLD"), (14, "NO_BASELINE")])
def test_hold_when_a_first_model_has_too_few_days(days, verdict):
    assert first_judged(judged_rows(days=days)).verdict == verdict


@pytest.mark.parametrize(("days", "verdict"), [(27, "HOLD"), (28, "PROMOTE")])
def test_hold_when_a_comparison_has_too_few_days(days, verdict):
    seen = judged(judged_rows(days=days))
    assert seen.verdict == verdict
    if verdict == "HOLD":
        assert seen.reasons == ["27 days with labels; a comparison with the champion needs 28"]


def test_hold_when_there_are_too_few_rows():
    verdict = judged(spec=with_rule(min_rows=3601))
    assert verdict.verdict == "HOLD" and failed(verdict) == ["enough_rows"]
    assert "3,600 rows" in verdict.reasons[0] and "3,601" in verdict.reasons[0]


@pytest.mark.parametrize("window", ["train", "validate"])
@pytest.mark.parametrize("who", ["challenger", "champion"])
def test_hold_when_a_model_has_seen_the_days(who, window):
    known = {"challenger": CHALLENGER, "champion": CHAMPION}
    windows = {**known[who]["windows"], window: ["2013-05-20", "2013-06-01"]}
    verdict = judged(**{who: {**known[who], "windows": windows}})
    assert verdict.verdict == "HOLD" and failed(verdict) == [f"{who}_unseen"]
    assert "2013-06-01" in verdict.reasons[0]


def test_days_on_which_the_champion_was_judged_may_be_judged_on_again():
    windows = {**CHAMPION["windows"], "judge": ["2013-05-20", "2013-06-15"]}
    assert judged(champion={**CHAMPION, "windows": windows}, looks=1).verdict == "PROMOTE"


@pytest.mark.parametrize(
    ("evidence", "name", "told"),
    [
        ({"repeated_rows": 3}, "repeated_rows", "3 of 3,600 rows"),
        ({"future_features": ["temp", "arr_delay"]}, "point_in_time", "arr_delay, temp"),
        ({"future_features": ["temp"], "range_dependent": ["temp"]}, "point_in_time", "beyond their lookback: temp"),
        ({"rows_without_instant": 1234}, "point_in_time", "1,234 rows do not say for which instant"),
        ({"fails_without_future": "KeyError: 'temp'"}, "point_in_time", "the feature function fails: KeyError: 'temp'"),
    ],
)
def test_hold_on_what_leaks(evidence, name, told):
    verdict = judged(**evidence)
    assert verdict.verdict == "HOLD" and failed(verdict) == [name] and told in verdict.reasons[0]


@pytest.mark.parametrize("label", [0, 1, 2, None, "yes", np.nan])
def test_hold_when_labels_are_of_one_class_missing_or_of_no_class(label):
    verdict = judged(judged_rows().assign(label=label))
    assert verdict.verdict == "HOLD" and failed(verdict) == ["labels_usable"]
    assert "success" not in names(verdict)


@pytest.mark.parametrize("label", [2, None])
def test_hold_on_one_row_without_a_usable_label(label):
    rows = judged_rows().astype({"label": "object"})
    rows.loc[7, "label"] = label
    verdict = judged(rows)
    assert verdict.verdict == "HOLD" and failed(verdict) == ["labels_usable"]
    assert check(verdict, "labels_usable")["value"] == 1


def test_hold_when_all_positives_are_of_one_day():
    rows = judged_rows()
    rows["label"] = ((rows["day"] == "2013-06-03") & (rows["label"] == 1)).astype(int)
    assert failed(judged(rows)) == ["labels_usable"]


@pytest.mark.parametrize("champion", [None, CHAMPION])
def test_hold_without_any_row(champion):
    verdict = judged(judged_rows().iloc[:0], champion=champion)
    assert verdict.verdict == "HOLD" and set(failed(verdict)) == {"enough_days", "enough_rows", "labels_usable"}


@pytest.mark.parametrize("where", ["slices", "sensitive"])
def test_hold_on_a_column_that_nobody_knows(where):
    spec = SPEC.model_copy(update={"evaluate": SPEC.evaluate.model_copy(update={where: ["site", "gender"]})})
    verdict = judged(spec=spec)
    assert verdict.verdict == "HOLD" and failed(verdict) == ["groups_known"] and "gender" in verdict.reasons[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.5])
def test_reject_a_challenger_whose_scores_are_no_probabilities(bad):
    rows = judged_rows()
    rows.loc[7, "challenger_score"] = bad
    verdict = judged(rows)
    assert verdict.verdict == "REJECT" and failed(verdict) == ["challenger_scores_usable"]


def test_hold_when_the_champions_scores_can_not_be_compared_with():
    rows = judged_rows()
    rows.loc[7, "champion_score"] = np.nan
    verdict = judged(rows)
    assert verdict.verdict == "HOLD" and failed(verdict) == ["champion_scores_usable"]


def test_too_few_days_outweigh_poor_quality():
    verdict = judged(judged_rows(challenger=0.0, days=10))
    assert verdict.verdict == "HOLD" and {"enough_days", "success"} <= set(failed(verdict))


# Quality


def test_reject_below_the_success_criterion():
    verdict = first_judged(judged_rows(challenger=0.0))
    assert verdict.verdict == "REJECT" and failed(verdict) == ["success"]


def test_reject_above_the_success_criterion_only_by_luck():
    """The value reaches it, its lower bound does not."""
    value = check(first_judged(), "success")["value"]
    verdict = first_judged(spec=with_success(at_least=value - 0.001))
    assert verdict.verdict == "REJECT" and "does not surely meet" in verdict.reasons[0]


def test_a_loss_meets_its_criterion_from_below():
    verdict = first_judged(spec=with_success(metric="log_loss", at_least=None, at_most=0.69))
    assert verdict.verdict == "NO_BASELINE"
    low, high = check(verdict, "success")["interval"]
    for bound in ((low + high) / 2, low):
        assert failed(first_judged(spec=with_success(metric="log_loss", at_least=None, at_most=bound))) == ["success"]


def test_reject_when_worse_than_the_champion():
    verdict = judged(judged_rows(challenger=1.0, champion=1.5))
    assert verdict.verdict == "REJECT" and failed(verdict) == ["better_than_champion"]
    assert not any(name.startswith("slice") for name in names(verdict))


def test_reject_when_exactly_as_good_as_the_champion():
    verdict = judged(judged_rows().assign(champion_score=lambda f: f["challenger_score"]))
    assert verdict.verdict == "REJECT" and check(verdict, "better_than_champion")["value"] == 0


def test_reject_when_surely_better_but_by_less_than_is_worth_a_promotion():
    value = check(judged(), "better_than_champion")["value"]
    assert judged(spec=with_rule(better_by=value - 0.001)).verdict == "PROMOTE"
    verdict = judged(spec=with_rule(better_by=value + 0.001))
    assert verdict.verdict == "REJECT" and "worth a promotion" in verdict.reasons[0]


def test_better_is_better_in_the_direction_of_a_loss_too():
    spec = with_rule(with_success(metric="brier", at_least=None, at_most=0.3), better_by=0.0)
    for one, two, sign in ((1.5, 1.0, 1), (1.0, 1.5, -1)):
        assert check(judged(judged_rows(one, two), spec), "better_than_champion")["value"] * sign > 0


def test_looking_again_at_overlapping_windows_takes_surer_evidence():
    lows = [check(judged(looks=looks), "better_than_champion")["interval"][0] for looks in (0, 1, 5, 50)]
    assert lows == sorted(lows, reverse=True) and len(set(lows)) == 4
    barely = judged_rows(1.15, 1.0)
    assert [judged(barely, looks=looks).verdict for looks in (0, 30)] == ["PROMOTE", "REJECT"]


def test_the_alpha_of_all_looks_is_the_alpha_of_one():
    spent = [alpha_left(0.025, looks) for looks in range(10_000)]
    assert spent[0] == 0.0125 and sum(spent) == pytest.approx(0.025, abs=1e-5) and sum(spent) < 0.025


@pytest.mark.parametrize("champion", [None, CHAMPION])
def test_hold_on_a_challenger_that_knows_the_outcome(champion):
    rows = judged_rows().assign(challenger_score=lambda f: 0.2 + 0.6 * f["label"])
    verdict = judged(rows, champion=champion)
    assert verdict.verdict == "HOLD" and failed(verdict) == ["plausible"] and "too good" in verdict.reasons[0]
    assert judged(rows, with_rule(implausible_jump=None), champion=champion).verdict in ("PROMOTE", "NO_BASELINE")


def test_hold_on_a_leap_over_the_champion_that_is_not_perfect():
    jump = check(judged(), "better_than_champion")["value"]
    assert judged(spec=with_rule(implausible_jump=jump + 0.001)).verdict == "PROMOTE"
    verdict = judged(spec=with_rule(implausible_jump=jump - 0.001))
    assert verdict.verdict == "HOLD" and failed(verdict) == ["plausible"]


def test_hold_on_half_of_what_a_good_champion_lacks():
    """From an AUC of 0.92 to one of 0.97: no great jump, but hardly an honest one."""
    rows, rng = judged_rows(), np.random.default_rng(2)
    for who, noise in (("challenger", 0.055), ("champion", 0.07)):
        rows[f"{who}_score"] = (0.4 + 0.14 * rows["label"] + noise * rng.normal(size=len(rows))).clip(0, 1)
    verdict = judged(rows, with_margins(calibration=1.0))
    assert verdict.verdict == "HOLD" and failed(verdict) == ["plausible"]
    assert check(verdict, "plausible")["value"] < 0.06


def test_a_leak_outweighs_what_is_not_good_enough():
    rows = judged_rows().assign(challenger_score=lambda f: 0.2 + 0.6 * f["label"])
    verdict = judged(rows, with_rule(with_success(at_least=1.0), better_by=0.9))
    assert verdict.verdict == "HOLD" and set(failed(verdict)) == {"better_than_champion", "plausible"}


@pytest.mark.parametrize("champion", [None, CHAMPION])
def test_the_ledger_counts_looks_by_the_gates_first_question_of_quality(champion):
    rows = judged_rows()
    assert quality_checks(SPEC, champion, Evidence(rows))[0].name == MEASURED
    asked = names(judged(rows, champion=champion))
    assert (
        asked[asked.index("challenger_scores_usable" if champion is None else "champion_scores_usable") + 1] == MEASURED
    )


# Harm


def spoilt(rows, site, by=0.9):
    """The challenger knows less about one site: `by` of its score there is noise."""
    noise = np.random.default_rng(1).uniform(size=len(rows))
    mixed = np.where(rows["site"] == site, (1 - by) * rows["challenger_score"] + by * noise, rows["challenger_score"])
    return rows.assign(challenger_score=mixed)


def test_reject_what_is_surely_harmful_on_one_slice():
    verdict = judged(spoilt(judged_rows(3.0, 0.7), "C"))
    assert verdict.verdict == "REJECT" and "slice.site.C" in failed(verdict) and "slice.site.A" not in failed(verdict)
    assert check(verdict, "better_than_champion")["passed"]
    assert "surely worse by more than the margin" in check(verdict, "slice.site.C")["reason"]


def test_hold_what_is_perhaps_harmful_on_one_slice():
    verdict = judged(spec=with_margins(metric=0.0001))
    assert verdict.verdict == "HOLD" and {name.split(".")[0] for name in failed(verdict)} == {"slice"}
    assert "perhaps worse by more than the margin" in verdict.reasons[0]


def test_a_slice_that_is_too_small_is_shown_and_decides_nothing():
    rows = spoilt(judged_rows(3.0, 0.7), "C")
    rows.loc[5, "site"] = "D"
    rows["site"] = rows["site"].mask(rows["site"] == "C").where(np.arange(len(rows)) != 9, None)
    spec = SPEC.model_copy(update={"evaluate": SPEC.evaluate.model_copy(update={"min_group_rows": 899})})
    verdict = judged(rows, spec)
    shown = check(verdict, "slice.site.small_groups")
    assert shown["passed"] and "D (1 rows)" in shown["reason"] and "slice.site.D" not in names(verdict)
    assert "slice.site.(missing)" in failed(verdict)
    spec = SPEC.model_copy(update={"evaluate": SPEC.evaluate.model_copy(update={"min_group_rows": 902})})
    assert "(missing) (90" in check(judged(rows, spec), "slice.site.small_groups")["reason"]


def test_a_slice_of_one_class_decides_nothing():
    rows = judged_rows()
    rows.loc[rows["site"] == "C", "label"] = 0
    verdict = judged(rows)
    assert "C (900 rows)" in check(verdict, "slice.site.small_groups")["reason"] and "slice.site.C" not in failed(
        verdict
    )


def test_hold_or_reject_what_is_worse_calibrated():
    worse = judged_rows(2.0, 1.0).assign(challenger_score=lambda f: f["challenger_score"] ** 0.1)
    verdict = judged(worse)
    assert verdict.verdict == "REJECT" and "calibration" in failed(verdict)
    assert failed(judged(spec=with_margins(calibration=0.001))) == ["calibration"]


def test_reject_what_acts_on_one_group_alone():
    """The order within each site is kept, so no slice is harmed; but at site C nobody reaches the threshold."""
    rows = judged_rows(2.0, 1.0)
    rows["challenger_score"] = rows["challenger_score"].where(rows["site"] != "C", rows["challenger_score"] * 0.49)
    verdict = judged(rows, with_rule(no_worse=SPEC.promote_if.no_worse.model_copy(update={"calibration": 1.0})))
    assert verdict.verdict == "REJECT" and failed(verdict) == ["fairness.site.parity", "fairness.site.opportunity"]


def test_fairness_is_that_of_fairlearn():
    from fairlearn.metrics import demographic_parity_ratio, equal_opportunity_difference

    rows = judged_rows(seed=3)
    rows["challenger_score"] *= rows["site"].map({"A": 1.0, "B": 0.9, "C": 0.7})
    verdict = judged(rows, threshold={"challenger": 0.6, "champion": 0.4})
    groups = {"sensitive_features": rows["site"]}
    said = {"challenger": rows["challenger_score"] >= 0.6, "champion": rows["champion_score"] >= 0.4}
    parity = {who: demographic_parity_ratio(rows["label"], acted, **groups) for who, acted in said.items()}
    gap = {who: equal_opportunity_difference(rows["label"], acted, **groups) for who, acted in said.items()}
    assert parity["challenger"] < 0.5
    lost = pytest.approx(parity["challenger"] - parity["champion"])
    assert check(verdict, "fairness.site.parity")["value"] == lost
    gained = pytest.approx(gap["champion"] - gap["challenger"])
    assert check(verdict, "fairness.site.opportunity")["value"] == gained


def shares_of_groups(acted, rows):
    """Of acted[day, group] among as many `rows` each."""
    days = len(acted)
    total = acted.sum(axis=0)
    return [
        Jackknifed(t / (rows * days), (t - a) / (rows * (days - 1)), rows * days)
        for t, a in zip(total, acted.T, strict=True)
    ]


def test_equal_models_are_not_surely_unfair_for_the_many_groups_that_they_are_compared_on():
    """20 groups of 1,000 rows on 28 days. Both models are fair; the challenger acts on a seventh of the rows on which
    the champion acts: so the lowest and the highest of its shares lie further apart by chance."""
    rng, trials, alpha, margin = np.random.default_rng(0), 300, 0.05, 0.1
    seen, unsure = [], []
    for _ in range(trials):
        likely = ndtr(-0.25 + 0.3 * rng.normal(size=(28, 1)) + 0.15 * rng.normal(size=(28, 20)))
        acted = rng.binomial(36, likely)
        champion, challenger = (shares_of_groups(of, 36) for of in (acted, rng.binomial(acted, 0.15)))
        advantage, explained = parity_advantage(challenger, champion)
        seen.append(estimate(advantage, 2 * alpha).high)
        unsure.append(explained)
    assert np.mean(np.add(seen, unsure) < -margin) <= alpha < 2 * alpha < np.mean(np.array(seen) < -margin)


def test_a_group_that_is_treated_worse_is_found_among_many():
    rng = np.random.default_rng(0)
    acted = rng.binomial(360, np.full((28, 20), 0.3))
    worse = np.where(np.arange(20) == 3, rng.binomial(acted, 0.5), acted)
    champion, challenger = shares_of_groups(acted, 360), shares_of_groups(worse, 360)
    for of, lost in ((parity_advantage, 0.5), (opportunity_advantage, 0.15)):
        assert of(challenger, champion)[0].value == pytest.approx(-lost, rel=0.2)
        assert of(champion, challenger)[0].value == -of(challenger, champion)[0].value


def test_hold_when_fairness_can_not_be_told():
    verdict = judged(threshold={"challenger": 0.5})
    assert verdict.verdict == "HOLD" and failed(verdict) == ["fairness.site"]
    nobody = judged(threshold={"challenger": 1.5, "champion": 1.5})
    assert (nobody.verdict, check(nobody, "fairness.site.parity")["value"]) == ("PROMOTE", 0)


@pytest.mark.parametrize(("times", "verdict"), [(1, "PROMOTE"), (2.6, "HOLD"), (9, "REJECT")])
def test_a_slower_model_is_held_or_rejected(times, verdict):
    seconds = {"challenger": [times * s for s in (0.10, 0.14, 0.10, 0.09, 0.11)], "champion": SECONDS["champion"]}
    seen = judged(batch_seconds=seconds)
    assert seen.verdict == verdict and failed(seen) == ([] if verdict == "PROMOTE" else ["latency"])
    assert check(seen, "latency")["threshold"] == pytest.approx(3)


@pytest.mark.parametrize("seconds", [{}, {"challenger": [1.0, 1.0], "champion": [1.0]}, {"challenger": [0.0] * 3}])
def test_hold_when_nobody_timed_the_models(seconds):
    seen = judged(batch_seconds={"champion": [1.0, 1.0, 1.0], **seconds} if seconds else {})
    assert seen.verdict == "HOLD" and failed(seen) == ["latency"]


def test_the_more_is_asked_the_surer_each_answer_has_to_be():
    few = check(judged(spec=SPEC.model_copy(update={"evaluate": type(SPEC.evaluate)()})), "calibration")["interval"]
    many = check(judged(), "calibration")["interval"]
    assert many[0] < few[0] and many[1] > few[1]


def test_harm_is_asked_more_strictly_at_later_looks_and_costs_nothing_more_at_the_first():
    """7 tests at alpha / 7 each; over all looks a harm as large as its margin passes in alpha of all cases at most."""
    spent = [min(0.025 / 7, alpha_left(0.025, looks)) for looks in range(1000)]
    assert sum(spent) < 0.025
    harms = [judged(looks=looks) for looks in (0, 1, 2, 9)]
    for name in ("slice.site.B", "calibration", "latency"):
        lows = [check(verdict, name)["interval"][0 if name != "latency" else 1] for verdict in harms]
        assert lows[0] == lows[1] and (lows[1] > lows[2] > lows[3] or lows[1] < lows[2] < lows[3])
    least = -check(harms[0], "slice.site.B")["interval"][0]
    within = with_margins(metric=least + 0.0001)
    assert check(judged(spec=within), "slice.site.B")["passed"]
    assert not check(judged(spec=within, looks=9), "slice.site.B")["passed"]


# Other tasks


def of_regression(noise=1.0):
    rows, rng = judged_rows(), np.random.default_rng(5)
    truth = 30 * rows["champion_score"] + rng.normal(size=len(rows))
    spec = SPEC.model_copy(update={"task": "regression"})
    problem = SPEC.problem.model_copy(
        update={"success": type(SPEC.problem.success)(metric="mae", at_least=None, at_most=5)}
    )
    rows = rows.assign(
        label=truth,
        champion_score=truth + 3 * rng.normal(size=len(rows)),
        challenger_score=truth + 3 * noise * rng.normal(size=len(rows)),
    )
    margins = {"metric": 1.0, "calibration": 0.1, "fairness": 0.1, "latency": 3}
    rule = type(SPEC.promote_if)(better_by=0.05, implausible_jump=1.5, no_worse=margins)
    return rows, spec.model_copy(update={"problem": problem, "promote_if": rule})


def test_a_regression_is_judged_by_its_error():
    rows, spec = of_regression(noise=0.8)
    verdict = judged(rows, spec, threshold={})
    assert verdict.verdict == "PROMOTE", verdict.reasons
    assert {"slice.site.A", "latency"} <= set(names(verdict)) and "calibration" not in names(verdict)
    assert judged(of_regression(noise=1.2)[0], spec).verdict == "REJECT"
    assert failed(judged(of_regression(noise=0.01)[0], spec)) == ["plausible"]
    for label in (3.5, "late", None, np.inf):
        assert failed(judged(rows.assign(label=label), spec)) == ["labels_usable"]
    rows.loc[4, "challenger_score"] = np.inf
    assert failed(judged(rows, spec)) == ["challenger_scores_usable"]


def test_a_challenger_of_a_champion_whose_inputs_broke_is_no_leap():
    rows, spec = of_regression(noise=0.8)
    broken = judged(rows.assign(champion_score=50.0), spec)
    assert broken.verdict == "PROMOTE", failed(broken)
    assert "less than nothing" in check(broken, "plausible")["reason"]


@pytest.mark.parametrize(
    ("column", "verdict"), [("label", "HOLD"), ("champion_score", "HOLD"), ("challenger_score", "REJECT")]
)
def test_a_number_too_large_to_be_squared_has_a_verdict(column, verdict):
    rows, spec = of_regression(noise=0.8)
    rows.loc[7, column] = 1e200
    seen = judged(rows, spec)
    assert seen.verdict == verdict and len(seen.digest) == 64


def of_classes(sharpness=2.0):
    rows, rng = judged_rows(), np.random.default_rng(6)
    classes, truth = ["early", "late", "never"], rng.integers(0, 3, size=len(rows))
    spec = SPEC.model_copy(update={"task": "multiclass", "classes": classes})
    problem = SPEC.problem.model_copy(
        update={"success": type(SPEC.problem.success)(metric="log_loss", at_least=None, at_most=1.05)}
    )
    rows = rows[["day", "site"]].assign(label=np.array(classes)[truth])
    for who, sharp in (("challenger", sharpness), ("champion", 1.2)):
        logits = sharp * (np.eye(3)[truth] + 0.6 * rng.normal(size=(len(rows), 3)))
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        rows = rows.assign(**{f"{who}_score_{name}": scores[:, i] for i, name in enumerate(classes)})
    return rows, spec.model_copy(update={"problem": problem})


def test_a_model_of_several_classes_is_judged_by_its_log_loss():
    rows, spec = of_classes()
    verdict = judged(rows, spec, threshold={})
    assert verdict.verdict == "PROMOTE", verdict.reasons
    assert {"slice.site.A", "calibration", "latency"} <= set(names(verdict))
    assert judged(of_classes(sharpness=0.4)[0], spec).verdict == "REJECT"
    assert failed(judged(rows.assign(label=rows["label"].replace("late", "LATE")), spec)) == ["labels_usable"]
    rows["challenger_score_late"] *= 0.9
    assert failed(judged(rows, spec)) == ["challenger_scores_usable"]


# The verdict


def test_no_single_failed_check_leaves_a_pass():
    """Whatever fails, nobody is asked; and that nobody is asked means that something failed."""
    frames = [judged_rows(), judged_rows(0.0), judged_rows(days=5), judged_rows().iloc[:0], judged_rows(1.0, 3.0)]
    challengers = [CHALLENGER, {**CHALLENGER, "as_of": "2013-01-01"}, facts(train="2013-06-03", validate="2013-06-10")]
    for frame in frames:
        for challenger in challengers:
            for champion in (None, CHAMPION, CHALLENGER):
                verdict = judged(frame, challenger=challenger, champion=champion)
                passed = "PROMOTE" if champion else "NO_BASELINE"
                assert (verdict.verdict == passed) == (failed(verdict) == [])
                assert verdict.verdict in (passed, "HOLD", "REJECT")


def test_a_gate_that_can_not_see_does_not_open():
    rows = judged_rows()
    for column in ("day", "label", "challenger_score", "champion_score"):
        with pytest.raises(ParameterError, match=column):
            judged(rows.drop(columns=column))
    for fact in ("version", "as_of", "windows", "model_digest"):
        lacking = {k: v for k, v in CHAMPION.items() if k != fact}
        with pytest.raises(ParameterError, match="champion"):
            judged(champion=lacking)
    blind = {**CHAMPION, "windows": {"train": CHAMPION["windows"]["train"]}}
    with pytest.raises(ParameterError, match="windows of the champion"):
        judged(champion=blind)


def test_judging_again_gives_the_same_verdict_and_digest_and_leaves_the_rows_alone():
    rows = judged_rows()
    before = rows.copy()
    one, two = judged(rows), judged(rows)
    assert one == two and one.digest == two.digest
    pd.testing.assert_frame_equal(rows, before)
    assert json.loads(json.dumps(one.as_dict(), allow_nan=False)) == one.as_dict()
    shuffled = judged(rows.sample(frac=1, random_state=1))
    assert [(c["name"], c["reason"]) for c in shuffled.checks] == [(c["name"], c["reason"]) for c in one.checks]


def test_every_verdict_goes_through_json():
    nothing = judged_rows().iloc[:0]
    for verdict in (
        judged(nothing),
        judged(judged_rows().assign(label=None)),
        first_judged(),
        judged(batch_seconds={}),
    ):
        assert json.loads(json.dumps(verdict.as_dict(), allow_nan=False)) == verdict.as_dict()


def test_the_digest_names_whom_it_is_about():
    digests = {
        judged().digest,
        judged(challenger={**CHALLENGER, "version": 3}).digest,
        judged(challenger={**CHALLENGER, "model_digest": "another file"}).digest,
        judged(champion={**CHAMPION, "as_of": "2013-04-02"}).digest,
        judged(judged_rows(seed=1)).digest,
        judged(looks=1).digest,
    }
    assert len(digests) == 6


def test_a_column_of_very_many_groups_is_told_in_few_words():
    rows = judged_rows()
    many = rows.assign(site=[f"place {n % 1500}" for n in range(len(rows))])
    shown = check(judged(many, SPEC), "slice.site.small_groups")
    assert shown["value"] == 1500 and "1490 more" in shown["reason"] and len(shown["reason"]) < 500
