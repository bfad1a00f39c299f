"""Candidates as they were trained: which run, which files, which figures. MLflow shows runs, it vouches for none."""

from __future__ import annotations

from collections.abc import Mapping

from ratchet.ledger.chain import Chain
from ratchet.ledger.decisions import Candidate
from ratchet.ledger.rows import keep_first, read_one
from ratchet.ledger.tables import candidates


class Candidates:
    """Candidates by model and idempotency key."""

    _chain: Chain

    def record_candidate(
        self,
        model: str,
        key: str,
        name: str,
        run_id: str,
        model_digest: str,
        metrics: Mapping[str, float],
        manifest: Mapping[str, object],
    ) -> Candidate:
        """Keep what a training made of a candidate (see ratchet.ledger.Candidate).

        The first of a key stands: a second call returns it, whatever else differs. Of two attempts at once it is the
        run of the first that counts.
        """
        row = {
            "model": model,
            "key": key,
            "name": name,
            "run_id": run_id,
            "model_digest": model_digest,
            "metrics": metrics,
            "manifest": manifest,
        }
        subject = f"models/{model}/candidates/{key}"
        with self._chain.write() as transaction:
            return keep_first(transaction, Candidate, candidates, row, entry="candidate_recorded", subject=subject)

    def candidate(self, model: str, key: str) -> Candidate | None:
        """The candidate of that key; None when none has been recorded."""
        with self._chain.read() as connection:
            return read_one(connection, Candidate, candidates, candidates.c.model == model, candidates.c.key == key)

    def candidate_of_run(self, model: str, run_id: str) -> Candidate | None:
        """The candidate that was recorded with that MLflow run; None for a run that the ledger doesn't know."""
        with self._chain.read() as connection:
            return read_one(
                connection, Candidate, candidates, candidates.c.model == model, candidates.c.run_id == run_id
            )
