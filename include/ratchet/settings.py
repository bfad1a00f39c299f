"""Where things are and how to reach them: one frozen object, read from the environment once.

`RATCHET_HOME` (the repository by default) holds specs and suites; `RATCHET_VAR` (`$RATCHET_HOME/var`) holds all
run-time state, save landing zone and lake where `RATCHET_STORAGE` puts them elsewhere: a folder, or s3://bucket/prefix.
The ledger's address and key, and what opens the storage, come from the deployment's environment, never from an Airflow
Connection.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    home: Path
    var: Path
    ledger_url: str = field(repr=False)  # it may hold a password
    ledger_key_file: Path
    ledger_head_file: Path
    mlflow_tracking_uri: str
    storage: str | None = field(default=None, repr=False)  # None: `var`. Some put credentials into addresses
    other_model_versions: str = "refuse"  # or "warn": of models that another minor version of scikit-learn saved
    alerts: str = (
        "file"  # channels beside the log, each with its lowest level: "file,smtp:page"; see ratchet.alert_text
    )
    runbooks_url: str | None = None  # where the runbooks are read; None: as files of `home`

    @property
    def dataset_specs(self) -> Path:
        return self.home / "include" / "datasets"

    @property
    def model_specs(self) -> Path:
        return self.home / "include" / "models"

    @property
    def suites(self) -> Path:
        return self.home / "great_expectations" / "expectations"

    @property
    def runbooks(self) -> str:
        """What a runbook's name, with `.md`, is put behind to be opened."""
        return f"{self.runbooks_url or self.home / 'docs' / 'runbooks'}".rstrip("/")

    @property
    def lock_file(self) -> Path:
        return self.home / "requirements.lock"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process. Reads the environment once; creates nothing."""
    home = Path(os.environ.get("RATCHET_HOME") or Path(__file__).resolve().parents[2])
    var = Path(os.environ.get("RATCHET_VAR") or home / "var")
    return Settings(
        home=home,
        var=var,
        ledger_url=os.environ.get("RATCHET_LEDGER_URL") or f"sqlite:///{var / 'ledger' / 'ledger.db'}",
        ledger_key_file=Path(os.environ.get("RATCHET_LEDGER_KEY_FILE") or var / "secrets" / "ledger.key"),
        ledger_head_file=Path(os.environ.get("RATCHET_LEDGER_HEAD_FILE") or var / "secrets" / "ledger.head"),
        mlflow_tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{var / 'mlflow' / 'mlflow.db'}",
        storage=os.environ.get("RATCHET_STORAGE") or None,
        other_model_versions=os.environ.get("RATCHET_OTHER_MODEL_VERSIONS") or "refuse",
        alerts=os.environ.get("RATCHET_ALERTS") or "log,file",
        runbooks_url=os.environ.get("RATCHET_RUNBOOKS_URL") or None,
    )
