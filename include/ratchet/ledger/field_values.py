"""What the ledger answers with about challengers in the field: frozen values; see ratchet.ledger.values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Shadow:
    """A challenger's scoring of a day that nobody is given, from the inputs of the champion's. `revision` counts those
    of the day by that version."""

    model: str
    version: int
    day: str
    revision: int
    inputs_digest: str
    rows: int
    table_version: int
    recorded_at: datetime


@dataclass(frozen=True)
class FieldEvidence:
    """What the field said of a version against the champion `champion_version`. `key` is the digest of what it was made
    from, `as_of` the last of its days; `result`: see ratchet.field_test.evidence.Evidence."""

    model: str
    key: str
    version: int
    champion_version: int
    as_of: str
    result: dict
    report_url: str | None
    recorded_at: datetime


@dataclass(frozen=True)
class Routing:
    """A canary: `version` serves a `share` of the rows of the event days `first_day` to `last_day`, beside the champion
    of `champion_epoch`, until it `ended_at`. `actor`, an approver, started it for `reason`, on the verdict of
    `verdict_digest`. `ended_how`: "rolled back" (a violation: `ended_why`), "champion moved", "days over" or "stopped"
    (by a person); None while it stands."""

    id: str
    model: str
    version: int
    share: float
    first_day: str
    last_day: str
    champion_epoch: int
    champion_version: int
    verdict_digest: str
    model_digest: str
    actor: str
    reason: str
    run_id: str
    started_at: datetime
    ended_how: str | None
    ended_why: str | None
    ended_by: str | None
    ended_at: datetime | None
