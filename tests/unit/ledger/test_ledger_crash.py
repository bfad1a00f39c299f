"""K3, K4: SIGKILL on either side of the commit; the chain verifies, and doing it again leaves one of everything."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_story import MODEL

PROMOTE_AND_DIE = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from ledger_story import Story, settings_for
from ratchet.ledger import chain, head, open_ledger

point, url, folder = sys.argv[1:]
story = Story(open_ledger(settings_for(url, Path(folder))), datetime(2013, 4, 2, 12, tzinfo=UTC))
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
if point == "before_commit":
    append = chain.Transaction.append
    chain.Transaction.append = lambda *args, **more: (append(*args, **more), die())
else:
    head.HeadFile.advance = die
story.promote(1, 0)
"""


@pytest.mark.parametrize(("point", "moved"), [("before_commit", False), ("after_commit", True)])
def test_k3_k4_sigkill_on_either_side_of_the_commit(story, ledger_url, tmp_path, point, moved):
    story.approved(1)
    before = story.ledger.verify().entries
    path = ":".join([str(Path(__file__).parent), *(entry for entry in sys.path if entry)])
    command = [sys.executable, "-c", PROMOTE_AND_DIE, point, ledger_url, str(tmp_path)]
    assert subprocess.run(command, env={"PYTHONPATH": path}).returncode == -signal.SIGKILL

    report = story.ledger.verify()
    assert report.ok and report.entries == before + moved
    assert (story.ledger.champion(MODEL) is not None) == moved
    champion = story.promote(1, 0)
    assert story.ledger.champion_history(MODEL) == [champion]
    assert story.ledger.verify().ok and story.ledger.verify().entries == before + 1
