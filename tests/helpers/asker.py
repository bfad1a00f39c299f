"""Asks for a retrain, twice: a caller's process, to be forked (see forks)."""

from __future__ import annotations

from pathlib import Path

from ledger_story import MODEL, settings_for

from ratchet.ledger import Rules, open_ledger


def main(url: str, folder: str, user: str) -> None:
    ledger, rules = open_ledger(settings_for(url, Path(folder))), Rules(7, 4, 28, 3)
    for n in range(2):
        asked = ledger.request_retrain(MODEL, "2013-04-01", f"{user} {n}", "api", user, "recipe", rules=rules)
        print(asked.batch_id)
