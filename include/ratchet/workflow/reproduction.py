"""Build a version again from what was kept of it, and prove that it is the same."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from ratchet.child_process import HOUR, installer_environment, rebuild_environment, run_child
from ratchet.deployment import Deployment
from ratchet.digests import source_digest
from ratchet.errors import ModelFileError, NotReproducedError, RatchetError, SpecError, UnknownNameError
from ratchet.ledger import Challenger
from ratchet.proof import Proof, compare
from ratchet.recipes import fetch_lock, fetch_source

BEGUN, REBUILT, NOT_REBUILT = "version_rebuild_begun", "version_reproduced", "version_not_reproduced"
NEEDED = ("proof", "source_digest", "lock_digest", "spec", "candidate", "estimator", "params", "threads")
MOST_SECONDS = {"environment": 2 * HOUR, "rebuild": 12 * HOUR}


def reproduce_version(deployment: Deployment, model: str, version: int, *, build: bool = False, actor: str) -> dict:
    """Fit a version anew, in a process of its own, and compare it with the proof recorded at its training.

    From the kept snapshot, by the kept source, with the same parameters, seed and thread count, under the lock file
    that it was trained with. Where that is another than the one installed here, `build` makes that environment first
    (by uv, from its hashes), else it is said which is needed. The registered files are loaded there and compared too.

    Returns {version, proven, rebuilt, registered: each {to_the_last_bit, difference, same_content, same_machine,
    proven}, lock, source: "as here" or "as kept", seconds}; on record as version_reproduced. Raises UnknownNameError
    for a version that is not there or has no whole manifest, NotReproducedError for one that was trained on rows that
    are erased: neither is tried. A try is on record from its beginning, as version_rebuild_begun, and whatever it fails
    by as version_not_reproduced, unless that may pass by itself (a retryable error): NotReproducedError for one that
    comes out otherwise or needs another environment; ParameterError, ModelFileError, UnknownNameError for a snapshot,
    source, lock or registered file that was altered or lost.
    """
    started, challenger = perf_counter(), deployment.ledger.challenger(model, version)
    _require_rebuildable(deployment, challenger)
    subject = f"models/{model}/versions/{version}"
    deployment.ledger.note(BEGUN, subject, {"version": version}, actor)
    try:
        result = _reproduce(deployment, challenger, build=build)
        _require_proven(deployment, challenger, result)
    except Exception as error:
        if not getattr(error, "retryable", False):
            deployment.ledger.note(NOT_REBUILT, subject, {"version": version, "why": _why(error)}, actor)
        raise
    result |= {"seconds": round(perf_counter() - started, 1)}
    deployment.ledger.note(REBUILT, subject, result, actor)
    return result


def _why(error: Exception) -> str:
    return error.what if isinstance(error, RatchetError) else f"{type(error).__name__}: {error}"[:300]


def _reproduce(deployment: Deployment, challenger: Challenger, *, build: bool) -> dict:
    from ratchet.snapshot import load_snapshot

    recorded, wanted = Proof(**challenger.manifest["proof"]), challenger.manifest["source_digest"]
    snapshot = load_snapshot(deployment.lake.storage, challenger.model, challenger.snapshot)
    with tempfile.TemporaryDirectory(prefix="ratchet-rebuild-") as name:
        folder = Path(name)
        registered = _registered(deployment, challenger, folder)
        source = fetch_source(deployment.storage, wanted, folder / "source")
        told = "as here" if _is_installed(source, wanted) else "as kept"
        python, lock = _environment(deployment, challenger, folder, build=build)
        snapshot.frame.to_parquet(folder / "frame.parquet", index=False)
        given = {"windows": snapshot.manifest["windows"], "registered": str(registered)}
        compared = {
            of: compare(recorded, one) for of, one in _proofs(challenger, given, folder, python, source).items()
        }
    return {
        "version": challenger.version,
        "proven": compared["rebuilt"].same_fit and compared["registered"].proven,
        **{of: one.as_dict() for of, one in compared.items()},
        "lock": lock,
        "source": told,
    }


def _is_installed(source: Path, digest: str) -> bool:
    """Whether the packages in that folder are those that are installed here. The folder is asked, not the spec: a spec
    of another release may be one that this release can't read."""
    try:
        return source_digest(*(package.name for package in source.iterdir())) == digest
    except SpecError:
        return False


def _registered(deployment: Deployment, challenger: Challenger, folder: Path) -> Path:
    """The registered files, for the process that rebuilds to load: it has the libraries that they were saved by."""
    files = deployment.registry.download(challenger.model, challenger.version, folder / "registered")
    if files.name != challenger.model_digest:
        raise ModelFileError(
            "the model's files are not those that were registered",
            seen=files.name,
            expected=challenger.model_digest,
            where=deployment.registry.version_url(challenger.model, challenger.version),
            hint="don't trust this version, and find out who changed them",
        )
    return files


def _require_proven(deployment: Deployment, challenger: Challenger, result: dict) -> None:
    if not result["proven"]:
        raise NotReproducedError(
            f"{challenger.model} version {challenger.version} does not come out as it was recorded",
            seen={name: result[name] for name in ("rebuilt", "registered")},
            expected="the same scores of the recorded rows, and of a fit on the same machine the same content",
            where=deployment.registry.version_url(challenger.model, challenger.version),
            hint="see `ratchet audit verify`; find out who changed what was recorded, and don't trust this version",
        )


def reproduce_next(deployment: Deployment, model: str, *, build: bool = False, actor: str) -> dict:
    """As `reproduce_version`, the version whose turn it is, and what was `skipped` (see `next_to_reproduce`);
    {version: None, skipped} where it is nobody's."""
    version, skipped = next_to_reproduce(deployment, model, build=build)
    if version is None:
        return {"version": None, "skipped": skipped}
    return reproduce_version(deployment, model, version, build=build, actor=actor) | {"skipped": skipped}


def next_to_reproduce(
    deployment: Deployment, model: str, *, build: bool = False
) -> tuple[int | None, dict[str, list[int]]]:
    """The version whose turn it is: of those that can be built again here the one tried longest ago, or never, the
    oldest first; None when there is none. And the versions that wait for `build`, by the lock that they need."""
    ready, waiting = [], {}
    for one in _rebuildable(deployment, model):
        lock = one.manifest["lock_digest"]
        if build or _installed(deployment, lock):
            ready.append(one.version)
        else:
            waiting.setdefault(lock[:16], []).append(one.version)
    tried = _last_tries(deployment, model)
    return min(ready, key=lambda version: (tried.get(version, 0), version), default=None), waiting


def _rebuildable(deployment: Deployment, model: str) -> list[Challenger]:
    erased = {version for one in deployment.ledger.erasures() for version in one.versions.get(model, [])}
    return [one for one in deployment.ledger.challengers(model) if not _lacks(one) and one.version not in erased]


def _lacks(challenger: Challenger) -> list[str]:
    """What its manifest would have to have. Versions that an older release trained may have none of it."""
    return [name for name in NEEDED if name not in challenger.manifest]


def _last_tries(deployment: Deployment, model: str) -> dict[int, int]:
    """{version: number of the event of its last try}."""
    events = deployment.ledger.events(subject=f"models/{model}")
    return {one.payload["version"]: one.seq for one in events if one.kind in (BEGUN, REBUILT, NOT_REBUILT)}


def _require_rebuildable(deployment: Deployment, challenger: Challenger) -> None:
    model, version = challenger.model, challenger.version
    for erasure in deployment.ledger.erasures():
        if version in erasure.versions.get(model, []):
            raise NotReproducedError(
                f"{model} version {version} is erased, not rebuildable",
                seen=f"rows of its training were erased on {erasure.begun_at:%Y-%m-%d}: {erasure.reason}",
                hint="nothing brings them back; its verdict and approval stay on record",
            )
    if lacks := _lacks(challenger):
        raise UnknownNameError(
            f"{model} version {version} has no manifest to build it from",
            seen=f"it lacks {', '.join(lacks)}",
            where=f"models/{model}/versions/{version}",
            hint="train a new one; if it had all once, see `ratchet audit verify`",
        )


def _environment(deployment: Deployment, challenger: Challenger, folder: Path, *, build: bool) -> tuple[str, str]:
    """The interpreter to rebuild with, and what is told of its lock."""
    wanted = challenger.manifest["lock_digest"]
    if wanted == deployment.lock_digest:
        return sys.executable, "as here"
    home = _home(deployment, wanted)
    if not _installed(deployment, wanted):
        if not build:
            raise NotReproducedError(
                f"{challenger.model} version {challenger.version} needs lock {wanted[:16]}",
                seen=f"lock {deployment.lock_digest[:16]} is installed here",
                expected=f"lock {wanted}",
                hint="add --build to make that environment, or reproduce it where that lock is installed",
            )
        _make_environment(home, fetch_lock(deployment.storage, wanted, folder / "requirements.lock"))
    return str(home / "bin" / "python"), f"{wanted[:16]}, in {home}"


def _home(deployment: Deployment, lock: str) -> Path:
    return deployment.settings.var / "cache" / "environments" / lock[:16]


def _installed(deployment: Deployment, lock: str) -> bool:
    return lock == deployment.lock_digest or (_home(deployment, lock) / "complete").exists()


def _make_environment(home: Path, lock: Path) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.prefix).parent / ".uv" / "bin"))
    if uv is None:
        raise NotReproducedError(
            "another environment can't be made here", seen="no uv", expected="uv on the PATH", hint="pip install uv"
        )
    shutil.rmtree(home, ignore_errors=True)
    python, environment = home / "bin" / "python", installer_environment()
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(home)],
        [uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(lock)],
    ):
        run_child(command, environment, "the environment of that lock can't be made", MOST_SECONDS["environment"])
    (home / "complete").touch()


def _proofs(challenger: Challenger, given: dict, folder: Path, python: str, source: Path) -> dict[str, Proof]:
    """{rebuilt, registered}, as the kept source says (see ratchet.rebuild)."""
    kept = ("spec", "candidate", "estimator", "params", "threads")
    recipe = {name: challenger.manifest[name] for name in kept} | {"model_digest": challenger.model_digest} | given
    (folder / "recipe.json").write_text(json.dumps(recipe), "utf-8")
    command = [python, "-P", "-m", "ratchet.rebuild", str(folder)]  # -P: nothing of the folder that we are in
    what = "the version could not be built again"
    run_child(command, rebuild_environment(folder, source), what, MOST_SECONDS["rebuild"])
    proofs = json.loads((folder / "proofs.json").read_text("utf-8"))
    return {of: Proof(**proofs[of]) for of in ("rebuilt", "registered")}
