"""Is a canary safe to go on? It is no test of whether it is better. Pure.

Before a day is published: see ratchet.first_scoring, of the rows that it would serve. Once outcomes have come: whether
it does gross harm, by betting against "on no day is its loss expected to be more than WORSE_BY above the champion's on
the same rows" (see ratchet.field_test.anytime), so that it may be asked each day. A day is one bet, and days count as
independent of one another: where they are not, a canary ends wrongly somewhat oftener than ALPHA, which harms nobody.

The bet is on the difference of the losses, not on their ratio: where positives are rare, a day's ratio is high on most
days for a challenger whose expected loss is the champion's. That holds whatever the losses are, and is slow: a day adds
1 / (1 + WORSE_BY) of the stake at most, so that fewer than LEAST_DAYS show nothing, whatever the harm. Beside a
champion of loss 0.15, 14 days show a loss of 0.66 or more, 28 days 0.41, 56 days 0.3 (as shares of the bound, the same
each day).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from ratchet.field_test.anytime import betting_wealth

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

WORSE_BY = 0.25  # of the champion's loss
ALPHA = 0.05
LEAST_DAYS = 8  # with outcomes: fewer show nothing, whatever the harm


def gross_harm(daily: pd.DataFrame, most: float = 1.0) -> str | None:
    """The harm in a sentence, if it is gross and sure; None for none.

    daily: of the rows that the canary served, on each day `champion` and `challenger`, the mean losses of both, 0 or
    more (see ratchet.field_test.losses.daily_losses), in order of day. `most`: the most that a day's loss counts for,
    fixed before the days (see `greatest_loss`). With both as shares of it, a day's bet is on challenger / (1 +
    WORSE_BY) - champion: -1 or more, and 0 or less on average unless there is harm.
    """
    share = daily[["champion", "challenger"]].clip(upper=most) / most
    wealth = betting_wealth((share["challenger"] / (1 + WORSE_BY) - share["champion"]).to_numpy("float64"))
    if not len(wealth) or wealth.max() < 1 / ALPHA:
        return None
    theirs, ours = daily["champion"].mean(), daily["challenger"].mean()
    return (
        f"on the rows that it served, {len(daily)} days, its mean loss is {ours:.4g}, the champion's would have been "
        f"{theirs:.4g}: surely more than {WORSE_BY:.0%} worse"
    )


def greatest_loss(spec: ModelSpec, proof: Mapping) -> float | None:
    """The most that a day's loss counts for: 1 for classes, the Brier score's bound. An absolute error has none: there
    it is the range of the champion's scores in evaluation (`proof`: see ratchet.proof), None where that is not known or
    is 0: then nothing is said of harm."""
    if spec.task != "regression":
        return 1.0
    return (proof["high"] - proof["low"] or None) if proof else None
