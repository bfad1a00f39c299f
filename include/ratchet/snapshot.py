"""The exact input of a training run, and of scoring: the same function builds both, so they can't drift apart.

Point in time: each day of each dataset is read as it was known before the end of the as-of day (in the dataset's zone):
the newest revision delivered by then, whatever corrections have come since. Which of the rows another row may see
(weather observed two hours before its departure) is for the feature function to keep.
What a snapshot *is* is the digest of its content; revisions, drops and windows say where it came from.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from ratchet.days import days_between, shift_day
from ratchet.digests import frame_digest
from ratchet.errors import EmptyWindowError, NotStoredError, ParameterError, SpecError, UnknownNameError
from ratchet.feature_functions import load_function
from ratchet.labels import make_labels
from ratchet.storage import Storage, open_storage
from ratchet.storage.failures import local_errors
from ratchet.windows import TrainingWindows, known_before

if TYPE_CHECKING:
    from ratchet.published import Published
    from ratchet.specs import ColumnType, DatasetSpec, ModelSpec

_DTYPES: dict[ColumnType, str] = {
    "string": "str",
    "int64": "Int64",
    "float64": "float64",
    "bool": "boolean",
    "timestamp": "datetime64[us, UTC]",
}
_FRAME, _MANIFEST = "frame.parquet", "manifest.json"
_MAX_BYTES = 4 * 1024**3  # of what a training holds in memory anyway
_PUBLISHED = {"day": "string", "known_at": "timestamp", "drop_sha256": "string"}


@dataclass(frozen=True)
class Snapshot:
    """`frame`: key columns of the scored dataset, day, window ("train", "validate", "judge"), features, the other
    columns of `evaluate.slices` and `evaluate.sensitive`, label (see ratchet.labels), in order of day and key.
    `manifest` (goes through JSON): model, digest, as_of, windows {name: [first, last]}, rows {name: count}, left_out
    {reason: count}, partitions {dataset: {day: [revision, digest, drop_sha256]}}."""

    frame: pd.DataFrame
    manifest: dict

    @property
    def digest(self) -> str:
        return self.manifest["digest"]


def take_snapshot(
    spec: ModelSpec,
    dataset_specs: Mapping[str, DatasetSpec],
    published: Published,
    as_of: str,
    windows: TrainingWindows,
) -> Snapshot:
    """The labelled rows of the windows, as known as of a day. Raises EmptyWindowError for a window without any."""
    source = _Source(dataset_specs, published, as_of)
    key = source.spec(spec.scored_dataset).key
    frame, inputs, outcomes = _labelled(spec, source, windows.first, windows.last)
    frame = frame.assign(window=_window_of(frame["day"], windows))
    frame = frame[[*dict.fromkeys([*key, "day", "window", *(name for name in frame.columns if name not in key)])]]
    rows = {name: int((frame["window"] == name).sum()) for name in windows.named()}
    for name, window in windows.named().items():
        if not rows[name]:
            raise EmptyWindowError(
                f"the {name} window of {spec.name} has no labelled rows",
                seen=f"{window.first} to {window.last} as of {as_of}",
                expected=f"rows in {spec.scored_dataset} with an outcome in {spec.outcome_dataset}",
                hint=f"ingest {', '.join(sorted({*spec.inputs, spec.outcome_dataset}))} for those days",
            )
    manifest = {
        "model": spec.name,
        "digest": frame_digest(frame),
        "as_of": as_of,
        "windows": windows.as_dict(),
        "rows": rows,
        "left_out": _left_out(inputs, outcomes, frame, key) | {"not_known_yet": source.not_known_yet},
        "partitions": source.partitions,
    }
    return Snapshot(frame, manifest)


def labelled_rows(
    spec: ModelSpec,
    dataset_specs: Mapping[str, DatasetSpec],
    published: Published,
    first: str,
    last: str,
    as_of: str | None = None,
    strict: bool = True,
) -> pd.DataFrame:
    """The rows from `first` to `last` whose outcome is known, as a snapshot has them, but for `window`; none: no rows.

    As known as of a day, or (None) as it is known now. Not `strict`: with labels that can't be used (`make_labels`).
    """
    return _labelled(spec, _Source(dataset_specs, published, as_of), first, last, strict)[0]


def build_inputs(
    spec: ModelSpec,
    dataset_specs: Mapping[str, DatasetSpec],
    published: Published,
    first: str,
    last: str,
    as_of: str | None = None,
) -> pd.DataFrame:
    """Key columns, day and features of every row of the scored dataset from `first` to `last`, in order of day and key.

    As known as of a day, or (None) as it is known now. A day's rows come out the same whatever other days are asked
    for with it. Raises SpecError where the feature function breaks its promise.
    """
    return _build_inputs(spec, _Source(dataset_specs, published, as_of), first, last)


def read_labels(
    spec: ModelSpec,
    dataset_specs: Mapping[str, DatasetSpec],
    published: Published,
    first: str,
    last: str,
    as_of: str | None = None,
) -> pd.DataFrame:
    """Key columns of the scored dataset and `label`, for every outcome known as of a day; among them labels that can't
    be used, which are for the caller to leave out (`ratchet.labels.split_usable`)."""
    source = _Source(dataset_specs, published, as_of)
    outcomes, key = source.read(spec.outcome_dataset, first, last), source.spec(spec.scored_dataset).key
    return make_labels(spec, outcomes, key, strict=False)


def save_snapshot(snapshot: Snapshot, root: Storage | Path) -> str:
    """Write the snapshot to snapshots/<model>/<digest>/ of the lake's storage; manifest.json comes last. Returns the
    address of that folder.

    A folder that has its manifest is complete and is left as it is.
    """
    storage, folder = open_storage(root), _folder(snapshot.manifest["model"], snapshot.digest)
    if storage.look(f"{folder}/{_MANIFEST}") is None:
        with tempfile.TemporaryDirectory() as local:
            frame = Path(local) / _FRAME
            with local_errors(frame):
                snapshot.frame.to_parquet(frame, index=False)
            storage.write(f"{folder}/{_FRAME}", frame)
        storage.write(f"{folder}/{_MANIFEST}", json.dumps(snapshot.manifest, indent=1, sort_keys=True).encode())
    return storage.address(folder)


def has_snapshot(root: Storage | Path, model: str, digest: str) -> bool:
    """Whether a whole snapshot of that digest is there."""
    return open_storage(root).look(f"{_folder(model, digest)}/{_MANIFEST}") is not None


def load_snapshot(root: Storage | Path, model: str, digest: str) -> Snapshot:
    """The snapshot with that digest. Raises UnknownNameError if there is none, ParameterError if its content is not
    what its digest says."""
    storage, folder = open_storage(root), _folder(model, digest)
    try:
        manifest = storage.read(f"{folder}/{_MANIFEST}", _MAX_BYTES)
        saved = storage.read(f"{folder}/{_FRAME}", _MAX_BYTES)
    except NotStoredError as error:
        raise UnknownNameError(
            f"no snapshot {digest[:12]} of {model}",
            where=storage.address(folder),
            hint="take it again: run train_evaluate as of that day",
        ) from error
    try:
        frame = pd.read_parquet(io.BytesIO(saved))
        seen = frame_digest(frame)
    except (pa.ArrowException, OSError, TypeError, ValueError) as error:  # other bytes, or other columns
        frame, seen = pd.DataFrame(), f"{type(error).__name__}: {error}"[:200]
    if seen != digest:
        raise ParameterError(
            "a snapshot that isn't what its name says",
            seen=seen,
            expected=digest,
            where=storage.address(folder),
            hint="the file was altered: move the folder away and run train_evaluate again",
        )
    return Snapshot(frame, json.loads(manifest))


class _Source:
    """Datasets as known as of a day, noting what was read."""

    def __init__(self, dataset_specs: Mapping[str, DatasetSpec], published: Published, as_of: str | None) -> None:
        self._specs, self._published, self._as_of = dataset_specs, published, as_of
        self.partitions: dict[str, dict[str, list]] = {}
        self.not_known_yet = 0

    def spec(self, dataset: str) -> DatasetSpec:
        if dataset not in self._specs:
            raise UnknownNameError(
                f"no dataset named {dataset!r}",
                expected=f"one of {sorted(self._specs)}",
                hint=f"add include/datasets/{dataset}.yaml",
            )
        return self._specs[dataset]

    def read(self, dataset: str, first: str | None, last: str) -> pd.DataFrame:
        """The dataset's rows of these event days that were known; its columns and types even when there are none."""
        spec = self.spec(dataset)
        before = known_before(self._as_of, spec.zone) if self._as_of is not None else None
        frame, revisions, not_known_yet = self._published.read(dataset, first, last, before)
        self.not_known_yet += not_known_yet
        self.partitions[dataset] = {one.day: [one.revision, one.digest, one.drop_sha256] for one in revisions}
        if frame.empty:
            types = {**spec.columns, **_PUBLISHED}
            return pd.DataFrame({name: pd.Series(dtype=_DTYPES[kind]) for name, kind in types.items()})
        absent = {name: pd.Series(dtype=_DTYPES[kind]) for name, kind in spec.columns.items() if name not in frame}
        return frame.assign(**{name: empty.reindex(frame.index) for name, empty in absent.items()})


def _beside_features(spec: ModelSpec, scored: DatasetSpec) -> list[str]:
    """The columns that evaluation groups rows by and that are neither features nor key: as they were delivered."""
    wanted = dict.fromkeys([*spec.evaluate.slices, *spec.evaluate.sensitive])
    if unknown := [name for name in wanted if name not in spec.features and name not in scored.columns]:
        raise SpecError(
            f"{spec.name} is to be evaluated by columns that are not there",
            seen=unknown,
            expected=f"some of its features {spec.features} or of {scored.name}'s columns {list(scored.columns)}",
            where=f"include/models/{spec.name}.yaml: evaluate",
            hint="mend slices and sensitive",
        )
    return [name for name in wanted if name not in spec.features and name not in scored.key]


def _labelled(
    spec: ModelSpec, source: _Source, first: str, last: str, strict: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Key, day, features, columns beside them and label, in order of day and key; all inputs; and all outcomes."""
    scored = source.spec(spec.scored_dataset)
    beside = _beside_features(spec, scored)
    inputs = _build_inputs(spec, source, first, last, beside)
    outcomes = source.read(spec.outcome_dataset, first, last)
    labels = make_labels(spec, outcomes, scored.key, strict)
    frame = inputs.merge(labels, on=scored.key, how="inner", validate="one_to_one")
    frame = frame.sort_values(["day", *scored.key]).reset_index(drop=True)
    return frame[[*dict.fromkeys([*scored.key, "day", *spec.features, *beside, "label"])]], inputs, outcomes


def _build_inputs(spec: ModelSpec, source: _Source, first: str, last: str, beside: Iterable[str] = ()) -> pd.DataFrame:
    frames = {
        name: source.read(name, None if wanted.latest else shift_day(first, -wanted.lookback_days), last)
        for name, wanted in spec.inputs.items()
    }
    key = source.spec(spec.scored_dataset).key
    build = load_function(spec.feature_function)
    parts = []
    for start, end in _stretches(spec, frames, first, last):
        given = {name: _given(frames[name], wanted, start, end) for name, wanted in spec.inputs.items()}
        rows = given[spec.scored_dataset]
        rows = rows[(rows["day"] >= start) & (rows["day"] <= end)].sort_values(["day", *key]).reset_index(drop=True)
        given[spec.scored_dataset] = rows
        parts.append(_with_features(spec, rows[[*key, "day", *beside]], build(**given)))
    return pd.concat(parts, ignore_index=True)


def _stretches(spec: ModelSpec, frames: Mapping[str, pd.DataFrame], first: str, last: str) -> Iterator[tuple[str, str]]:
    """The range, cut where a newer partition of reference data begins to hold, so that each row meets the reference
    data of its own time however many days are built at once."""
    cuts = {first}
    for name, wanted in spec.inputs.items():
        if wanted.latest:
            cuts |= {day for day in frames[name]["day"].unique() if first < day <= last}
    starts = sorted(cuts)
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        yield start, last if following is None else shift_day(following, -1)


def _given(frame: pd.DataFrame, wanted, start: str, end: str) -> pd.DataFrame:
    """What the feature function gets of one input for the days start to end."""
    if wanted.latest:
        known = frame[frame["day"] <= end]
        return known[known["day"] == known["day"].max()].reset_index(drop=True)
    return frame[(frame["day"] >= shift_day(start, -wanted.lookback_days)) & (frame["day"] <= end)].reset_index(
        drop=True
    )


def _with_features(spec: ModelSpec, rows: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """Key and features side by side. A feature that bears a key column's name must be that column."""
    missing = [name for name in spec.features if name not in features.columns]
    shared = [name for name in spec.features if name in rows.columns and name not in missing]
    altered = [name for name in shared if not features[name].equals(rows[name])]
    if missing or altered or not features.index.equals(rows.index):
        raise SpecError(
            f"{spec.feature_function} does not give what {spec.name} asks",
            seen=f"{len(features)} rows; features missing: {missing}; key columns altered: {altered}",
            expected=f"{len(rows)} rows on the index of {spec.scored_dataset}, with columns {spec.features}",
            where=spec.feature_function,
            hint="mend the feature function, or the features in the model's spec",
        )
    numbers = features[list(spec.numeric_features)].astype("float64")
    texts = features[list(spec.categorical_features)].astype("str")
    return pd.concat([rows.drop(columns=shared), numbers, texts], axis="columns").assign(
        **{name: rows[name] for name in shared}
    )


def _left_out(inputs: pd.DataFrame, outcomes: pd.DataFrame, frame: pd.DataFrame, key: list[str]) -> dict[str, int]:
    """Rows to score that are not in the snapshot: no outcome known, or an outcome that bears no label."""
    with_outcome = len(inputs[key].merge(outcomes[key].drop_duplicates(), on=key, how="inner"))
    return {"no_outcome": len(inputs) - with_outcome, "no_label": with_outcome - len(frame)}


def _window_of(day: pd.Series, windows: TrainingWindows) -> pd.Series:
    names = {day: name for name, window in windows.named().items() for day in days_between(window.first, window.last)}
    return day.map(names).astype("str")


def _folder(model: str, digest: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", model) or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ParameterError(
            "not a snapshot's name",
            seen=f"{model!r}, {digest!r}",
            expected="a model's name and a sha256 in hex",
            hint="take the digest from the training run",
        )
    return f"snapshots/{model}/{digest}"
