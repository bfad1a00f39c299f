"""The ledger's secrets beside the database: the key of its chain, and where its end was last seen.

Both lie outside the database, so that who can edit the database can neither forge an entry nor cut off the last ones
without it showing.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from ratchet.errors import LedgerError
from ratchet.ledger.locks import lock_beside


@dataclass(frozen=True)
class Head:
    """The newest entry known: its seq and hash."""

    seq: int
    hash: str


class HeadFile:
    """The file that holds the head: {"seq", "hash"}. It only ever moves forward."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def read(self) -> Head | None:
        """The head on file; None when there is no file. Raises LedgerError when it can't be read."""
        try:
            raw = json.loads(self.path.read_text("utf-8"))
            return Head(int(raw["seq"]), str(raw["hash"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LedgerError(
                "the ledger's head file can't be read", seen=error, where=self.path, hint="restore it from a backup"
            ) from error

    def advance(self, head: Head) -> None:
        """Put `head` on file, whole or not at all, unless the file is further on. Raises LedgerError if it can't."""
        try:
            with lock_beside(self.path):
                known = self.read()
                if known is None or known.seq < head.seq:
                    _replace(self.path, json.dumps({"seq": head.seq, "hash": head.hash}))
        except OSError as error:
            raise LedgerError(
                f"entry {head.seq} is in the ledger, but its head file can't be written",
                seen=error,
                where=self.path,
                hint="make room or mend permissions, then run again: what is done stays done",
            ) from error


def read_key(path: Path) -> bytes | None:
    """The key of the chain, or None when there is no file. Raises LedgerError when it is unreadable or too short."""
    try:
        key = Path(path).read_bytes().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        hint = "mend its permissions"
        raise LedgerError("the ledger's key can't be read", seen=error, where=path, hint=hint) from error
    if len(key) < 32:
        raise LedgerError(
            "the ledger's key is too short",
            seen=f"{len(key)} bytes",
            expected="32 or more",
            where=path,
            hint="restore the key that the ledger was begun with",
        )
    return key


def make_key(path: Path) -> bytes:
    """A new random key in a file that only its owner can read (0600)."""
    key = secrets.token_hex(32)
    _replace(Path(path), key)
    return key.encode()


def _replace(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.draft")
    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
