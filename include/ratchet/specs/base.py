"""What all specs share: frozen, typed, refusing unknown keys; and the kinds of value that several of them hold."""

from __future__ import annotations

from typing import Annotated

from croniter import croniter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}\z")]
Words = Annotated[str, Field(min_length=1, max_length=2000)]
Cron = Annotated[str, AfterValidator(lambda value: _checked_cron(value))]


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


def _checked_cron(value: str) -> str:
    if len(value.split()) != 5 or not croniter.is_valid(value):
        raise ValueError(f"not a cron expression: {value!r}; five fields, such as '0 6 * * *'")
    return value
