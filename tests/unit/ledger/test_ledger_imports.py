"""The ledger is light: a task that only looks who is champion loads no data library."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_ledger_loads_no_pandas():
    code = "import sys, ratchet.ledger; print(*{'pandas', 'numpy', 'psycopg', 'mlflow'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(entry for entry in sys.path if entry)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []
