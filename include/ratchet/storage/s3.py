"""A prefix of a bucket as storage."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.errors import StorageError
from ratchet.storage.failures import not_stored, s3_error, unanswered
from ratchet.storage.role import PIECE, Entry, Storage, check_key, reader, size_of

if TYPE_CHECKING:
    from botocore.client import BaseClient

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 30, 3
_MULTIPART_BYTES = 16 * 1024 * 1024
_ENDPOINT = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._/-]*)?")
_PASSING = {"HTTPClientError", "ConnectionError", "IncompleteReadError", "ResponseStreamingError"}


class S3Storage(Storage):
    """A prefix of a bucket."""

    def __init__(self, bucket: str, prefix: str, connection: S3Connection) -> None:
        self._bucket, self._prefix, self._connection = bucket, prefix, connection

    def __repr__(self) -> str:
        return f"S3Storage({self.address()!r})"

    def address(self, key: str = "") -> str:
        return f"s3://{self._bucket}/{self._full(key)}".rstrip("/")

    def below(self, folder: str) -> S3Storage:
        return S3Storage(self._bucket, self._full(check_key(folder)), self._connection)

    def list(self, folder: str = "") -> Iterator[Entry]:
        with self._answers(folder):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._full(folder) + "/" if self._full(folder) else ""
            )
            for page in pages:
                yield from (self._entry(one) for one in page.get("Contents", []) if not one["Key"].endswith("/"))

    def look(self, key: str) -> Entry | None:
        """By a listing: to a HEAD, a bucket that isn't there is an object that isn't there."""
        full = self._full(check_key(key))
        with self._answers(key):
            found = self._client.list_objects_v2(Bucket=self._bucket, Prefix=full, MaxKeys=1).get("Contents", [])
            return self._entry(found[0]) if found and found[0]["Key"] == full else None

    def delete(self, key: str) -> None:
        with self._answers(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._full(check_key(key)))

    def abort_leftovers(self, older_than: timedelta) -> int:
        left, before = 0, datetime.now(UTC) - older_than
        with self._answers():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            for upload in (one for page in pages for one in page.get("Uploads", [])):
                if self._is_mine(upload["Key"]) and upload["Initiated"] <= before:
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    left += 1
        return left

    def delta_options(self) -> dict[str, str]:
        with self._answers():
            return self._connection.delta_options()

    @property
    def _client(self) -> BaseClient:
        return self._connection.client

    def _full(self, key: str) -> str:
        return "/".join(part for part in (self._prefix, check_key(key) if key else "") if part)

    def _is_mine(self, full: str) -> bool:
        return not self._prefix or full.startswith(f"{self._prefix}/")

    def _entry(self, listed: dict) -> Entry:
        key = listed["Key"].removeprefix(f"{self._prefix}/" if self._prefix else "")
        return Entry(key, listed["Size"], listed["LastModified"].astimezone(UTC))

    @contextmanager
    def _opened(self, key: str) -> Iterator[tuple[int, Iterator[bytes]]]:
        with self._answers(key):
            reply = self._client.get_object(Bucket=self._bucket, Key=self._full(key))
            with closing(reply["Body"]) as body:
                yield reply["ContentLength"], body.iter_chunks(PIECE)

    def _put(self, key: str, data: bytes | Path) -> None:
        """A put whose reply was lost may have been done: before it counts as failed, what lies there is looked at."""
        try:
            with self._answers(key):
                self._upload(self._full(key), data)
        except StorageError:
            with suppress(StorageError):
                if self._holds(key, data):
                    return
            raise

    def _upload(self, full: str, data: bytes | Path) -> None:
        if size_of(data) <= _MULTIPART_BYTES:
            body = data if isinstance(data, bytes) else data.read_bytes()
            self._client.put_object(Bucket=self._bucket, Key=full, Body=body)
            return
        from boto3.s3.transfer import TransferConfig

        parts = TransferConfig(
            multipart_threshold=_MULTIPART_BYTES, multipart_chunksize=_MULTIPART_BYTES, max_concurrency=2
        )
        with reader(data) as source:
            self._client.upload_fileobj(source, self._bucket, full, Config=parts)

    @contextmanager
    def _answers(self, key: str = "") -> Iterator[None]:
        """Turns what boto3 raises into ours."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error) as error:
            raise self._translated(error, key) from None

    def _translated(self, error: Exception, key: str) -> StorageError:
        from botocore.exceptions import ClientError

        # s3transfer puts the error it met into one of its own, which quotes the message.
        cause = next((e for e in (error, error.__cause__, error.__context__) if isinstance(e, ClientError)), error)
        if isinstance(cause, ClientError):
            code = str(cause.response.get("Error", {}).get("Code", "no code"))
            status = int(cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            if code in ("NoSuchKey", "404"):
                return not_stored(self.address(key))
            return s3_error(self.address(key), code, status)
        kinds = {kind.__name__ for kind in type(error).__mro__}
        return unanswered(self.address(key), type(error).__name__, passing=bool(kinds & _PASSING))


class S3Connection:
    """The client of one process's environment, made at the first use and shared by all prefixes."""

    @cached_property
    def _session(self):
        import boto3

        return boto3.session.Session()

    @cached_property
    def client(self) -> BaseClient:
        from botocore.config import Config

        # Path style is what servers other than Amazon's all understand, and what deltalake asks for.
        style = {"addressing_style": "path"} if self._endpoint else {}
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            s3=style,
        )
        return self._session.client("s3", region_name=self._region, endpoint_url=self._endpoint, config=config)

    def delta_options(self) -> dict[str, str]:
        """deltalake has a chain of its own; given boto3's answer, both are the same somebody at the same place."""
        from botocore.exceptions import NoCredentialsError

        found = self._session.get_credentials()
        if found is None:
            raise NoCredentialsError()
        now = found.get_frozen_credentials()
        options = {
            "aws_access_key_id": now.access_key,
            "aws_secret_access_key": now.secret_key,
            "aws_session_token": now.token,
            "aws_region": self._region,
            "aws_endpoint": self._endpoint,
            "aws_allow_http": str((self._endpoint or "").startswith("http://")).lower(),
            "aws_conditional_put": "etag",  # two writers of one version: If-None-Match lets one of them win
            "connect_timeout": f"{CONNECT_SECONDS}s",
            "timeout": f"{READ_SECONDS}s",
            "max_retries": str(ATTEMPTS - 1),
            "retry_timeout": f"{READ_SECONDS * ATTEMPTS}s",
        }
        return {name: value for name, value in options.items() if value is not None}

    @property
    def _endpoint(self) -> str | None:
        """Checked, because deltalake panics at one that is no address; not repeated, as it may hold a password."""
        given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if given and not _ENDPOINT.fullmatch(given):
            raise unanswered("AWS_ENDPOINT_URL", "not an address like https://host:port", passing=False)
        return given or None

    @property
    def _region(self) -> str:
        """boto3 itself doesn't read AWS_REGION."""
        return os.environ.get("AWS_REGION") or self._session.region_name or "us-east-1"
