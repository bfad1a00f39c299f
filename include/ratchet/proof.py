"""What shows that a model is the one it is said to be: a digest of its content, and its scores of known rows.

Not its file: skops writes other bytes at every save (see ratchet.model_files). Two fits from equal inputs on the same
processor and BLAS agree to the last bit; on others the order of additions may differ, and scores by some 1e-16.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from ratchet.errors import ModelFileError
from ratchet.score import score_frame

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.specs import ModelSpec

SHOWN_ROWS = 200
TOLERANCE = 1e-9  # between machines; scores of one machine are equal to the last bit


@dataclass(frozen=True)
class Proof:
    """`content`: digest of the fitted estimator (`content_digest`). `rows`: how many rows were scored; `scores`: those
    of SHOWN_ROWS of them, evenly spread, a list of values (see ModelSpec.score_columns) each; `scores_digest`: over
    the float64 bytes of all. `low`, `high`: of all scores. `machine`: see `machine_facts`. Goes through JSON."""

    content: str
    rows: int
    scores: list[list[float]]
    scores_digest: str
    low: float
    high: float
    machine: dict

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """Of two proofs. `to_the_last_bit`: all scores are. `difference`: the greatest there is between
    shown scores. `same_content`: of the estimators. `same_machine`: processor, BLAS and thread count are."""

    to_the_last_bit: bool
    difference: float
    same_content: bool
    same_machine: bool

    @property
    def proven(self) -> bool:
        """The last bit is asked for where machines agree, TOLERANCE elsewhere."""
        return self.to_the_last_bit or (not self.same_machine and self.difference <= TOLERANCE)

    @property
    def same_fit(self) -> bool:
        """As `proven`, of two digests made by one source: on the same machine the contents must be the same, too."""
        return self.proven and (self.same_content or not self.same_machine)

    def as_dict(self) -> dict:
        return {**asdict(self), "proven": self.proven}


def prove(estimator, rows: pd.DataFrame, spec: ModelSpec, n_threads: int = 1) -> Proof:
    """The proof of a fitted estimator on rows with the spec's features. Raises ModelFileError for scores that are no
    numbers."""
    scores = _scores(estimator, rows, spec, n_threads)
    if not np.isfinite(scores).all():
        raise ModelFileError(
            f"a model of {spec.name} whose scores are no numbers",
            seen=f"{int((~np.isfinite(scores)).sum())} of {scores.size}",
            expected="finite scores",
            hint="look at its parameters, and at the features of these rows",
        )
    return Proof(
        content_digest(estimator),
        len(scores),
        scores[_shown(len(scores))].tolist(),
        _digest(scores),
        float(scores.min()),
        float(scores.max()),
        machine_facts(n_threads),
    )


def compare(recorded: Proof, seen: Proof) -> Comparison:
    """Two proofs on the same rows; other counts of rows differ by infinity."""
    then, now = np.asarray(recorded.scores, dtype="float64"), np.asarray(seen.scores, dtype="float64")
    alike = recorded.rows == seen.rows and then.shape == now.shape
    return Comparison(
        recorded.scores_digest == seen.scores_digest,
        float(np.abs(then - now).max()) if alike else float("inf"),
        recorded.content == seen.content,
        recorded.machine == seen.machine,
    )


def machine_facts(n_threads: int = 1) -> dict:
    """What the last bit of a fit may depend on beside its inputs: processor, BLAS and OpenMP libraries, threads, Python
    and the libraries that compute."""
    libraries = {(one["internal_api"], one.get("version"), one.get("architecture")) for one in threadpool_info()}
    return {
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": ".".join(map(str, sys.version_info[:2])),
        "libraries": {name: installed(name) for name in ("numpy", "pandas", "scikit-learn", "scipy")},
        "blas": sorted(" ".join(str(part) for part in one if part) for one in libraries),
        "threads": n_threads,
    }


def content_digest(estimator: object) -> str:
    """sha256, in hex, over all that a fitted estimator consists of, by pickle's own account of it (`__reduce_ex__`),
    whatever the order of dict keys or the layout in memory. Builds and runs nothing."""
    sha = hashlib.sha256()
    for piece in _pieces(estimator):
        sha.update(len(piece).to_bytes(8, "little"))
        sha.update(piece)
    return sha.hexdigest()


def _pieces(root: object) -> Iterator[bytes]:
    waiting: list = [root]
    seen: dict[int, int] = {}
    kept = []  # so that no id is used again
    while waiting:
        thing = waiting.pop()
        if (plain := _plain(thing)) is not None:
            yield plain
            continue
        if id(thing) in seen:
            yield f"again {seen[id(thing)]}".encode()
            continue
        seen[id(thing)] = len(seen)
        kept.append(thing)
        name, parts = _taken_apart(thing)
        yield f"{name} {len(parts)}".encode()
        waiting.extend(reversed(parts))


def _plain(thing: object) -> bytes | None:
    """Bytes of a value that has no parts; None for one that has."""
    if thing is None or isinstance(thing, bool | int | str | float | complex | bytes):
        return f"{type(thing).__name__} {thing!r}".encode()
    if isinstance(thing, np.generic):
        return f"{thing.dtype.str} {thing.item()!r}".encode()
    if isinstance(thing, type) or (callable(thing) and hasattr(thing, "__qualname__")):
        return f"{thing.__module__}.{thing.__qualname__}".encode()
    if isinstance(thing, np.dtype):
        return repr(thing).encode()
    if isinstance(thing, np.ndarray) and thing.dtype.names is None and not thing.dtype.hasobject:
        return f"{thing.dtype.str} {thing.shape} ".encode() + np.ascontiguousarray(thing).tobytes()
    return None


def _taken_apart(thing: object) -> tuple[str, list]:
    """Its kind, and its parts in a fixed order."""
    name = f"{type(thing).__module__}.{type(thing).__qualname__}"
    if isinstance(thing, dict):
        return name, [part for key in sorted(thing, key=repr) for part in (key, thing[key])]
    if isinstance(thing, set | frozenset):
        return name, sorted(thing, key=repr)
    if isinstance(thing, list | tuple):
        return name, list(thing)
    if isinstance(thing, partial):  # its own account has None for a dict that is empty, until somebody asks for it
        return name, [thing.func, thing.args, thing.keywords]
    if isinstance(thing, np.ndarray):  # of records, whose padding is not content, or of objects
        fields = [thing[field] for field in thing.dtype.names or ()]
        return f"{name} {thing.dtype} {thing.shape}", fields or thing.ravel().tolist()
    made_by, *rest = thing.__reduce_ex__(4) if not isinstance(thing.__reduce_ex__(4), str) else (type(thing),)
    return name, [made_by, *(list(part) if isinstance(part, Iterator) else part for part in rest)]


def _scores(estimator, rows: pd.DataFrame, spec: ModelSpec, n_threads: int) -> np.ndarray:
    with threadpool_limits(limits=n_threads):
        return score_frame(estimator, rows, spec)[spec.score_columns].to_numpy("float64")


def _digest(scores: np.ndarray) -> str:
    return hashlib.sha256(f"{scores.shape}".encode() + np.ascontiguousarray(scores, "<f8").tobytes()).hexdigest()


def _shown(rows: int) -> np.ndarray:
    return np.unique(np.linspace(0, max(rows - 1, 0), min(rows, SHOWN_ROWS)).astype(int))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
