"""Is a canary safe to go on? It is no test of whether it is better. Pure.

Before a day is published: see ratchet.first_scoring, of the rows that it would serve. Once outcomes have come: whether
it does gross harm, by betting against "on no day is its loss expected to be more than WORSE_BY above the champion's on
the same rows" (see ratchet.field_test.anytime), so that it may be asked each day. A day is one bet, and days count as
independent of one another: where they are not, a canary ends wrongly somewhat oftener than ALPHA, which harms nobody.
"""

from __future__ import annotations

import pandas as pd

from ratchet.field_test.anytime import betting_wealth

WORSE_BY = 0.25  # of the champion's loss
ALPHA = 0.05


def gross_harm(daily: pd.DataFrame) -> str | None:
    """The harm in a sentence, if it is gross and sure; None for none.

    daily: of the rows that the canary served, on each day `champion` and `challenger`, the mean losses of both (see
    ratchet.field_test.losses.daily_losses), in order of day. A day's bet is on challenger / champion / (1 + WORSE_BY) -
    1, which can't lose more than all; days on which the champion's loss is 0 say nothing.
    """
    told = daily[daily["champion"] > 0]
    ratio = (told["challenger"] / told["champion"]).to_numpy("float64")
    wealth = betting_wealth(ratio / (1 + WORSE_BY) - 1)
    if not len(wealth) or wealth.max() < 1 / ALPHA:
        return None
    theirs, ours = told["champion"].mean(), told["challenger"].mean()
    return (
        f"on the rows that it served, {len(told)} days, its mean loss is {ours:.4g}, the champion's would have been "
        f"{theirs:.4g}: surely more than {WORSE_BY:.0%} worse"
    )
