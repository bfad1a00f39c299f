"""What a spec says of watching a model: what is looked at, how sure an alarm must be, and what is asked for then."""

from __future__ import annotations

from pydantic import Field, model_validator

from ratchet.specs.base import Cron, Strict


class Budget(Strict):
    """At most so many trainings that no person asked for within so many days of data time (as-of)."""

    trainings: int = Field(default=4, ge=1)
    in_days: int = Field(default=28, ge=1)


class RetrainWhen(Strict):
    """When a retrain request is filed, and how often the broker lets one through.

    `data_grows_by`: days with outcomes since the champion's training, as a share of those that it was made from.
    `stop_after_rejected`: so many challengers in a row that the gate rejected, and a person is asked instead."""

    schedule: Cron | None = None  # in UTC: a request by the calendar; None: never
    drifted_share: float | None = Field(default=0.5, gt=0, le=1)  # share of watched columns that drifted
    metric_falls_by: float | None = Field(default=0.03, gt=0)  # in units of the metric; the default is for roc_auc
    data_grows_by: float | None = Field(default=None, gt=0)  # None: never
    corrected_days: int | None = Field(default=None, ge=1)  # of the champion's outcomes, corrected since; None: never
    cool_down_days: int = Field(default=7, ge=0)  # in data time (as-of)
    budget: Budget = Budget()
    stop_after_rejected: int = Field(default=3, ge=1)


class FalseAlarms(Strict):
    """How many alarms of each kind a quarter (91 days) may bring while nothing has changed, on average, of all that is
    watched of the model together."""

    pages: float = Field(default=1.0, gt=0)
    warnings: float = Field(default=3.0, gt=0)


class Persistence(Strict):
    """A movement becomes an alarm once it was seen in `seen` of the last `of` checks."""

    seen: int = Field(default=2, ge=1)
    of: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _seen_at_most_of(self) -> Persistence:
        if self.seen > self.of:
            raise ValueError(f"never: seen in {self.seen} of the last {self.of} checks")
        return self


class Smallest(Strict):
    """Movements smaller than this are nobody's business, however sure. `shift`: of a number's mean, in standard
    deviations of the reference; `spread`: of its standard deviation, as a ratio; `share`: of a category or of nulls."""

    shift: float = Field(default=0.2, gt=0)
    spread: float = Field(default=1.25, gt=1)
    share: float = Field(default=0.02, gt=0, lt=1)


class Watch(Strict):
    """What check_drift looks at. `schedule` is cron in UTC.

    `window_days`: the newest scored event days, for inputs and predictions; `outcome_days`: the newest ones with
    outcomes, for labels, performance and calibration. Fewer than `min_rows` rows: "not enough data"."""

    schedule: Cron = "0 7 * * *"
    window_days: int = Field(default=7, ge=1)
    outcome_days: int = Field(default=14, ge=2)
    min_rows: int = Field(default=200, ge=50)
    max_rows: int = Field(default=5000, ge=100)  # of Evidently's page: its time is linear in rows
    smallest: Smallest = Smallest()
    persistence: Persistence = Persistence()
    false_alarms: FalseAlarms = FalseAlarms()


class FieldTest(Strict):
    """How a challenger shows itself on new rows before it is champion.

    `shadow`: it scores what the champion scores, and nobody is given these scores. `canary_share`: of the rows, by a
    hash of their key, that it may serve once its gate is passed and an approver has started it; None: none.
    `canary_days`: event days. Fewer than 8 show no harm by outcomes, however gross (ratchet.field_test.safety): they
    are for what is seen before a day is published. The default shows only gross harm; 28 show more."""

    shadow: bool = True
    canary_share: float | None = Field(default=None, gt=0, le=0.5)
    canary_days: int = Field(default=14, ge=1)
