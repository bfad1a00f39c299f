"""Storage: the bytes of landing zone and lake, in a folder or in a bucket of S3. The only module that imports boto3.

A key names an object: parts joined by `/`, each of ASCII letters, digits and `._=-`, none beginning with a dot or a
dash. What lies under a key is replaced whole or not at all.

S3's credentials, endpoint and region are those of the deployment's environment, by the standard AWS chain
(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_ENDPOINT_URL, AWS_REGION; or a profile or a role). An
error tells what S3 answered by its code alone, and hides the error it came from: S3 quotes requests in what it says.
"""

from __future__ import annotations

import re
from pathlib import Path

from ratchet.errors import ParameterError
from ratchet.storage.failures import delta_error
from ratchet.storage.local import LocalStorage
from ratchet.storage.role import Entry, Storage, is_key
from ratchet.storage.s3 import S3Connection, S3Storage

__all__ = ["Entry", "Storage", "delta_error", "open_storage"]

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def open_storage(url: Storage | Path | str) -> Storage:
    """The storage at a folder's path or at s3://bucket/prefix. Asks nothing of it and creates nothing.

    Raises ParameterError for what is neither. A Storage is given back as it is.
    """
    if isinstance(url, Storage):
        return url
    if isinstance(url, Path) or "://" not in url:
        return LocalStorage(Path(url))
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/")
    if not url.startswith("s3://") or not _BUCKET.fullmatch(bucket) or (prefix and not is_key(prefix)):
        raise ParameterError(  # without what was seen: people put credentials into such addresses
            "not an address of a storage",
            expected="a folder, or s3://bucket/prefix",
            where="RATCHET_STORAGE",
            hint="name a folder or a bucket; credentials belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    return S3Storage(bucket, prefix, S3Connection())
