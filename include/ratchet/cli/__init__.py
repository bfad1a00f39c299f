"""`ratchet`: the loop's steps from a shell, and the ledger to read."""

from ratchet.cli import audit, data, models  # each adds its commands
from ratchet.cli.shell import app, cli, console

__all__ = ["app", "audit", "cli", "console", "data", "models"]
