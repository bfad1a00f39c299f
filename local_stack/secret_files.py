"""Passwords and keys of the local servers: made once, kept in var/secrets, readable by their owner alone."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

# Name and role of each account in Airflow (SimpleAuthManager). `approver` answers approvals, `service` is the other
# system that asks for retrains; `operator` may edit connections and pools but answers no approvals of ours.
ROLES = {"admin": "admin", "operator": "op", "approver": "user", "service": "user"}


@dataclass(frozen=True)
class Account:
    name: str
    role: str
    password: str = field(repr=False)


def airflow_accounts(secrets_dir: Path) -> dict[str, Account]:
    """The accounts of `ROLES` with their passwords; missing passwords are generated and written.

    The file is the one that Airflow's SimpleAuthManager reads: {"name": "password"}.
    """
    path = passwords_file(secrets_dir)
    passwords = _load(path)
    missing = {name: secrets.token_urlsafe(12) for name in ROLES if name not in passwords}
    if missing:
        passwords |= missing
        _write(path, passwords)
    return {name: Account(name, role, passwords[name]) for name, role in ROLES.items()}


def passwords_file(secrets_dir: Path) -> Path:
    return secrets_dir / "airflow_passwords.json"


def server_keys(secrets_dir: Path) -> dict[str, str]:
    """Signing and encryption keys of Airflow and MLflow, and MLflow's admin password; generated when missing."""
    path = secrets_dir / "server_keys.json"
    keys = _load(path)
    made = {
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "jwt_secret": secrets.token_urlsafe(48),
        "session_secret": secrets.token_urlsafe(32),
        "mlflow_session_secret": secrets.token_urlsafe(32),
        "mlflow_password": secrets.token_urlsafe(12),
    }
    if made.keys() - keys.keys():
        keys = made | keys
        _write(path, keys)
    return keys


def make_secrets_dir(var: Path) -> Path:
    """`var`/secrets, made with mode 0700."""
    folder = var / "secrets"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _load(path: Path) -> dict[str, str]:
    return json.loads(path.read_text()) if path.exists() else {}


def _write(path: Path, content: dict[str, str]) -> None:
    """Write whole or not at all, mode 0600 from the first byte on."""
    unfinished = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file)
    unfinished.replace(path)
