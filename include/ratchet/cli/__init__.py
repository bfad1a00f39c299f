"""`ratchet`: the loop's steps from a shell, and the ledger to read."""

from ratchet.cli import alerts, audit, backtest, data, models  # each adds its commands
from ratchet.cli.shell import app, cli, console

__all__ = ["alerts", "app", "audit", "backtest", "cli", "console", "data", "models"]
