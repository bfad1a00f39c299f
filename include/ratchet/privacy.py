"""Pseudonyms: what stands in lake and quarantine for the values of personal columns.

A pseudonym is a keyed hash (HMAC-SHA256, RFC 2104): equal values get equal ones, and without the key nobody can work
out whose it is by trying names. Its scope is the column's name: the same person has the same pseudonym in every dataset
that has a column of that name, so that these join; under two names nothing joins. No value is tidied up before.

The key is in RATCHET_PSEUDONYM_KEY, or else in the file that RATCHET_PSEUDONYM_KEY_FILE names (default
<var>/secrets/pseudonym.key, made at first use), as hex or base64 of 32 bytes or more. Who loses it loses the link to
what is published; who destroys it on purpose makes all pseudonyms anonymous.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pyarrow as pa

from ratchet.errors import ParameterError

ENV_KEY = "RATCHET_PSEUDONYM_KEY"
ENV_KEY_FILE = "RATCHET_PSEUDONYM_KEY_FILE"
_SHORTEST = 32  # bytes


class Pseudonyms:
    """Makes pseudonyms with one key, which it shows nobody."""

    def __init__(self, key: bytes) -> None:
        if len(key) < _SHORTEST:
            raise _bad_key(f"{len(key)} bytes", "a key")
        self._key_of = cache(lambda column: _hmac(key, f"column {column}").digest())
        self.fingerprint = _hmac(key, "fingerprint").hexdigest()[:16]  # tells keys apart; part of what is published

    def of(self, column: str, value: str) -> str:
        """The pseudonym of a value in a column of that name: 64 hex digits."""
        return hmac.digest(self._key_of(column), value.encode(), "sha256").hex()

    def of_all(self, column: str, values: pa.Array) -> pa.Array:
        """The pseudonym of each text; a null stays one."""
        known = values.dictionary_encode()
        made = pa.array([self.of(column, value) for value in known.dictionary.to_pylist()], values.type)
        return made.take(known.indices)


def open_pseudonyms(var: Path, environ: Mapping[str, str] = os.environ) -> Pseudonyms:
    """The pseudonyms of a deployment; makes the key's file (0600) when there is neither that nor a key in `environ`.

    Raises ParameterError for a key that is none.
    """
    if text := environ.get(ENV_KEY):
        return Pseudonyms(_decoded(text, ENV_KEY))
    path = Path(environ.get(ENV_KEY_FILE) or Path(var) / "secrets" / "pseudonym.key")
    return Pseudonyms(_decoded(_text_on_file(path), path))


def _text_on_file(path: Path) -> str:
    from ratchet.ledger.head import lock_beside, make_key  # its package loads SQLAlchemy, which most readers don't need

    try:
        with lock_beside(path):  # of two first uses at once, one makes the key
            return path.read_text("ascii") if path.exists() else make_key(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(
            "the key of the pseudonyms can't be read", seen=type(error).__name__, where=path, hint="mend its file"
        ) from error


def _decoded(text: str, where: object) -> bytes:
    text = text.strip()
    for decode in (bytes.fromhex, lambda base: base64.b64decode(base, validate=True)):
        try:
            key = decode(text)
        except (ValueError, binascii.Error):
            continue
        if len(key) < _SHORTEST:
            raise _bad_key(f"{len(key)} bytes", where)
        return key
    raise _bad_key("neither hex nor base64", where)


def _bad_key(seen: str, where: object) -> ParameterError:
    return ParameterError(
        "the key of the pseudonyms is none",
        seen=seen,
        expected=f"hex or base64 of {_SHORTEST} bytes or more",
        where=where,
        hint="restore it; a new one, such as `openssl rand -hex 32` makes, gives everybody another pseudonym",
    )


def _hmac(key: bytes, message: str) -> hmac.HMAC:
    return hmac.new(key, message.encode(), "sha256")
