"""Content digests: what a thing is, independent of the file, folder or table version it lies in."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no spaces, no NaN: equal values give equal text. Raises ValueError for NaN or inf."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=str)


def digest_of(value: object) -> str:
    """sha256, in hex, of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256, in hex, of a file's bytes, read in pieces."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def source_digest(*packages: str) -> str:
    """sha256 over the names and bytes of the Python files of packages or modules, found as an import would find them.

    Imports none of them. Raises SpecError for one that is not there.
    """
    return digest_of(
        {
            name: [(path.relative_to(root).as_posix(), file_digest(path)) for root, path in source_files(name)]
            for name in sorted(set(packages))
        }
    )


def source_files(package: str) -> list[tuple[Path, Path]]:
    """The Python files of a package or module, each after the folder that it is counted from. Raises SpecError."""
    found = find_spec(package)
    if found is None or not (found.submodule_search_locations or found.origin):
        expected = "an importable package"
        raise SpecError(f"no package {package!r}", expected=expected, hint="install it, or mend the spec")
    roots = [Path(root) for root in found.submodule_search_locations or [Path(found.origin).parent]]
    pattern = "**/*.py" if found.submodule_search_locations else Path(found.origin).name
    return [(root, path) for root in roots for path in sorted(root.glob(pattern))]


def frame_digest(frame: pd.DataFrame, *, ordered: bool = False) -> str:
    """sha256 of a frame's content: column names, kinds and values; order of rows counts only if `ordered`.

    The same on any storage and from any file format: each row is hashed (`pandas.util.hash_pandas_object`, fixed
    key, index left out), rows are sorted by hash unless `ordered`, and the result is hashed with the schema.
    Instants are hashed as UTC microseconds, text as text, NaN as NaN, so that a parquet round trip changes nothing.
    """
    import pandas as pd

    columns = sorted(frame.columns)
    plain = pd.DataFrame({name: _plain(frame[name]) for name in columns})
    rows = pd.util.hash_pandas_object(plain, index=False).to_numpy()
    if not ordered:
        rows = rows.copy()
        rows.sort()
    schema = [(name, plain[name].dtype.kind) for name in columns]
    sha = hashlib.sha256(canonical_json([schema, len(plain)]).encode())
    sha.update(rows.astype("<u8").tobytes())
    return sha.hexdigest()


def _plain(column: pd.Series) -> pd.Series:
    import pandas as pd

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return column.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]")
    if pd.api.types.is_datetime64_dtype(column):
        return column.astype("datetime64[us]")
    if isinstance(column.dtype, pd.StringDtype):
        return _coded(column)
    if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(column):
        return column.astype(object).where(column.notna(), None)
    if pd.api.types.is_float_dtype(column):
        return column.where(column.notna(), float("nan"))  # NaN has many bit patterns: 0/0 gives another than parquet
    return column


def _coded(texts: pd.Series) -> pd.Series:
    """The distinct texts, as objects, and which one each row has: what pandas hashes objects by, made several times as
    fast."""
    import pandas as pd
    import pyarrow as pa

    given = pa.array(texts, pa.large_string(), from_pandas=True)  # of texts in several pieces a ChunkedArray
    coded = (given.combine_chunks() if isinstance(given, pa.ChunkedArray) else given).dictionary_encode()
    known = pd.Index(coded.dictionary.to_pylist(), dtype=object)
    codes = coded.indices.fill_null(-1).to_numpy()
    return pd.Series(pd.Categorical.from_codes(codes, known, validate=False), index=texts.index)
