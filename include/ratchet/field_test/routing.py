"""Which rows a canary serves: a stated share, by a hash of the row's key alone, so that a row that is scored twice is
served by the same version as long as the routing stands."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from ratchet.digests import canonical_json
from ratchet.prediction_ids import key_texts

if TYPE_CHECKING:
    import pandas as pd


def in_share(rows: pd.DataFrame, key: list[str], salt: str, share: float) -> np.ndarray:
    """Of each row (bool) whether it is in the share: the first 64 bits of sha256(canonical JSON of salt and key), as a
    number from 0 to 1, are below it. `salt`: the routing's id, so that no two pick the same rows."""
    numbers = [_number(canonical_json([salt, *of_key])) for of_key in zip(*key_texts(rows, key), strict=True)]
    return np.array(numbers, dtype=float) < share


def _number(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
