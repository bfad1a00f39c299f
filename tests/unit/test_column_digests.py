"""The digest of a text column: of all of each text."""

import pandas as pd
import pytest

from ratchet.digests import frame_digest


def digest(*texts, kind="str"):
    return frame_digest(pd.DataFrame({"text": pd.Series(texts, dtype=kind)}))


@pytest.mark.parametrize("kind", ["str", "category", object])
def test_a_text_counts_beyond_a_nul(kind):
    assert digest("a\0b", kind=kind) != digest("a\0c", kind=kind)
    assert digest("a\0", kind=kind) != digest("a", kind=kind)
    assert digest("\0", kind=kind) != digest("", kind=kind)


def test_texts_that_differ_beyond_a_nul_alone_are_told_apart_within_a_column():
    assert digest("a\0b", "a\0c") not in (digest("a\0b", "a\0b"), digest("a\0c", "a\0c"))
    assert digest("a\0b", "a\0c") == digest("a\0c", "a\0b")
