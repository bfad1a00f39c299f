"""What moved, whether it hurts, and how sure we are; and the retrain request that may follow."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.days import check_day, days_between, shift_day
from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.errors import EmptyWindowError, ParameterError
from ratchet.specs import ModelSpec
from ratchet.workflow.check_basis import Basis, changed_days, check_key, is_reference_erased, read_basis, stands
from ratchet.workflow.promotion import reconcile_alias
from ratchet.workflow.training import high_water_mark, request_retrain
from ratchet.workflow.versions import load_version

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.drift import DriftResult
    from ratchet.ledger import Check
    from ratchet.unusual_days import Unusual


def check_drift(deployment: Deployment, model: str, as_of: str | None = None) -> dict:
    """Compare the days that the champion scored last with the rows it was judged on, and file a retrain request where
    the spec says so.

    Window: the spec's `watch.window_days` event days whose outcomes are known as of `as_of` (default: the data's
    high-water mark). Reference: the champion's judge window, scored by it. Performance: the spec's metric on days whose
    outcomes have arrived. Once per champion and inputs: a second call returns the first result. Once a day of it was
    restated, scored again or got its outcomes late, a call as of the same day makes the check again, and the new one
    `replaces` (a key, or None) the one before. Appends to the table drift/<model>; the Evidently page goes to the
    registry.

    Returns {status, drifted, share, metric, performance, worse_by, report, requests, replaces, days: {day: what it was
    made from}, data: {dataset: days that were unlike the reference's, or None where that can't be told}, ...}. The
    status is "not enough data" where neither drift nor performance could be told, as after the reference was erased;
    `explanation` says why. Raises ParameterError for an as-of day that the data has not reached, EmptyWindowError for
    one without data.
    """
    spec, ledger = deployment.model(model), deployment.ledger
    read_at = deployment.lake.state(f"drift/{model}")
    reconcile_alias(deployment, model)
    champion = ledger.champion(model)
    if champion is None:
        return {"status": "no champion", "explanation": f"{model} has no champion yet: nothing to watch"}
    as_of = _checked_as_of(deployment, spec, as_of)
    first, last = _window(spec, as_of)
    basis = read_basis(deployment, spec, champion.version, as_of, first, last)
    known = ledger.newest_check(model, champion.version, as_of)
    if known and stands(spec, known, basis):
        requests = _ask_retrain(deployment, known)  # made up for, if lost
        return {**known.result, "status": "unchanged", "report": known.report_url, "requests": requests}
    if not basis.scored:
        told = f"no day from {first} to {last} was scored by version {champion.version}"
        return {"status": "not enough data", "explanation": told}
    if is_reference_erased(deployment, model, champion.version):
        told = f"the rows that version {champion.version} was judged on were erased: nothing to compare with"
        return {"status": "not enough data", "explanation": f"{told} until there is another champion"}
    check = _make_check(deployment, spec, champion.version, as_of, basis, known, read_at)
    requests = _ask_retrain(deployment, check)
    told = check.result["enough_data"] or check.result["performance"]
    status = "checked" if told else "not enough data"
    return {**check.result, "status": status, "report": check.report_url, "requests": requests}


def _make_check(
    deployment: Deployment,
    spec: ModelSpec,
    version: int,
    as_of: str,
    basis: Basis,
    known: Check | None,
    read_at: int,
) -> Check:
    """Measure, and keep what was found: the page in the registry, the table's rows, and last the ledger's record.
    `known`: the check that this one takes the place of."""
    from ratchet import drift

    replaces, window = known and known.key, [min(basis.scored), max(basis.scored)]
    key = check_key(spec, version, as_of, basis, replaces)
    data = _look_at_data(deployment, spec, version, window)
    notes = [*_told_again(known, basis), *_told_of_data(data)]
    frames = _frames(deployment, spec, version, basis, as_of)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "drift.html"
        found = drift.check_drift(spec, *frames, report_path=page, notes=notes)
        report = deployment.registry.log_report(
            f"{spec.name}.drift", key, {"drift.html": page}, metrics=found.numbers()
        )
    about = {"window": window, "as_of": as_of, "version": version, "replaces": replaces, "days": basis.days}
    told = {name: days and [asdict(one) for one in days] for name, days in data.items()}
    _append_history(deployment, spec.name, about, key, found, read_at)
    return deployment.ledger.record_check(
        spec.name, as_of, version, key, {**about, "data": told, **found.as_dict()}, report
    )


def _window(spec: ModelSpec, as_of: str) -> tuple[str, str]:
    last = shift_day(as_of, -spec.label_delay_days)
    return shift_day(last, 1 - spec.watch.window_days), last


def _frames(deployment: Deployment, spec: ModelSpec, version: int, basis: Basis, as_of: str) -> tuple:
    """The reference, the days of now, and those of their rows whose outcomes are known; each with its scores."""
    from ratchet.snapshot import build_inputs, read_labels

    published = (spec, deployment.datasets.good, deployment.published, min(basis.scored), max(basis.scored), as_of)
    keys = deployment.dataset(spec.scored_dataset).key
    predictions = _predictions(deployment, spec, version, basis)[[*keys, *spec.score_columns]]
    current = build_inputs(*published).merge(predictions, on=keys, how="inner", validate="one_to_one")
    labels = read_labels(*published)
    performance = current[[*keys, "day", *spec.score_columns]].merge(labels[[*keys, "label"]], on=keys, how="inner")
    return _reference(deployment, spec, version), current, performance


def _reference(deployment: Deployment, spec: ModelSpec, version: int) -> pd.DataFrame:
    """The judge window's rows, scored by the version from the features that it was trained on: the spec of now may ask
    for others, which its snapshot lacks."""
    from ratchet.score import score_frame
    from ratchet.snapshot import load_snapshot

    challenger = deployment.ledger.challenger(spec.name, version)
    frame = load_snapshot(deployment.lake.storage, spec.name, challenger.snapshot).frame
    rows, made = frame[frame["window"] == "judge"], challenger.manifest.get("spec", {})
    features = {name: made[name] for name in ("numeric_features", "categorical_features") if name in made}
    scores = score_frame(load_version(deployment, spec.name, version), rows, spec.model_copy(update=features))
    return rows.join(scores)


def _predictions(deployment: Deployment, spec: ModelSpec, version: int, basis: Basis) -> pd.DataFrame:
    """Those on record: by this version, from the inputs that the ledger names. Of a class that the spec did not have
    when they were made the score is 0, as the model would say it now."""
    rows = deployment.lake.read(f"predictions/{spec.name}", days=basis.scored)
    of_record = rows["day"].map({day: one.inputs_digest for day, one in basis.scored.items()})
    mine = rows[(rows["model_version"] == version) & (rows["inputs_digest"] == of_record)]
    scores = mine.reindex(columns=spec.score_columns)
    scored = scores.notna().any(axis="columns")
    return mine.assign(**scores.mask(scores.isna().mul(scored, axis="index"), 0.0))


def _look_at_data(
    deployment: Deployment, spec: ModelSpec, version: int, window: list[str]
) -> dict[str, list[Unusual] | None]:
    """By dataset, the days of the window whose data were unlike those of the judge window, as last checked."""
    from ratchet.unusual_days import unusual_days

    judged = deployment.ledger.challenger(spec.name, version).windows["judge"]
    found = {}
    for name in sorted({*spec.inputs, spec.outcome_dataset}):
        was, now = (deployment.lake.read(f"history/{name}", *days) for days in (judged, window))
        daily = name not in spec.inputs or not spec.inputs[name].latest
        found[name] = unusual_days(name, was, now, days_between(*window) if daily else [])
    return found


def _told_of_data(data: dict[str, list[Unusual] | None]) -> list[str]:
    lines = []
    for name, found in data.items():
        if found is None:
            lines.append(f"{name}: too few days in the reference to tell what is usual")
        else:
            lines += [str(one) for one in found] or [f"{name}: no day's data stand out"]
    return lines


def _told_again(known: Check | None, basis: Basis) -> list[str]:
    if known is None:
        return []
    days = ", ".join(changed_days(known, basis)) or "none: other settings"
    return [f"made again in place of check {known.key[:12]}; days that hold something else now: {days}"]


def _checked_as_of(deployment: Deployment, spec: ModelSpec, as_of: str | None) -> str:
    newest = high_water_mark(deployment, spec)
    if as_of is None:
        return newest
    first, last = _window(spec, check_day(as_of, "as_of"))
    if as_of > newest:
        raise ParameterError(
            f"{spec.name} can't be checked as of a day that its data has not reached",
            seen=f"as_of={as_of}",
            expected=f"{newest} at the latest",
            hint="leave as_of empty for the newest data",
        )
    if not deployment.ledger.partitions(spec.scored_dataset, first, last):
        raise EmptyWindowError(
            f"{spec.name} has no data to check as of {as_of}",
            seen=f"no partition of {spec.scored_dataset} from {first} to {last}",
            hint=f"ingest {spec.scored_dataset}, or take a later as_of",
        )
    return as_of


def _ask_retrain(deployment: Deployment, check: Check) -> list[dict]:
    """File a retrain request for each reason, once for a version and day: a check made again asks no second time."""
    return [
        request_retrain(
            deployment,
            check.model,
            reason=reason,
            source="drift",
            actor="check_drift",
            as_of=check.as_of,
            idempotency_key=digest_of(["drift", check.version, check.as_of, reason]),
        )
        for reason in check.result["ask_retrain"]
    ]


def _append_history(
    deployment: Deployment, model: str, about: dict, key: str, found: DriftResult, read_at: int
) -> None:
    """Add the check to the table drift/<model>: a row per watched column (method, statistic, threshold, drifted, null
    shares) and one for performance (`method`: the metric), each with the check's `key` and the key of the check that it
    `replaces`. Partition: the as-of day. The same check again leaves the same rows (when it was made is for the ledger
    to say), and the rows of one that was killed before it was recorded go."""
    import pandas as pd

    table, as_of, version, now = f"drift/{model}", about["as_of"], about["version"], found.performance
    rows = [{**vars(column)} for column in found.columns]
    performance = {"statistic": now and now.value, "current_rows": now and now.rows}
    rows.append({"column": "(performance)", "method": found.metric, **performance})
    check = pd.DataFrame(rows).assign(key=key, replaces=about["replaces"], model_version=version)
    there = deployment.lake.read(table, as_of, as_of)
    if len(there):
        recorded = [one.key for one in deployment.ledger.checks(model)]
        others = there[(there["model_version"] != version) | there["key"].isin(set(recorded) - {key})]
        check = pd.concat([others.drop(columns="day"), check], ignore_index=True)
    deployment.lake.publish(table, as_of, check, read_at=read_at)
