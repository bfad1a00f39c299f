"""What a folder, S3, or deltalake on either says when it fails, as errors of ours."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ratchet.errors import NotStoredError, StorageError, StorageRefusedError

_PASSING_CODES = {"RequestTimeout", "RequestTimeTooSkewed", "ExpiredToken", "SlowDown", "OperationAborted"}
_S3_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
_S3_STATUS = re.compile(r"\b([45]\d\d) [A-Z][a-z]+")
_FROM_STORAGE = re.compile(r"S3 error|Error performing|LocalFileSystem|privileges to complete|\(os error \d+\)")


def delta_error(error: Exception, where: str) -> StorageError | None:
    """What deltalake says when the storage below it fails, as an error of ours; None if the storage isn't to blame, as
    when another writer's commit was there first."""
    text = str(error)
    if not _FROM_STORAGE.search(text) or "already exists" in text:
        return None
    system = re.search(r"\(os error (\d+)\)", text)
    if code := _S3_CODE.search(text):
        status = _S3_STATUS.search(text)
        return s3_error(where, code[1], int(status[1]) if status else 0)
    if status := _S3_STATUS.search(text):
        return s3_error(where, "no code", int(status[1]))
    if system and "S3" not in text:
        return local_error(OSError(int(system[1]), os.strerror(int(system[1]))), where)
    return unanswered(where, "timeout" if "timed out" in text else "connection broken", passing=True)


def s3_error(where: str, code: str, status: int) -> StorageError:
    """An answer of S3 that is no success. Its message is left out: some servers quote keys and signatures in it."""
    seen = f"{code} (HTTP {status})" if status else code
    if code in _PASSING_CODES or status in (0, 408, 409, 425, 429) or status >= 500:
        return StorageError("S3 failed", seen=seen, where=where, hint="run again when it is well; nothing is half done")
    return StorageRefusedError(
        "S3 refused",
        seen=seen,
        expected="credentials with the right to list, read and write there, and a bucket that exists",
        where=where,
        hint="mend RATCHET_STORAGE, or the AWS_ variables of the deployment and their user's rights; then run again",
    )


def unanswered(where: str, seen: str, passing: bool) -> StorageError:
    if passing:
        return StorageError(
            "S3 does not answer", seen=seen, where=where, hint="see that it is up and can be reached; then run again"
        )
    return StorageRefusedError(
        "S3 can't be asked",
        seen=seen,
        expected="credentials, endpoint and region by the standard AWS chain",
        where=where,
        hint="set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, if it isn't Amazon's, AWS_ENDPOINT_URL",
    )


def not_stored(where: object) -> NotStoredError:
    return NotStoredError("nothing is stored there", where=where, hint="deliver it, or make it again")


@contextmanager
def local_errors(where: object) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise local_error(error, where) from error


def local_error(error: OSError, where: object) -> StorageError:
    seen = f"{errno.errorcode.get(error.errno, '')} {error.strerror}".strip()
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return not_stored(where)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageRefusedError(
            "the storage's folder refused", seen=seen, where=where, hint="give the process's user the right to it"
        )
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "make room on the disk, then run again" if full else "look at the disk, then run again"
    what = "the storage's disk is full" if full else "the storage's disk failed"
    return StorageError(what, seen=seen, where=where, hint=hint)
