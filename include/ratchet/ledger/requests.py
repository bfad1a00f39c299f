"""The broker: retrain requests in, trainings to be done (batches) out, and every suppressed request on record."""

from __future__ import annotations

import json
from dataclasses import asdict

from sqlalchemy import Connection, select

from ratchet.days import check_day
from ratchet.errors import ConflictError, ParameterError, UnknownNameError
from ratchet.ledger.broker import Rules, held_back, turned_down
from ratchet.ledger.chain import Chain, Transaction
from ratchet.ledger.plain import check_words
from ratchet.ledger.rows import next_id, read_all, read_one
from ratchet.ledger.tables import batches, events, requests
from ratchet.ledger.values import Batch, Request, RequestOutcome


class Requests:
    """Retrain requests and batches.

    A batch is one training: (model, as_of, recipe) is in one batch that has not failed, at most. It goes
    open -> started -> done | failed; a failed one, or one whose run died, may be started again.
    """

    _chain: Chain

    def request_retrain(
        self,
        model: str,
        as_of: str,
        reason: str,
        source: str,
        actor: str,
        recipe: str,
        idempotency_key: str | None = None,
        rules: Rules | None = None,
    ) -> RequestOutcome:
        """File a request; "accepted" opens a batch, "merged" joins one, "suppressed" does neither.

        - The same `idempotency_key` gives the same answer again, and files nothing.
        - A batch that has not failed for the same model, as-of and recipe, or one not yet started for the same model
          and as-of, takes the request in ("merged"), also when it is done.
        - Else, unless a person asks (`source` "person"), the `rules` have to let it through: the broker has not
          stopped, it is not of older data than the newest training, the budget is not spent, the cool-down is over
          ("suppressed"; see ratchet.ledger.broker).

        Raises ParameterError for a wrong day, an empty reason, source or actor.
        """
        as_of = check_day(as_of, "as_of")
        check_words(reason=reason, source=source, actor=actor)
        with self._chain.write(actor) as transaction:
            known = _same_key(transaction.connection, model, idempotency_key)
            if known:
                return _outcome(known)
            asked = {"model": model, "as_of": as_of, "recipe": recipe, "source": source}
            status, batch_id, explanation = _decide(transaction, **asked, rules=rules)
            row = {
                "id": next_id(transaction.connection, requests, "r"),
                **asked,
                "reason": reason,
                "actor": actor,
                "idempotency_key": idempotency_key,
                "rules": rules and asdict(rules),
                "status": status,
                "batch_id": batch_id,
                "explanation": explanation,
                "requested_at": transaction.now,
            }
            row = transaction.add(requests, row)
            transaction.append("retrain_requested", f"models/{model}/requests/{row['id']}", row)
            return RequestOutcome(row["id"], status, batch_id, explanation)

    def request(self, id: str) -> Request:
        """The request of that id. Raises UnknownNameError."""
        with self._chain.read() as connection:
            found = read_one(connection, Request, requests, requests.c.id == str(id))
        return found or _unknown("retrain request", id)

    def requests(self, model: str) -> list[Request]:
        """The model's requests, in the order they were filed."""
        with self._chain.read() as connection:
            return read_all(connection, Request, requests, requests.c.model == model, order=(requests.c.id,))

    def request_of_key(self, model: str, idempotency_key: str) -> Request:
        """The model's request that was filed under that key. Raises UnknownNameError."""
        with self._chain.read() as connection:
            found = _same_key(connection, model, idempotency_key)
        return found or _unknown(f"retrain request of {model} with the key", idempotency_key)

    def turned_down(self, model: str) -> list[int]:
        """The versions turned down in a row, which stop the broker when they are too many: see
        ratchet.ledger.broker.turned_down."""
        with self._chain.read() as connection:
            return turned_down(connection, model)

    def batch(self, id: str) -> Batch:
        """The batch of that id. Raises UnknownNameError."""
        with self._chain.read() as connection:
            return _batch(connection, id)

    def batches(self, model: str) -> list[Batch]:
        """The model's batches, in the order they were opened."""
        with self._chain.read() as connection:
            return read_all(connection, Batch, batches, batches.c.model == model, order=(batches.c.id,))

    def batch_of_run(self, model: str, run_id: str) -> Batch:
        """The model's batch whose newest run is this one. Raises UnknownNameError."""
        mine = (batches.c.model == model, batches.c.run_id == run_id)
        with self._chain.read() as connection:
            found = read_one(connection, Batch, batches, *mine, order=(batches.c.started_at.desc(),))
        return found or _unknown(f"batch of {model} in run", run_id)

    def open_batches(self) -> list[Batch]:
        """Every training still to be finished: batches "open" or "started", of all models, oldest first.

        A started one is among them because its run may have died; who starts runs looks at that."""
        unfinished = batches.c.status.in_(("open", "started"))
        with self._chain.read() as connection:
            return read_all(connection, Batch, batches, unfinished, order=(batches.c.id,))

    def start_batch(self, id: str, run_id: str, model: str) -> Batch:
        """Say that a run works on the batch. The same run again, and any run on a batch that is done, change nothing;
        another run takes a started or failed batch over, and takes a snapshot of its own.

        Raises UnknownNameError; ParameterError when the batch is another model's; ConflictError when a failed batch has
        been replaced by another of the same training.
        """
        check_words(run_id=run_id)
        with self._chain.write() as transaction:
            known = _batch(transaction.connection, id)
            if known.model != model:
                raise ParameterError(
                    f"batch {known.id} is a training of another model",
                    seen=model,
                    expected=known.model,
                    hint=f"pass a batch of {model}, or run the training of {known.model}",
                )
            if known.status == "done" or (known.status == "started" and known.run_id == run_id):
                return known
            if known.status == "failed" and (rival := _same_training(transaction.connection, known)):
                raise ConflictError(
                    f"batch {known.id} failed, and {rival.id} is there in its place",
                    hint=f"run batch {rival.id}",
                )
            change = {"status": "started", "run_id": run_id, "attempts": known.attempts + 1, "snapshot": None}
            return _move(transaction, known, "batch_started", **change, started_at=transaction.now, finished_at=None)

    def set_batch_snapshot(self, id: str, run_id: str, snapshot: str) -> Batch:
        """Keep which training input the run took, by its digest. The same again changes nothing, also on a done batch.

        Raises UnknownNameError; ConflictError when another run holds the batch, when nobody has started it, or when it
        is done, from another snapshot.
        """
        check_words(run_id=run_id, snapshot=snapshot)
        with self._chain.write() as transaction:
            known = _batch(transaction.connection, id)
            held = known.status == "started" and known.run_id == run_id
            if known.snapshot == snapshot and (held or known.status == "done"):
                return known
            if not held:
                raise ConflictError(
                    f"batch {known.id} takes no snapshot of run {run_id}",
                    seen=f"{known.status}, run {known.run_id}, snapshot {known.snapshot}",
                    expected=f"a batch that run {run_id} has started",
                    hint="read the batch again; a batch that is done needs no other run",
                )
            return _move(transaction, known, "snapshot_taken", run_id=run_id, snapshot=snapshot)

    def finish_batch(self, id: str, status: str, challenger_version: int | None = None) -> Batch:
        """Close the batch as "done", with the version it led to, or "failed". The same again changes nothing.

        Raises UnknownNameError; ConflictError when the batch was closed otherwise, or is to be done without a start.
        """
        if status not in ("done", "failed"):
            raise ParameterError("a batch can't end so", seen=status, expected="done or failed", hint="pass either")
        with self._chain.write() as transaction:
            known = _batch(transaction.connection, id)
            if (known.status, known.challenger_version) == (status, challenger_version):
                return known
            if known.status != "started" and (known.status, status) != ("open", "failed"):
                raise ConflictError(
                    f"batch {known.id} can't be finished as {status}",
                    seen=f"{known.status}, version {known.challenger_version}",
                    expected="a started batch",
                    hint="read the batch again; start it before finishing it",
                )
            change = {"status": status, "challenger_version": challenger_version, "finished_at": transaction.now}
            return _move(transaction, known, "batch_finished", **change)

    def note_given_up(self, model: str, key: str, dag_id: str, attempts: int) -> None:
        """Put on record that no more runs of that DAG are started for what was due under `key`. Once per key."""
        check_words(model=model, key=key, dag_id=dag_id)
        noted = {"key": key, "dag_id": dag_id, "attempts": attempts}
        with self._chain.write() as transaction:
            before = select(events.c.payload).where(events.c.subject == f"models/{model}", events.c.kind == "given_up")
            if key not in {json.loads(payload)["key"] for payload in transaction.connection.scalars(before)}:
                transaction.append("given_up", f"models/{model}", noted)


def _same_key(connection: Connection, model: str, key: str | None) -> Request | None:
    if key is None:
        return None
    return read_one(connection, Request, requests, requests.c.model == model, requests.c.idempotency_key == key)


def _outcome(known: Request) -> RequestOutcome:
    return RequestOutcome(known.id, known.status, known.batch_id, known.explanation)


def _decide(
    transaction: Transaction, *, model: str, as_of: str, recipe: str, source: str, rules: Rules | None
) -> tuple[str, str | None, str]:
    connection, forced = transaction.connection, source == "person"
    of_day = (batches.c.model == model, batches.c.as_of == as_of, batches.c.status != "failed")
    for known in read_all(connection, Batch, batches, *of_day, order=(batches.c.id.desc(),)):
        if known.recipe == recipe or known.status == "open":
            return "merged", known.id, _merged(known)
    if rules and not forced and (why := held_back(connection, model, as_of, rules)):
        return "suppressed", None, why
    row = {
        "id": next_id(connection, batches, "b"),
        "model": model,
        "as_of": as_of,
        "recipe": recipe,
        "forced": forced,
        "status": "open",
        "run_id": None,
        "attempts": 0,
        "snapshot": None,
        "challenger_version": None,
        "opened_at": transaction.now,
        "started_at": None,
        "finished_at": None,
    }
    row = transaction.add(batches, row)
    transaction.append("batch_opened", f"models/{model}/batches/{row['id']}", row)
    return "accepted", row["id"], f"batch {row['id']} will train {model} as of {as_of}"


def _merged(batch: Batch) -> str:
    if batch.status == "done":
        return f"batch {batch.id} has done this training: version {batch.challenger_version} came of it"
    if batch.status == "started":
        return f"batch {batch.id} is doing this training, in run {batch.run_id}"
    return f"batch {batch.id} will do this training"


def _same_training(connection: Connection, batch: Batch) -> Batch | None:
    same = (batches.c.model == batch.model, batches.c.as_of == batch.as_of, batches.c.recipe == batch.recipe)
    return read_one(connection, Batch, batches, *same, batches.c.status != "failed")


def _move(transaction: Transaction, known: Batch, kind: str, **change: object) -> Batch:
    transaction.change(batches, {"id": known.id}, **change)
    transaction.append(kind, f"models/{known.model}/batches/{known.id}", {"id": known.id, **change})
    return _batch(transaction.connection, known.id)


def _batch(connection: Connection, id: str) -> Batch:
    return read_one(connection, Batch, batches, batches.c.id == str(id)) or _unknown("batch", id)


def _unknown(what: str, id: object):
    raise UnknownNameError(f"no {what} {id!r}", hint="see `ratchet status` for those there are")
