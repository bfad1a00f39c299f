"""What moved, whether it hurts, and how sure we are; and the retrain request that may follow."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ratchet.days import check_day, shift_day
from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.errors import EmptyWindowError, ParameterError
from ratchet.published import as_known
from ratchet.specs import ModelSpec
from ratchet.windows import known_before
from ratchet.workflow.promotion import load_version, reconcile_alias
from ratchet.workflow.training import high_water_mark, request_retrain


def check_drift(deployment: Deployment, model: str, as_of: str | None = None) -> dict:
    """Compare the days that the champion scored last with the rows it was judged on, and file a retrain request where
    the spec says so.

    Window: the spec's `watch.window_days` event days whose outcomes are known as of `as_of` (default: the data's
    high-water mark). Reference: the champion's judge window, scored by it. Performance: on days whose outcomes have
    arrived. Once per champion and inputs: a second call returns the first result. Appends to the table
    drift/<model>; the Evidently page goes to the registry. Returns {status, drifted, share, performance, report, ...}.
    Raises ParameterError for an as-of day that the data has not reached, EmptyWindowError for one without data.
    """
    from ratchet import drift
    from ratchet.score import score_frame
    from ratchet.snapshot import build_inputs, load_snapshot, read_labels

    spec, ledger, lake = deployment.model(model), deployment.ledger, deployment.lake
    read_at = lake.state(f"drift/{model}")
    reconcile_alias(deployment, model)
    champion = ledger.champion(model)
    if champion is None:
        return {"status": "no champion", "explanation": f"{model} has no champion yet: nothing to watch"}
    as_of = _checked_as_of(deployment, spec, as_of)
    last = shift_day(as_of, -spec.label_delay_days)
    first = shift_day(last, 1 - spec.watch.window_days)
    scored = {
        day: s for day, s in ledger.scored_days(model).items() if first <= day <= last and s.version == champion.version
    }
    if not scored:
        told = f"no day from {first} to {last} was scored by version {champion.version}"
        return {"status": "not enough data", "explanation": told}

    before = known_before(as_of, deployment.dataset(spec.outcome_dataset).zone)
    revisions = ledger.partition_revisions(spec.outcome_dataset, min(scored), max(scored))
    outcomes = {day: known.digest for day, all_of in revisions.items() if (known := as_known(all_of, before))}
    inputs = {day: [s.inputs_digest, outcomes.get(day)] for day, s in scored.items()}
    watched = [spec.watch.model_dump(), spec.retrain_when.model_dump()]
    key = digest_of([model, champion.version, as_of, inputs, watched])
    for known in ledger.checks(model):
        if known.key == key:
            requests = _ask_retrain(deployment, model, known.result["ask_retrain"], as_of, key)  # made up for, if lost
            return {**known.result, "status": "unchanged", "report": known.report_url, "requests": requests}

    predictions = lake.read(f"predictions/{model}", days=scored)
    of_record = predictions["day"].map({day: one.inputs_digest for day, one in scored.items()})
    by_champion = predictions["model_version"] == champion.version
    predictions = predictions[by_champion & (predictions["inputs_digest"] == of_record)]
    current = build_inputs(spec, deployment.datasets.good, deployment.published, min(scored), max(scored), as_of)
    keys = deployment.dataset(spec.scored_dataset).key
    current = current.merge(predictions[[*keys, "score"]], on=keys, how="inner", validate="one_to_one")
    challenger = ledger.challenger(model, champion.version)
    snapshot = load_snapshot(deployment.lake.storage, model, challenger.snapshot)
    reference = snapshot.frame[snapshot.frame["window"] == "judge"]
    if reference.empty or current.empty:
        raise EmptyWindowError(
            f"{model}: nothing to compare", seen=f"{len(reference)} against {len(current)} rows", hint="score first"
        )
    reference = reference.assign(score=score_frame(load_version(deployment, model, champion.version), reference, spec))
    labels = read_labels(spec, deployment.datasets.good, deployment.published, min(scored), max(scored), as_of)
    performance = current[[*keys, "day", "score"]].merge(labels[[*keys, "label"]], on=keys, how="inner")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "drift.html"
        found = drift.check_drift(spec, reference, current, performance, report_path=page)
        result = {"window": [min(scored), max(scored)], "as_of": as_of, "version": champion.version, **found.as_dict()}
        report = deployment.registry.log_report(f"{model}.drift", key, {"drift.html": page}, metrics=found.numbers())
    _append_history(lake, model, as_of, key, champion.version, found, read_at)
    ledger.record_check(model, as_of, champion.version, key, result, report)
    requests = _ask_retrain(deployment, model, found.ask_retrain, as_of, key)
    return {**result, "status": "checked", "report": report, "requests": requests}


def _checked_as_of(deployment: Deployment, spec: ModelSpec, as_of: str | None) -> str:
    newest = high_water_mark(deployment, spec)
    if as_of is None:
        return newest
    last = shift_day(check_day(as_of, "as_of"), -spec.label_delay_days)
    if as_of > newest:
        raise ParameterError(
            f"{spec.name} can't be checked as of a day that its data has not reached",
            seen=f"as_of={as_of}",
            expected=f"{newest} at the latest",
            hint="leave as_of empty for the newest data",
        )
    first = shift_day(last, 1 - spec.watch.window_days)
    if not deployment.ledger.partitions(spec.scored_dataset, first, last):
        raise EmptyWindowError(
            f"{spec.name} has no data to check as of {as_of}",
            seen=f"no partition of {spec.scored_dataset} from {first} to {last}",
            hint=f"ingest {spec.scored_dataset}, or take a later as_of",
        )
    return as_of


def _ask_retrain(deployment: Deployment, model: str, reasons: list[str], as_of: str, key: str) -> list[dict]:
    """File a retrain request for each reason, once a check."""
    return [
        request_retrain(
            deployment,
            model,
            reason=reason,
            source="drift",
            actor="check_drift",
            as_of=as_of,
            idempotency_key=digest_of([key, reason]),
        )
        for reason in reasons
    ]


def _append_history(lake, model: str, as_of: str, key: str, version: int, found, read_at: int) -> None:
    """Add the check to the table drift/<model>: a row per watched column (statistic, threshold, drifted, null shares)
    and one for performance. Partition: the as-of day. The same check again replaces its own rows only."""
    import pandas as pd

    table = f"drift/{model}"
    auc = found.performance
    rows = [{**vars(column)} for column in found.columns]
    rows.append({"column": "(performance)", "statistic": auc and auc.value, "current_rows": auc and auc.rows})
    check = pd.DataFrame(rows).assign(key=key, model_version=version, checked_at=pd.Timestamp.now("UTC").as_unit("us"))
    known = lake.read(table, as_of, as_of)
    others = known[known["key"] != key].drop(columns="day") if len(known) else check.iloc[:0]
    rows = pd.concat([others, check], ignore_index=True).assign(day=as_of)
    lake.publish(table, as_of, rows, read_at=read_at)
