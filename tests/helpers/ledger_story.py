"""What tests tell a ledger: a model's life in few words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ratchet.ledger import Approval, Challenger, Champion, Ledger, Routing, Verdict
from ratchet.settings import Settings

MODEL = "flight_delay"


def settings_for(url: str, folder: Path) -> Settings:
    return Settings(
        home=folder,
        var=folder,
        ledger_url=url,
        ledger_key_file=folder / "secrets" / "ledger.key",
        ledger_head_file=folder / "elsewhere" / "ledger.head",
        mlflow_tracking_uri="",
    )


def tamper(ledger: Ledger, *statements: str) -> None:
    """Change the database behind the ledger's back, as one who can reach it but has no key."""
    with ledger._chain.database.write() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@dataclass
class Story:
    ledger: Ledger
    now: datetime

    def register(self, version: int, as_of: str | None = None, batch_id: str | None = None) -> Challenger:
        return self.ledger.register_challenger(
            MODEL,
            identity=f"identity-{version}",
            version=version,
            mlflow_run_id=f"run-{version}",
            snapshot="s" * 64,
            as_of=as_of or f"2013-04-{version:02d}",
            windows={"train": ["2013-01-01", "2013-02-28"]},
            metrics={"roc_auc": 0.7, "rows": 10},
            batch_id=batch_id,
            model_digest=f"model-digest-{version}",
        )

    def judge(self, version: int, verdict: str = "PROMOTE") -> Verdict:
        champion = self.ledger.champion(MODEL)
        epoch, reigning = (champion.epoch, champion.version) if champion else (0, None)
        checks = [{"name": "minimum", "passed": True, "value": 0.7}]
        return self.ledger.record_verdict(
            MODEL, version, epoch, reigning, verdict, checks, digest=f"verdict-{version}-{epoch}"
        )

    def ask(
        self, version: int, digest: str, run: str = "run-1", try_number: int = 1, by: Sequence[str] = ("analyst",)
    ) -> Approval:
        expires_at = self.now + timedelta(hours=72)
        dag, task = f"{MODEL}.promote", "approve"
        return self.ledger.ask_approval(MODEL, version, digest, by, dag, run, task, try_number, expires_at)

    def answer(self, version: int, said: str = "Approve", **how: object) -> Approval:
        how = {
            "by": "approver",
            "by_id": "7",
            "at": self.now,
            "run": "run-1",
            "try_number": 1,
            "task": "approve",
            **how,
        }
        return self.ledger.record_answer(
            MODEL,
            version,
            dag_id=f"{MODEL}.promote",
            run_id=how["run"],
            task_id=how["task"],
            try_number=how["try_number"],
            answer=said,
            responded_by=how["by"],
            responded_by_id=how["by_id"],
            responded_at=how["at"],
            allowed_approvers=how.get("allowed"),
        )

    def approved(self, version: int) -> Verdict:
        """A challenger that is judged, asked about and approved: all but promoted."""
        self.register(version)
        verdict, run = self.judge(version), f"run-{version}"
        self.ask(version, verdict.digest, run)
        self.answer(version, run=run)
        return verdict

    def promote(self, version: int, expected_epoch: int, **how: object) -> Champion:
        how = {"allowed_approvers": ["approver"], "four_eyes": True, "now": self.now, **how}
        return self.ledger.promote(MODEL, version, expected_epoch, **how)

    def two_champions(self) -> None:
        """Version 1 was champion (epoch 1), version 2 is (epoch 2)."""
        for version in (1, 2):
            self.approved(version)
            self.promote(version, version - 1)

    def rollback(self, to_version: int | None, expected_epoch: int, actor: str = "carl") -> Champion:
        return self.ledger.rollback(MODEL, to_version, actor, "scores went wrong", expected_epoch)

    def start_canary(self, version: int, **how: object) -> Routing:
        how = {"share": 0.1, "most": 0.2, "first_day": "2013-05-01", "days": 7, "actor": "approver", **how}
        rules = {"allowed": ["approver"], "four_eyes": True}
        return self.ledger.start_canary(
            MODEL, version, **{"reason": "safe on few rows?", "run_id": f"canary-{version}", **rules, **how}
        )
