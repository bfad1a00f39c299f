"""What a challenger's shadow scorings are evidence of: weighed on all days anew whenever one of them has changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.ledger import Challenger, Champion, FieldEvidence, Scored
from ratchet.specs import ModelSpec
from ratchet.workflow.evidence import days_of_few_outcomes
from ratchet.workflow.scoring import rows_of_record
from ratchet.workflow.shadow import days_to_shadow, scored_by_champion, shadow_of, wanted_version

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.field_test.evidence import Weighed


def weigh_evidence(deployment: Deployment, model: str, version: int | None = None) -> dict:
    """Compare a challenger (None: see `shadow_of`) with the champion of now on all days that both have scored and whose
    outcomes have come (see ratchet.field_test.evidence), and keep what that says: a page in the registry, and the
    ledger's record, once per what it is made from. The newest stands; it names the one before it in `replaces`. Returns
    the evidence with {version, champion, report}; `state` None where there is nothing to weigh."""
    spec = deployment.model(model)
    challenger, champion = wanted_version(deployment, spec, version), deployment.ledger.champion(model)
    basis = evidence_basis(deployment, spec, challenger) if challenger else {}
    if not basis:
        return {"version": challenger and challenger.version, "state": None, "says": "nothing to weigh yet"}
    known = deployment.ledger.newest_evidence(model, challenger.version, champion.version)
    if not _stands(spec, challenger, champion, basis, known):
        known = _weigh(deployment, spec, challenger, champion, basis, known and known.key)
    return {**known.result, "version": known.version, "champion": known.champion_version, "report": known.report_url}


def evidence_basis(deployment: Deployment, spec: ModelSpec, challenger: Challenger) -> dict[str, str]:
    """By day that champion and challenger have scored from the same inputs and that has outcomes: a digest of both."""
    shadows = deployment.ledger.shadow_days(spec.name, challenger.version)
    both = {
        day: one.inputs_digest
        for day, one in scored_by_champion(deployment, spec, challenger).items()
        if day in shadows and shadows[day].inputs_digest == one.inputs_digest
    }
    if not both:
        return {}
    outcomes = deployment.ledger.partitions(spec.outcome_dataset, min(both), max(both))
    return {one.day: digest_of([both[one.day], one.digest]) for one in outcomes if one.day in both}


def evidence_key(
    spec: ModelSpec, challenger: Challenger, champion: Champion, basis: Mapping[str, str], replaces: str | None
) -> str:
    """The identity of evidence: what it is made from, and the record that it takes the place of."""
    who = [spec.name, challenger.version, champion.version, champion.epoch]
    return digest_of([*who, basis, spec.promote_if.alpha, spec.task, replaces])


def _stands(
    spec: ModelSpec,
    challenger: Challenger,
    champion: Champion,
    basis: Mapping[str, str],
    known: FieldEvidence | None,
) -> bool:
    """Whether the newest record, made now, would come out under the same key."""
    return known is not None and known.key == evidence_key(
        spec, challenger, champion, basis, known.result.get("replaces")
    )


def shadow_due(deployment: Deployment, spec: ModelSpec) -> str | None:
    """A name for what `<model>.shadow` has to do for the newest challenger, from the ledger alone; None for nothing."""
    challenger = shadow_of(deployment, spec)
    if challenger is None or deployment.ledger.shadow_failure(spec.name, challenger.version):
        return None
    champion = deployment.ledger.champion(spec.name)
    days = {day: one.inputs_digest for day, one in days_to_shadow(deployment, spec, challenger).items()}
    basis = evidence_basis(deployment, spec, challenger)
    known = deployment.ledger.newest_evidence(spec.name, challenger.version, champion.version)
    if not days and (not basis or _stands(spec, challenger, champion, basis, known)):
        return None
    key = evidence_key(spec, challenger, champion, basis, known and known.key)
    return f"v{challenger.version}__{digest_of([days, key])[:12]}"


def _weigh(
    deployment: Deployment,
    spec: ModelSpec,
    challenger: Challenger,
    champion: Champion,
    basis: Mapping[str, str],
    replaces: str | None,
) -> FieldEvidence:
    from ratchet.field_test.evidence import weigh
    from ratchet.field_test.losses import daily_losses

    key = evidence_key(spec, challenger, champion, basis, replaces)
    rows, late, unusable = _rows(deployment, spec, challenger.version, champion.version, basis)
    weighed = weigh(spec, daily_losses(spec, rows))
    notes = [f"left out, most outcomes are still to come: {', '.join(late)}"] if late else []
    without = [f"left out, labels that can't be used: {unusable} rows"] if unusable else []
    url = _file_page(deployment, spec, challenger, champion, weighed, [*notes, *without], key)
    evidence = weighed.evidence.as_dict() | {"says": "; ".join([weighed.evidence.says, *without])}
    return deployment.ledger.record_evidence(
        spec.name,
        key,
        challenger.version,
        champion.version,
        max(basis),
        {**evidence, "late_days": late, "unusable_labels": unusable, "replaces": replaces},
        url,
    )


def _file_page(
    deployment: Deployment,
    spec: ModelSpec,
    challenger: Challenger,
    champion: Champion,
    weighed: Weighed,
    notes: list[str],
    key: str,
) -> str:
    from ratchet.field_test.page import evidence_page

    title = f"{spec.name} version {challenger.version} in the shadow of version {champion.version}"
    found = weighed.evidence
    numbers = {name: getattr(found, name) for name in ("value", "low", "high") if getattr(found, name) is not None}
    page = {"evidence.html": evidence_page(title, weighed, notes)}
    return deployment.registry.log_report(f"{spec.name}.shadow", key, page, {**numbers, "days": found.days})


def _rows(
    deployment: Deployment, spec: ModelSpec, version: int, champion: int, basis: Mapping[str, str]
) -> tuple[pd.DataFrame, list[str], int]:
    """Rows with an outcome of the days of `basis` and both models' scores; the days left out because most of their
    outcomes are still to come: those that come first are not like the others; and how many rows of the other days are
    left out because their label can't be used."""
    import pandas as pd

    from ratchet.labels import split_usable
    from ratchet.snapshot import read_labels

    key = deployment.dataset(spec.scored_dataset).key
    record = deployment.ledger.scored_days(spec.name)
    days = {day: record[day] for day in basis}
    scored = _scores(deployment, spec, f"predictions/{spec.name}", champion, days, "champion")
    unseen = _scores(deployment, spec, f"shadow/{spec.name}", version, days, "challenger")
    labels = read_labels(spec, deployment.datasets.good, deployment.published, min(basis), max(basis))
    both = scored.merge(unseen.drop(columns="day"), on=key, how="inner", validate="one_to_one")
    rows = both.merge(labels[[*key, "label"]], on=key, how="inner", validate="one_to_one")
    has_outcome = pd.Series(both.set_index(key).index.isin(labels.set_index(key).index))
    late = days_of_few_outcomes(has_outcome, both["day"].to_numpy())
    usable, left_out = split_usable(spec, rows[~rows["day"].isin(late)])
    return usable, late, left_out


def _scores(
    deployment: Deployment, spec: ModelSpec, table: str, version: int, days: Mapping[str, Scored], who: str
) -> pd.DataFrame:
    """A version's scores of the inputs that the ledger names: key, day, and `<who>_<score column>`."""
    key = deployment.dataset(spec.scored_dataset).key
    mine = rows_of_record(deployment, table, version, days)
    return mine[[*key, "day", *spec.score_columns]].rename(columns={c: f"{who}_{c}" for c in spec.score_columns})
