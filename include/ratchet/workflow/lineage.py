"""From one stored prediction back to everything that made it: what an auditor asks. Reads only."""

from __future__ import annotations

from collections.abc import Mapping

from ratchet.deployment import Deployment
from ratchet.errors import DropError, UnknownNameError
from ratchet.ledger import Challenger, Champion, Partition, Routing, Scored
from ratchet.prediction_ids import parse_prediction_id
from ratchet.windows import in_order
from ratchet.workflow.record import approval_of, gate_said, promotion_of


def explain_prediction(deployment: Deployment, prediction: str) -> dict:
    """All that the records say of a prediction, by its id (see ratchet.prediction_ids).

    {prediction: its row, scoring: which run of scoring that was, inputs: the drops that its features came from,
    version: who the model is and what it was trained from, gate: the verdict, approval: who said yes and who asked,
    canary: None, or the routing under which that version, which was no champion, served the row; then nobody had
    approved it as champion, champion: the move that had put the champion of then in place}. A drop: dataset, day,
    revision, sha256, delivered_at, published_by, table_version (of the dataset, as it was published from it), address
    and source (None where no file of that sha256 lies there any more). Raises UnknownNameError where there is no such
    prediction, ParameterError for what is no prediction's id.
    """
    model, day = parse_prediction_id(prediction)
    deployment.model(model)
    row = _stored(deployment, model, day, prediction)
    scored = _scoring(deployment, model, day, row)
    challenger = deployment.ledger.challenger(model, row["model_version"])
    move = _move(deployment, scored, row)
    promoted = promotion_of(deployment, model, move.version, move.epoch)
    canary = deployment.ledger.routing(model, row["routing"]) if row["model_version"] != scored.version else None
    return {
        "prediction": row,
        "scoring": {"revision": scored.revision, "recorded_at": scored.recorded_at, "rows": scored.rows},
        "inputs": _drops(deployment, scored.partitions),
        "version": _version(deployment, challenger),
        "gate": _gate_of_canary(deployment, canary) if canary else _gate(deployment, promoted),
        "approval": None if canary else _approval(deployment, challenger, promoted),
        "canary": canary and _canary(canary),
        "champion": {"epoch": move.epoch, "how": move.how, "moved_at": move.moved_at, "actor": move.actor},
    }


def _stored(deployment: Deployment, model: str, day: str, prediction: str) -> dict:
    rows = deployment.lake.read(f"predictions/{model}", day, day)
    found = rows[rows["prediction_id"] == prediction] if "prediction_id" in rows else rows.iloc[:0]
    if found.empty:
        raise UnknownNameError(
            f"no prediction {prediction}",
            seen=f"{len(rows)} predictions of {model} on {day}",
            hint=f"take the id from the column prediction_id of predictions/{model}",
        )
    return {name: value.item() if hasattr(value, "item") else value for name, value in found.iloc[0].items()}


def _scoring(deployment: Deployment, model: str, day: str, row: Mapping) -> Scored:
    """The scoring on record that wrote this row: the newest of its day from these inputs, under this routing, and
    without one by this version."""
    routing = row["routing"] or None
    wanted = (row["inputs_digest"], routing)
    same = [one for one in deployment.ledger.scorings(model, day, day) if (one.inputs_digest, one.routing) == wanted]
    found = [one for one in same if routing or one.version == row["model_version"]]
    if not found:
        raise UnknownNameError(
            f"the scoring that wrote this prediction is not on record yet: {model}, {day}",
            hint=f"run {model}.score for that day again, which records it",
        )
    return max(found, key=lambda one: one.revision)


def _move(deployment: Deployment, scored: Scored, row: Mapping) -> Champion:
    """The move that had put the champion in place that scored the day."""
    moves = [one for one in deployment.ledger.champion_history(scored.model) if one.version == scored.version]
    before = [one for one in moves if one.moved_at <= row["scored_at"]]
    return max(before or moves, key=lambda one: one.epoch)


def _drops(deployment: Deployment, partitions: Mapping[str, Mapping[str, list]]) -> list[dict]:
    """{dataset: {day: [revision, ...]}} as the drops that these revisions were made from."""
    told = []
    for dataset, days in partitions.items():
        if not days:
            continue
        revisions = deployment.ledger.partition_revisions(dataset, min(days), max(days))
        for day, (revision, *_) in sorted(days.items()):
            told += [_drop(deployment, one) for one in revisions.get(day, []) if one.revision == revision]
    return told


def _drop(deployment: Deployment, partition: Partition) -> dict:
    try:
        there = deployment.drops.find(partition.dataset, partition.day)
    except DropError:
        there = None
    same = there is not None and there.sha256 == partition.drop_sha256
    return {
        "dataset": partition.dataset,
        "day": partition.day,
        "revision": partition.revision,
        "sha256": partition.drop_sha256,
        "delivered_at": partition.delivered_at,
        "published_by": partition.actor,
        "table_version": partition.table_version,
        "address": there.address if same else None,
        "source": there.source if same else None,
    }


def _version(deployment: Deployment, challenger: Challenger) -> dict:
    records = deployment.ledger.snapshots(challenger.model, challenger.as_of)
    snapshot = next((one for one in records if one.digest == challenger.snapshot), None)
    trained_from = {} if snapshot is None else snapshot.partitions
    return {
        "version": challenger.version,
        "identity": challenger.identity,
        "model_digest": challenger.model_digest,
        "trained_as_of": challenger.as_of,
        "windows": in_order(challenger.windows),
        "snapshot": challenger.snapshot,
        "trained_from": {
            dataset: {day: {"revision": of[0], "sha256": of[2]} for day, of in days.items()}
            for dataset, days in trained_from.items()
        },
        "built_from": {name: value for name, value in challenger.manifest.items() if name != "proof"},
        "url": deployment.registry.version_url(challenger.model, challenger.version),
    }


def _gate(deployment: Deployment, promoted: Champion) -> dict | None:
    """What the gate said when the version became champion; broken glass stands in for it."""
    model, version, digest = promoted.model, promoted.version, promoted.verdict_digest
    if promoted.how == "break_glass":
        glass = deployment.ledger.broken_glass(model, version, digest)
        said = {"digest": glass.digest, "reason": glass.reason, "by": glass.actor, "gate_had_said": glass.gate_verdict}
        return {"verdict": "BREAK GLASS", **said}
    return gate_said(next((one for one in deployment.ledger.verdicts(model, version) if one.digest == digest), None))


def _gate_of_canary(deployment: Deployment, canary: Routing) -> dict | None:
    said = deployment.ledger.verdicts(canary.model, canary.version)
    return gate_said(next((one for one in said if one.digest == canary.verdict_digest), None))


def _canary(of: Routing) -> dict:
    started = ("id", "share", "first_day", "last_day", "started_at", "reason", "run_id")
    ended = ("ended_how", "ended_why", "ended_by", "ended_at")
    return {**{name: getattr(of, name) for name in (*started, *ended)}, "started_by": of.actor}


def _approval(deployment: Deployment, challenger: Challenger, promoted: Champion) -> dict:
    asked = [one for one in deployment.ledger.requests(challenger.model) if one.batch_id == challenger.batch_id]
    approval = approval_of(deployment, promoted)
    return {
        "by": approval.responded_by,
        "at": approval.responded_at,
        "run": approval.run_id,
        "asked_by": approval.asked_by,
        "requests": [{"id": one.id, "by": one.actor, "reason": one.reason, "source": one.source} for one in asked],
    }
