"""A dataset's spec."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator, model_validator

from ratchet.days import check_day
from ratchet.errors import ParameterError
from ratchet.specs.base import Cron, Name, Strict

RESERVED_COLUMNS = frozenset({"day", "known_at", "drop_sha256", "recipe", "line"})
ColumnType = Literal["string", "int64", "float64", "bool", "timestamp"]
Policy = Literal["allow", "warn", "refuse"]


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
