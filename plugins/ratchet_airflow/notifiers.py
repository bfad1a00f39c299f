"""Alerts in Airflow: the notifier that turns a failed run into an alert, and the mail and chat that alerts go through.

The servers of mail and chat are Airflow Connections, named by the deployment's environment: RATCHET_ALERTS_SMTP
(default `smtp_default`), with the recipients in RATCHET_ALERTS_TO, and RATCHET_ALERTS_SLACK (default `slack_default`).
"""

from __future__ import annotations

import html
import os
from collections.abc import Callable

from airflow.sdk import BaseNotifier

from ratchet.deployment import Deployment, get_deployment

DISPATCH = "ratchet.dispatch"
SECONDS = 10  # for a server to answer: the next sweep waits for this one


class FailedRunNotifier(BaseNotifier):
    """For `on_failure_callback` of a DAG: the alert of its failed run, at once.

    Callbacks get lost with the process that runs them; dispatch finds those runs of our own DAGs. Of a DAG of yours,
    this alert is all there is. When dispatch itself fails, the alerts are sent from here.
    """

    def notify(self, context) -> None:
        from ratchet.workflow.alerts import send_news
        from ratchet.workflow.failed_runs import FailedRun, raise_failed_run
        from ratchet.workflow.loop_alerts import note_sweep

        deployment, dag_id = get_deployment(), context["dag"].dag_id
        run_id = context.get("run_id") or context["dag_run"].run_id
        if dag_id == DISPATCH:
            note_sweep(deployment, run_id)
            send_news(deployment, senders(deployment))
        else:
            raise_failed_run(deployment, FailedRun(dag_id, run_id))


def senders(deployment: Deployment) -> dict[str, Callable]:
    """How the channels send that need Airflow, for `ratchet.workflow.alerts.send_news`."""
    runbooks = deployment.settings.runbooks
    return {"smtp": lambda alert: mail(alert, runbooks), "slack": lambda alert: post(alert, runbooks)}


def mail(alert, runbooks: str) -> None:
    """One mail with the alert to each address of RATCHET_ALERTS_TO. Raises ValueError for none, and whatever the
    hook raises."""
    from airflow.providers.smtp.hooks.smtp import SmtpHook
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    from ratchet.alert_text import alert_text, headline

    to = [address.strip() for address in os.environ.get("RATCHET_ALERTS_TO", "").split(",") if address.strip()]
    if not to:
        raise ValueError("RATCHET_ALERTS_TO names nobody")

    class OneTry(SmtpHook):
        """Six tries of 30 s by default; here the next sweep tries again."""

        smtp_retry_limit = 0
        timeout = SECONDS

    text = f"<pre>{html.escape(alert_text(alert, runbooks))}</pre>"
    notifier = SmtpNotifier(to=to, subject=headline(alert), html_content=text)
    notifier.hook = OneTry(os.environ.get("RATCHET_ALERTS_SMTP") or SmtpHook.default_conn_name)
    notifier.notify({})  # not called: that would render the text as a template


def post(alert, runbooks: str) -> None:
    """The alert to a Slack webhook. As plain text: nothing in it is markup, a mention, or a link with another name."""
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
    from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

    from ratchet.alert_text import alert_text, headline

    text = alert_text(alert, runbooks)[:3000]  # the most that a block holds
    notifier = SlackWebhookNotifier(
        slack_webhook_conn_id=os.environ.get("RATCHET_ALERTS_SLACK") or SlackWebhookHook.default_conn_name,
        text=html.escape(headline(alert), quote=False),  # Slack's own escapes are these three: & < >
        blocks=[{"type": "section", "text": {"type": "plain_text", "text": text, "emoji": False}}],
        unfurl_links=False,
        unfurl_media=False,
        timeout=SECONDS,
    )
    notifier.notify({})  # as above
