"""The ledger: the record of what was asked, decided and done; the only authority on who is champion.

Every write is one transaction that changes a table and appends to a chain of events, each sealed with the hash of the
one before it and a key outside the database. Writers go one at a time, in SQLite and PostgreSQL alike. The end of the
chain is also kept in a file elsewhere, so that a cut tail shows. Start with `open_ledger(settings)`.
"""

from __future__ import annotations

from ratchet.ledger.alerts import Alerts
from ratchet.ledger.approvals import Approvals
from ratchet.ledger.audit import Audit
from ratchet.ledger.broken_glass import BreakGlass
from ratchet.ledger.broker import Rules
from ratchet.ledger.candidates import Candidates
from ratchet.ledger.chain import Chain, open_chain
from ratchet.ledger.challengers import Challengers
from ratchet.ledger.decisions import Approval, BrokenGlass, Candidate, Challenger, Champion, Verdict
from ratchet.ledger.erasures import Erasures
from ratchet.ledger.field_values import FieldEvidence, Routing, Shadow
from ratchet.ledger.partitions import Partitions, Watched
from ratchet.ledger.promotion import Promotion
from ratchet.ledger.questions import Questions
from ratchet.ledger.requests import Requests
from ratchet.ledger.routings import Routings
from ratchet.ledger.shadows import Shadows
from ratchet.ledger.staleness import Staleness
from ratchet.ledger.values import (
    Alert,
    Batch,
    Check,
    Erasure,
    Event,
    Partition,
    Refusal,
    Request,
    RequestOutcome,
    Scored,
    SnapshotRecord,
    Stale,
    VerifyReport,
    WrongRow,
)
from ratchet.settings import Settings

__all__ = [
    "Alert",
    "Approval",
    "Batch",
    "BrokenGlass",
    "Candidate",
    "Challenger",
    "Champion",
    "Check",
    "Erasure",
    "Event",
    "FieldEvidence",
    "Ledger",
    "Partition",
    "Refusal",
    "Request",
    "RequestOutcome",
    "Routing",
    "Rules",
    "Scored",
    "Shadow",
    "SnapshotRecord",
    "Stale",
    "Verdict",
    "VerifyReport",
    "WrongRow",
    "open_ledger",
]


class Ledger(
    Partitions,
    Watched,
    Staleness,
    Erasures,
    Requests,
    Candidates,
    Challengers,
    BreakGlass,
    Questions,
    Approvals,
    Promotion,
    Shadows,
    Routings,
    Alerts,
    Audit,
):
    """One ledger; safe to share between threads and to carry across a fork. Every method is one transaction.

    Any of them raises LedgerError when the database can't be reached; a writing one also when the chain no longer
    holds what the head file names.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain


def open_ledger(settings: Settings, actor: str = "ratchet") -> Ledger:
    """The ledger of these settings; makes schema, key (0600) and head file when there is no ledger yet.

    `actor` signs the entries that no person's name belongs to. Raises LedgerError when the ledger can't be used: see
    `ratchet.ledger.chain.open_chain`.
    """
    return Ledger(open_chain(settings, actor))
