"""Challengers in the field, in Airflow: unseen, and on a share of the rows."""

from __future__ import annotations

from ratchet.deployment import Deployment
from ratchet_airflow.links import EvidenceLink
from ratchet_airflow.operators.step import ModelStepOperator
from ratchet_airflow.params import asked_by


class ScoreShadowOperator(ModelStepOperator):
    """Score unseen with a challenger (`ratchet.workflow.shadow.score_shadow`)."""

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.shadow import score_shadow

        return score_shadow(deployment, self.model, params["version"])


class WeighEvidenceOperator(ModelStepOperator):
    """Weigh what the shadow has shown (`ratchet.workflow.weighing.weigh_evidence`)."""

    operator_extra_links = (EvidenceLink(),)

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.weighing import weigh_evidence

        return weigh_evidence(deployment, self.model, params["version"])


class CheckCanaryOperator(ModelStepOperator):
    """End a canary that does gross harm (`ratchet.workflow.canary.check_canary`)."""

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.canary import check_canary

        return check_canary(deployment, self.model)


class SetCanaryOperator(ModelStepOperator):
    """Start a canary, or stop the one there is (`ratchet.workflow.canary.start_canary`, `stop_canary`).

    Who started the run is who it is asked of: only an approver starts one, anybody who may start the run stops it. A
    cleared run starts none: Airflow doesn't say who cleared it.
    """

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.canary import start_canary, stop_canary

        who = {"actor": asked_by(context), "reason": params["reason"]}
        if params["stop"]:
            return stop_canary(deployment, self.model, **who)
        ti = context["ti"]
        where = {"run_id": ti.run_id, "try_number": ti.try_number, "share": params["share"]}
        return start_canary(deployment, self.model, params["version"], **where, **who)
