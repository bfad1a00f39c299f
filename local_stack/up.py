"""`make up`: Airflow and MLflow on the state in var/, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from local_stack.environment import REPO
from local_stack.errors import StackError
from local_stack.servers import Stack, running_stack


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)  # the terminal was closed
    try:
        with running_stack(options.var, dags=options.dags, plugins=options.plugins, say=_say) as stack:
            print(where_to_look(stack), flush=True)
            while True:
                stack.check_alive()
                time.sleep(1)
    except KeyboardInterrupt:
        _say("stopped")
        return 0
    except StackError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1


def where_to_look(stack: Stack) -> str:
    """The two addresses and who may sign in, as text."""
    lines = ["", f"  Airflow  {stack.airflow_url}"]
    lines += [f"             {who.name:<9} {who.password}   ({who.role})" for who in stack.accounts.values()]
    lines += [f"  MLflow   {stack.mlflow_url}"]
    lines += [f"             {stack.client['MLFLOW_TRACKING_USERNAME']:<9} {stack.client['MLFLOW_TRACKING_PASSWORD']}"]
    lines += [f"  Logs     {stack.environment.var / 'logs'}", "", "  Ctrl-C ends it all; the state stays.", ""]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make up", description=__doc__)
    parser.add_argument("--var", type=Path, default=Path(os.environ.get("RATCHET_VAR") or REPO / "var"))
    parser.add_argument("--dags", type=Path, help="another DAG folder than dags/")
    parser.add_argument("--plugins", type=Path, help="another plugins folder than plugins/")
    return parser


def _interrupt(signum, frame) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    print(f"  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
