"""Specs: what a dataset and a model are, in the domain's words. Frozen, typed, refusing unknown keys.

A spec is one YAML file; its name is the file's stem. `load_dataset_specs` and `load_model_specs` return the good ones
and the errors of the bad ones side by side, so that one wrong file hurts nobody else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import yaml
from croniter import croniter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ratchet.days import check_day
from ratchet.errors import ParameterError, SpecError, UnknownNameError

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}\z")]
RESERVED_COLUMNS = frozenset({"day", "known_at", "drop_sha256", "recipe", "line"})
Cron = Annotated[str, AfterValidator(lambda value: _checked_cron(value))]
ColumnType = Literal["string", "int64", "float64", "bool", "timestamp"]
Policy = Literal["allow", "warn", "refuse"]


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class SchemaPolicy(Strict):
    """What to do when the columns of a drop are other than the spec's. `warn` does as `allow`, on record.

    `added`: unknown columns are left out. `removed`: a missing one is read as nulls, if it may be empty. `renamed`: one
    under a name in `renames` is read as the column. `retyped`: what can be read without loss (`12.0` as 12) is.
    """

    added: Policy = "warn"
    removed: Policy = "refuse"
    renamed: Policy = "warn"
    retyped: Policy = "refuse"


class DatasetSpec(Strict):
    """A validated table in the lake, partitioned by event day in `time_zone`.

    `columns` are those of a drop, in any order; `timestamp` means an ISO-8601 instant with offset, kept as UTC.
    `key` is what makes a row unique in its partition. `may_be_empty`: columns that a drop may have no value in.
    `renames`: columns by the names they had. `personal`: columns whose values are replaced by pseudonyms when a drop
    is read. Suite: great_expectations/expectations/<name>.json.
    """

    name: Name
    description: str
    owner: str
    time_zone: str
    schedule: Cron = "0 6 * * *"  # in time_zone
    starts: str  # first event day, ISO date: the DAG's start_date
    key: list[str] = Field(min_length=1)
    columns: dict[str, ColumnType] = Field(min_length=1)
    may_be_empty: list[str] = []
    personal: list[str] = []
    schema_policy: SchemaPolicy = SchemaPolicy()
    renames: dict[str, str] = {}
    max_quarantined_share: float = Field(default=0.05, ge=0, le=1)
    tags: list[str] = []

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"unknown time zone {value!r}; use an IANA name such as America/New_York")
        return value

    @field_validator("starts")
    @classmethod
    def _starts_on_a_day(cls, value: str) -> str:
        try:
            return check_day(value, "starts")
        except ParameterError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _key_is_columns(self) -> DatasetSpec:
        if missing := set(self.key) - set(self.columns):
            raise ValueError(f"key columns {sorted(missing)} are not in columns")
        if taken := RESERVED_COLUMNS & set(self.columns):
            raise ValueError(f"columns {sorted(taken)} are those that every published row gets: rename yours")
        return self

    @model_validator(mode="after")
    def _speaks_of_its_columns(self) -> DatasetSpec:
        named = {"may_be_empty": self.may_be_empty, "personal": self.personal, "renames": self.renames.values()}
        for what, names in named.items():
            if missing := set(names) - set(self.columns):
                raise ValueError(f"{what} names {sorted(missing)}, which are not in columns")
        if both := set(self.may_be_empty) & set(self.key):
            raise ValueError(f"key columns {sorted(both)} can't be empty: take them out of may_be_empty")
        if other := sorted(name for name in self.personal if self.columns[name] != "string"):
            raise ValueError(f"personal columns {other} are not strings, as pseudonyms are")
        if both := set(self.renames) & set(self.columns):
            raise ValueError(f"renames has {sorted(both)}, which are in columns under that name")
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


class Input(Strict):
    """A dataset that the feature function reads. `lookback_days`: event days before the first one wanted that
    are read too. `snapshot: latest` reads the newest partition known as of the run (reference data)."""

    lookback_days: int = Field(default=0, ge=0)
    latest: bool = False


class Windows(Strict):
    """Lengths, in event days, of the two newest windows; train is everything older (see ratchet.windows)."""

    validate_days: int = Field(ge=1)
    judge_days: int = Field(ge=1)


class PromoteIf(Strict):
    """What the gate asks. `minimum`, in units of the metric, is asked of the lower bound on the judge window;
    `better_by` is the smallest improvement worth a promotion; `alpha` is one-sided."""

    metric: Literal["roc_auc"] = "roc_auc"
    minimum: float = Field(ge=0, le=1)
    better_by: float = Field(default=0.0, ge=0, le=1)
    alpha: float = Field(default=0.025, gt=0, lt=0.5)
    min_days_first: int = Field(default=14, ge=2)
    min_days_comparison: int = Field(default=28, ge=2)
    resamples: int = Field(default=1000, ge=100, le=20000)


class Approval(Strict):
    """Who may answer, and for how long the question stands."""

    approvers: list[str] = Field(min_length=1)
    four_eyes: bool = True
    expires_after_hours: float = Field(default=72, gt=0)


class RetrainWhen(Strict):
    """When a retrain request is filed, and how often the broker lets one through."""

    schedule: Cron | None = None  # in UTC: a request by the calendar; None: never
    drifted_share: float | None = Field(default=0.5, gt=0, le=1)  # share of watched columns that drifted
    metric_falls_by: float | None = Field(default=0.03, gt=0, le=1)  # below the judge window's value
    corrected_days: int | None = Field(default=None, ge=1)  # of the champion's outcomes, corrected since; None: never
    cool_down_days: int = Field(default=7, ge=0)  # in data time (as-of)


class WatchDrift(Strict):
    """What check_drift looks at. `schedule` is cron in UTC. `method` and `threshold` are pinned, never Evidently's
    defaults, which change with column type and sample size."""

    schedule: Cron = "0 7 * * 1"
    window_days: int = Field(default=28, ge=1)
    min_rows: int = Field(default=500, ge=50)
    min_days: int = Field(default=7, ge=1)  # rows of a day are alike: three days "drift" against any month
    max_rows: int = Field(default=5000, ge=100)  # Evidently's time is linear in rows; its sample is bounded
    method: Literal["psi", "wasserstein", "jensenshannon"] = "psi"
    threshold: float = Field(default=0.1, gt=0)


class ScoreWhen(Strict):
    """A partition is due for scoring when every dataset in `complete` has it, or when the scored dataset has
    moved on by `or_after_days` event days (late or absent inputs must not block)."""

    complete: list[Name]
    or_after_days: int = Field(default=2, ge=0)


class CandidateSpec(Strict):
    """One configuration to fit. `estimator` names a factory in ratchet.candidates."""

    name: Name
    estimator: Literal["base_rate", "logistic_regression", "hist_gradient_boosting"]
    params: dict[str, float | int | str | bool] = {}


class ModelSpec(Strict):
    """A model: which datasets feed it, how it is trained, judged, approved, scored and watched.

    `feature_function` and `label_function` are `module:function` (see docs/add-a-model.md). `scored_dataset` is the
    one whose rows are scored, one prediction a row, known by its key.
    """

    name: Name
    description: str
    owner: str
    scored_dataset: Name
    outcome_dataset: Name
    inputs: dict[Name, Input]
    feature_function: str = Field(pattern=r"^[a-z_][\w.]*:[a-z_]\w*\z")
    label_function: str = Field(pattern=r"^[a-z_][\w.]*:[a-z_]\w*\z")
    numeric_features: list[str]
    categorical_features: list[str] = []
    label_delay_days: int = Field(ge=0)
    first_windows: Windows
    windows: Windows
    seed: int = 2013
    candidates: list[CandidateSpec] = Field(min_length=1)
    promote_if: PromoteIf
    approval: Approval
    score_when: ScoreWhen
    retrain_when: RetrainWhen = RetrainWhen()
    watch: WatchDrift = WatchDrift()
    tags: list[str] = []

    @model_validator(mode="after")
    def _inputs_hold_scored(self) -> ModelSpec:
        if self.scored_dataset not in self.inputs:
            raise ValueError(f"scored_dataset {self.scored_dataset!r} is not among inputs")
        if len({c.name for c in self.candidates}) != len(self.candidates):
            raise ValueError("candidate names must differ")
        return self

    @property
    def features(self) -> list[str]:
        return [*self.numeric_features, *self.categorical_features]


def _checked_cron(value: str) -> str:
    if len(value.split()) != 5 or not croniter.is_valid(value):
        raise ValueError(f"not a cron expression: {value!r}; five fields, such as '0 6 * * *'")
    return value


S = TypeVar("S", bound=Strict)


class Loaded(BaseModel, Generic[S]):
    """The specs of one folder: `good` by name, and an error for each file that could not be used."""

    good: dict[str, S]
    errors: dict[str, str]

    def get(self, name: str, kind: str) -> S:
        """The spec of that name. Raises UnknownNameError naming those there are."""
        if name in self.good:
            return self.good[name]
        if name in self.errors:
            raise SpecError(
                f"{kind} {name!r} has a spec that can't be used", seen=self.errors[name], hint="mend the file"
            )
        raise UnknownNameError(
            f"no {kind} named {name!r}", expected=f"one of {sorted(self.good)}", hint=f"add include/{kind}s/{name}.yaml"
        )


def load_dataset_specs(folder: Path) -> Loaded[DatasetSpec]:
    return _load(folder, DatasetSpec)


def load_model_specs(folder: Path) -> Loaded[ModelSpec]:
    return _load(folder, ModelSpec)


def _load(folder: Path, kind: type[S]) -> Loaded[S]:
    good, errors = {}, {}
    for path in sorted(Path(folder).glob("*.yaml")):
        try:
            raw = yaml.safe_load(path.read_text("utf-8"))
            if not isinstance(raw, dict):
                raise ValueError("the file holds no mapping")
            good[path.stem] = kind.model_validate({"name": path.stem, **raw})
            if good[path.stem].name != path.stem:
                raise ValueError(f"name {good[path.stem].name!r} differs from the file's name {path.stem!r}")
        except (ValidationError, ValueError, yaml.YAMLError, OSError) as error:
            good.pop(path.stem, None)
            errors[path.stem] = f"{path.name}: {error}"
    return Loaded[kind](good=good, errors=errors)
