"""Servers that alerts are sent to: they speak SMTP and HTTP on a free port of 127.0.0.1, and keep what they get."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from local_stack.ports import free_port


@dataclass
class MailServer:
    """`got`: messages, with their recipients in `to`. With a `password` it takes mail from who has it alone."""

    password: str | None = None
    got: list[EmailMessage] = field(default_factory=list)
    to: list[list[str]] = field(default_factory=list)
    port: int = 0

    async def handle_DATA(self, server, session, envelope) -> str:
        self.got.append(message_from_bytes(envelope.content, policy=policy.default))
        self.to.append(envelope.rcpt_tos)
        return "250 taken"

    def allows(self, server, session, envelope, mechanism, data) -> AuthResult:
        right = isinstance(data, LoginPassword) and data.password.decode() == self.password
        return AuthResult(success=right, handled=right)

    def connection(self, password: str = "") -> str:
        """As the variable AIRFLOW_CONN_... holds it."""
        how = {"disable_ssl": True, "disable_tls": True, "from_email": "loop@ratchet.example"}
        named = {"login": "loop", "password": password} if password else {}
        return json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": self.port, "extra": how, **named})


@contextmanager
def mail_server(password: str | None = None) -> Iterator[MailServer]:
    mails = MailServer(password, port=free_port())
    asks = {"authenticator": mails.allows, "auth_required": True, "auth_require_tls": False} if password else {}
    controller = Controller(mails, hostname="127.0.0.1", port=mails.port, **asks)
    controller.start()
    try:
        yield mails
    finally:
        controller.stop()


@dataclass
class ChatServer:
    """A webhook: `got` are the posts, as [path, body]; `says` is the status it answers with."""

    got: list[tuple[str, dict]] = field(default_factory=list)
    says: int = 200
    port: int = 0

    def connection(self, token: str) -> str:
        """As the variable AIRFLOW_CONN_... holds it."""
        return json.dumps(
            {"conn_type": "slackwebhook", "host": f"http://127.0.0.1:{self.port}/services", "password": token}
        )


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    chat = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            chat.got.append((self.path, json.loads(body)))
            self.send_response(chat.says)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    chat.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
