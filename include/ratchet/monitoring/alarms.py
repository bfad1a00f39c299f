"""Which findings become alarms: how sure each must be, and how often it must have been seen.

*How sure.* The spec says how many alarms of a kind a quarter may bring while nothing has changed, of all that is
watched together. That budget is divided by the checks of a quarter (by the spec's cron) and by the questions that each
check asks: the most that each question may err, one-sided (Bonferroni). Alarms that are wrong are then at most as many
as the budget, on average, however the questions and the checks depend on one another. Neighbouring checks share most
of their days and an alarm must be seen more than once, so they are fewer: the rule is on the safe side.

*How often.* A finding is an alarm once it moved in `seen` of the last `of` checks, the newest among them; broken data
at once, for what is broken does not come by chance. It is as loud as it was in that many of these checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from croniter import croniter_range

from ratchet.monitoring.values import LEVEL_OF, LEVELS, Finding, Level
from ratchet.specs import ModelSpec
from ratchet.specs.watching import Persistence

QUARTER = timedelta(days=91)
MOST = 0.025  # no question is asked less surely than that, however seldom checks are made
OF_ALL_ROWS = 0.5  # of performance's share of a budget; the slices have the rest
WARNS_OF = 7  # what may stand out by chance below a page, each with the same share of the budget of warnings: data,
# movement (of inputs and predictions), the approved band, labels, calibration, estimate, value
_ALARMING = ("moved", "broken data")
_LEFT_OUT = "performance"  # slices that can't be measured are left out: one that is absent was not looked at
_OWN_STATES = "data"  # each finding says by itself that it could not be looked at; of usual ones none need be on record


@dataclass(frozen=True)
class Alarm:
    """A finding that has persisted. `key` is the finding's."""

    level: Level
    key: str
    says: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@lru_cache
def checks_in(cron: str, period: timedelta = QUARTER) -> int:
    """How many times the cron fires in a period (of 2013, in UTC); 1 at least."""
    start = datetime(2013, 1, 1, tzinfo=UTC)
    return max(sum(1 for _ in croniter_range(start, start + period - timedelta(seconds=1), cron)), 1)


def page_alpha(spec: ModelSpec) -> float:
    """How likely performance may page at a check by chance: on all rows with OF_ALL_ROWS of it, on slices together with
    the rest. Nothing else is asked that can page by chance."""
    return spec.watch.false_alarms.pages / checks_in(spec.watch.schedule)


def warn_alpha(spec: ModelSpec) -> float:
    """How likely one of WARNS_OF may warn at a check by chance."""
    return spec.watch.false_alarms.warnings / checks_in(spec.watch.schedule) / WARNS_OF


def shared(alpha: float, questions: int) -> float:
    """The share of one of so many questions."""
    return min(alpha / max(questions, 1), MOST)


def find_alarms(persistence: Persistence, earlier: Sequence[Iterable[Mapping]], now: Iterable[Finding]) -> list[Alarm]:
    """The alarms of a check, the loudest first. `earlier`: findings of the checks before, as dicts, oldest first."""
    history = [_levels(findings) for findings in earlier][max(0, len(earlier) - persistence.of + 1) :]
    alarms = [_alarm(finding, history, persistence) for finding in now if finding.state in _ALARMING]
    return sorted((one for one in alarms if one), key=lambda one: -LEVELS.index(one.level))


def has_calmed(persistence: Persistence, key: str, checks: Sequence[Iterable[Mapping]]) -> bool:
    """Whether the finding is usual in all of the last `of` checks, or absent where its area was looked at: "not enough
    data" calms nobody. `checks`: their findings, oldest first, the newest included."""
    newest = checks[-persistence.of :]
    return len(newest) == persistence.of and all(_is_usual(key, list(findings)) for findings in newest)


def _is_usual(key: str, findings: list[Mapping]) -> bool:
    states, area = {_key(one): one["state"] for one in findings}, key.split("/")[0]
    if key in states or area == _OWN_STATES:
        return states.get(key, "usual") == "usual"
    of_area = {one["state"] for one in findings if one["area"] == area}
    return bool(of_area) and area != _LEFT_OUT and "not enough data" not in of_area


def _levels(findings: Iterable[Mapping]) -> dict[str, Level]:
    """By key, how loud each was that moved or was broken."""
    return {_key(one): LEVEL_OF[one["harm"]] for one in findings if one["state"] in _ALARMING}


def _key(finding: Mapping) -> str:
    return f"{finding['area']}/{finding['name']}"


def _alarm(finding: Finding, history: list[dict[str, Level]], persistence: Persistence) -> Alarm | None:
    if finding.harm == "broken":
        return Alarm(finding.level, finding.key, finding.says)
    seen = [LEVELS.index(one[finding.key]) for one in history if finding.key in one] + [LEVELS.index(finding.level)]
    loud_enough = sorted(seen, reverse=True)
    if len(seen) < persistence.seen:
        return None
    return Alarm(LEVELS[loud_enough[persistence.seen - 1]], finding.key, finding.says)
