"""The time machine as a whole: the past in, played by each policy, figures out; all it writes lies in one folder.

models/ and checks/ hold what was trained and checked, by what it was made from: a run that was killed and is started
again, and a policy added later, find it there, and play the rest. ledgers/<policy>/ is each policy's own ledger, begun
anew by each run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.backtest.checks import Checks
from ratchet.backtest.history import History, read_history
from ratchet.backtest.loop import Loop
from ratchet.backtest.policies import Policy, check_policies, policy_of, watching
from ratchet.backtest.promotions import Played
from ratchet.backtest.result import figures
from ratchet.backtest.shelf import Code, Shelf
from ratchet.backtest.worlds import make_world
from ratchet.days import check_range
from ratchet.digests import source_digest
from ratchet.errors import ParameterError
from ratchet.ledger import open_ledger
from ratchet.settings import Settings
from ratchet.storage import open_storage

if TYPE_CHECKING:
    from ratchet.deployment import Deployment
    from ratchet.specs import ModelSpec

RESULT = "result.json"
MARK = "backtest.txt"  # a folder that holds it is one of ours


@dataclass(frozen=True)
class Asked:
    """What to play: a model's past from `first` to `last`, or a planted world of these days."""

    model: str
    first: str
    last: str
    policies: Sequence[str]
    world: str | None = None
    seed: int = 2013
    approval_days: int = 1


def backtest(
    deployment: Deployment, asked: Asked, out: Path, on_day: Callable[[str, str], None] = lambda policy, day: None
) -> dict:
    """Play the policies one after another; returns the figures, and writes them to `out`/result.json.

    `on_day(policy, day)` is called after each day. Reads the lake and the ledger, changes neither. Raises
    ParameterError for wrong days, an unknown policy or world, or a folder that holds something else; EmptyWindowError
    when there is no such past, or no first champion.
    """
    first, last = check_range(asked.first, asked.last)
    spec = deployment.model(asked.model)
    check_policies(asked.policies)
    _take_folder(out)
    spec, history, code = _past(deployment, spec, asked)
    played = [_play(policy_of(name, spec), spec, history, code, out, asked, on_day) for name in asked.policies]
    told = {
        "model": asked.model,
        "world": asked.world,
        "seed": asked.seed if asked.world else None,
        "from": first,
        "to": last,
        "approval_days": asked.approval_days,
        "checks": spec.watch.schedule,
        "retrain_when": spec.retrain_when.model_dump(mode="json"),
        "past": {
            "rows": len(history.rows),
            "first_day": history.first_day,
            "last_day": history.last_day,
            "digest": history.digest,
            "restated_days": history.restated,
        },
        **figures(history, spec, played),
    }
    (out / RESULT).write_text(json.dumps(told, indent=1))
    return told


def _past(deployment: Deployment, spec: ModelSpec, asked: Asked) -> tuple[ModelSpec, History, Code]:
    if asked.world:
        code = Code(source_digest("ratchet"), deployment.lock_digest)
        return *make_world(asked.world, spec, asked.first, asked.last, asked.seed), code
    history = read_history(deployment, spec, asked.first, asked.last)
    return spec, history, Code(deployment.source_digest(spec), deployment.lock_digest)


def _play(
    policy: Policy,
    spec: ModelSpec,
    history: History,
    code: Code,
    out: Path,
    asked: Asked,
    on_day: Callable[[str, str], None],
) -> Played:
    storage, folder = open_storage(out), out / "ledgers" / policy.name
    shutil.rmtree(folder, ignore_errors=True)
    shelf = Shelf(history, policy.spec, storage, code)
    checks = Checks(history, watching(spec), storage, code)
    loop = Loop(policy, history, shelf, checks, open_ledger(ledger_settings(folder)), asked.approval_days)
    return loop.play(asked.first, asked.last, lambda day: on_day(policy.name, day))


def ledger_settings(folder: Path) -> Settings:
    """Of a ledger that stands alone. Nothing else of a deployment is there."""
    return Settings(
        home=folder,
        var=folder,
        ledger_url=f"sqlite:///{folder / 'ledger.db'}",
        ledger_key_file=folder / "ledger.key",
        ledger_head_file=folder / "ledger.head",
        mlflow_tracking_uri="",
    )


def _take_folder(out: Path) -> None:
    if out.exists() and any(out.iterdir()) and not (out / MARK).exists():
        raise ParameterError(
            "the folder for the result holds something else",
            where=str(out),
            expected="a folder that is empty or not there yet, or one of an earlier backtest",
            hint="pass another with --out",
        )
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).write_text("Made by `ratchet backtest`; may be deleted whole.\n")
