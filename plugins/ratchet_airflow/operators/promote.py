"""The gate, the approval, the promotion and the rollback in Airflow. What decides is in the ledger, never in XCom."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException

from ratchet.deployment import Deployment, get_deployment
from ratchet_airflow.links import MlflowLink, ModelCardLink
from ratchet_airflow.operators.step import ModelStepOperator
from ratchet_airflow.params import asked_by, checked_params


class JudgeChallengerOperator(ModelStepOperator):
    """Put the challenger through the gate (`ratchet.workflow.promotion.judge_challenger`)."""

    operator_extra_links = (ModelCardLink(),)

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.promotion import judge_challenger

        return judge_challenger(deployment, self.model, params["version"])


class BreakGlassOperator(ModelStepOperator):
    """Put the demand to go round the gate on record (`ratchet.workflow.approval.break_glass`)."""

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.approval import break_glass

        return break_glass(
            deployment,
            self.model,
            params["version"],
            actor=asked_by(context),
            reason=params["reason"],
            run_id=context["ti"].run_id,
        )


class ApprovePromotionOperator(ApprovalOperator):
    """Ask a named person, and record the answer in the ledger when it comes; promotion reads only that record.

    Skipped, with the gate's reason, when the verdict doesn't pass, unless this run has broken the glass
    (`broken_glass`). The question is made here, from the ledger, so that an edited XCom can't change what the approver
    reads. No default answer: unanswered in time, it fails; so it does when one answered who may not, and dispatch has a
    fresh run ask.
    """

    def __init__(self, *, model: str, broken_glass: bool = False, **kwargs) -> None:
        super().__init__(subject=f"Promote a version of {model}?", body="", **kwargs)
        self.model, self.broken_glass = model, broken_glass

    def execute(self, context):
        from ratchet.workflow.approval import approval_question, ask_approval

        deployment, version, place = get_deployment(), checked_params(context)["version"], _place(context)
        glass_run = place["run_id"] if self.broken_glass else None
        question = approval_question(deployment, self.model, version, glass_run=glass_run)
        if not question["passed"]:
            raise AirflowSkipException(f"version {version}: {question['verdict']}: {question['why']}")
        started_by = context["dag_run"].triggering_user_name
        ask_approval(deployment, self.model, version, **place, started_by=started_by, glass_run=glass_run)
        self.subject, self.body = question["subject"], question["body"]
        return super().execute(context)

    def execute_complete(self, context, event):
        recorded = None
        if "error" not in event:  # first of all: a Reject of one who may not must not skip the promotion
            self.validate_chosen_options(event["chosen_options"])
            recorded = self._record(context, event)
        try:
            super().execute_complete(context, event)
        except HITLTimeoutError:
            get_deployment().ledger.expire_approvals(self.model, datetime.now(UTC))
            raise
        return recorded

    def _record(self, context, event) -> dict:
        from ratchet.workflow.approval import record_answer

        user, at = event["responded_by_user"] or {}, event["responded_at"]
        recorded = record_answer(
            get_deployment(),
            self.model,
            checked_params(context)["version"],
            **_place(context),
            answer=event["chosen_options"][0],
            responded_by=user.get("name"),
            responded_by_id=user.get("id"),
            responded_at=datetime.fromisoformat(at) if isinstance(at, str) else at,
        )
        self.log.info("answer on record: %s", recorded)
        return recorded


def _place(context) -> dict:
    """Which task run asks, in the ledger's words."""
    ti = context["ti"]
    return {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "try_number": ti.try_number}


class PromoteChallengerOperator(ModelStepOperator):
    """Move the champion pointer if the ledger holds all it takes (`ratchet.workflow.promotion.promote_challenger`)."""

    operator_extra_links = (MlflowLink(), ModelCardLink())

    def __init__(self, *, broken_glass: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.broken_glass = broken_glass

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.promotion import promote_challenger

        glass_run = context["ti"].run_id if self.broken_glass else None
        return promote_challenger(deployment, self.model, params["version"], glass_run=glass_run)


class RollbackChampionOperator(ModelStepOperator):
    """Move the champion pointer back (`ratchet.workflow.promotion.rollback_champion`)."""

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.promotion import rollback_champion

        return rollback_champion(
            deployment,
            self.model,
            to_version=params["to_version"],
            actor=asked_by(context),
            reason=params["reason"],
            run_id=context["ti"].run_id,
            asked_at=context["dag_run"].run_after,
        )
