"""A proxy before a server, of S3 or MLflow, that fails on demand: answers with an error, breaks the connection, keeps a
client waiting, or passes a request on and loses the reply.

It is a process of its own: deltalake holds Python's lock while it waits, and a thread could not answer it.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

Fault = int | Literal["reset", "stall", "lose"]


class FaultyProxy:
    """Started and ended by `with`; `endpoint` is where it listens."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream

    def __enter__(self) -> FaultyProxy:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen([sys.executable, __file__, self._upstream], **pipes)  # it ends with its stdin
        self.endpoint = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)

    def fail(self, fault: Fault, requests: str = "", times: int | None = None) -> None:
        """What becomes of the requests whose `METHOD path` matches, the first `times` of them (None: all): a number
        is an HTTP status to answer with, "reset" breaks the connection, "stall" says nothing until the client goes
        away, "lose" passes it on and breaks it then."""
        self._tell({"fault": fault, "requests": requests, "times": times})

    def mend(self) -> None:
        """Every request is passed on again."""
        self._tell(None)

    def seen(self) -> list[str]:
        """The requests until now, each as `METHOD path`."""
        with urlopen(f"{self.endpoint}{_OWN}", timeout=10) as reply:
            return json.load(reply)

    def _tell(self, rule: dict | None) -> None:
        with urlopen(Request(f"{self.endpoint}{_OWN}", json.dumps(rule).encode()), timeout=10):
            pass


_OWN = "/-/proxy"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.rule, self.seen = urlsplit(upstream).netloc, None, []

    def fault(self, request: str) -> Fault | None:
        if not self.rule or not re.search(self.rule["requests"], request) or self.rule["times"] == 0:
            return None
        if self.rule["times"]:
            self.rule["times"] -= 1
        return self.rule["fault"]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == _OWN:
            self._own(body)
            return
        request = f"{self.command} {self.path}"
        self.server.seen.append(request)
        fault = self.server.fault(request)
        if isinstance(fault, int):
            self._answer(fault, {}, b"<Error><Code>Planned</Code><Message>AWSAccessKeyId=PLANTED</Message></Error>")
        elif fault in ("reset", "stall"):
            if fault == "stall":
                self.connection.recv(1)  # comes back when the client hangs up
            self._break()
        else:
            self._pass_on(body, lose=fault == "lose")

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _serve

    def _own(self, body: bytes) -> None:
        if self.command == "POST":
            self.server.rule = json.loads(body)
        self._answer(200, {}, json.dumps(self.server.seen).encode())

    def _pass_on(self, body: bytes, lose: bool) -> None:
        onward = http.client.HTTPConnection(self.server.upstream, timeout=30)
        with suppress(OSError):
            # The host stays as the client named it: it is signed.
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            onward.request(self.command, self.path, body, headers)
            reply = onward.getresponse()
            answer = reply.read()
            if lose:
                self._break()
            else:
                kept = {name: value for name, value in reply.getheaders() if name.lower() != "transfer-encoding"}
                self._answer(reply.status, kept, answer)
        onward.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _break(self) -> None:
        self.close_connection = True
        self.wfile.close()
        self.rfile.close()
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Not on the tests' output."""


if __name__ == "__main__":
    server = _Server(sys.argv[1])
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()
