"""Signed requests to Airflow's REST API: signing in, sending again what the database failed, pages, waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

import httpx

from local_stack.airflow_replies import database_failed, refused
from local_stack.errors import NoAnswerError, WaitTimeoutError

POLL_SECONDS = 0.25
DATABASE_PAUSES = (0.5, 1, 2, 4)  # seconds before each further try of a request that Airflow's database failed


class AirflowHttp:
    """Airflow's REST API for one account.

    Replies come back as the parsed JSON of the API (`/api/v2`); a reply that is an error raises StackError with
    Airflow's own words. Signs in at the first call, and again when the token has run out.
    """

    def __init__(
        self, url: str, username: str, password: str, *, while_waiting: Callable[[], None] = lambda: None
    ) -> None:
        """`while_waiting` is called at every look of a wait, and may raise what makes waiting senseless."""
        self.url = url.rstrip("/")
        self.username = username
        self._password = password
        self._token: str | None = None
        self._while_waiting = while_waiting
        # trust_env off: a proxy for the outside has no business with a server on loopback.
        self._http = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def token(self) -> str:
        """A bearer token for this account."""
        if self._token is None:
            credentials = {"username": self.username, "password": self._password}
            reply = self._request("POST", "/auth/token", json=credentials)
            if reply.status_code != 201:
                raise refused("POST", "/auth/token", reply, self.username)
            self._token = reply.json()["access_token"]
        return self._token

    def send(
        self, method: str, path: str, *, body=None, params=None, headers=None, repeatable: bool = False
    ) -> httpx.Response:
        """One request below `/api/v2`, whatever its status; `path` starts with a slash.

        A GET, or one that is `repeatable`, is sent a few times more while Airflow's database fails it.
        """
        pauses = DATABASE_PAUSES if repeatable or method == "GET" else ()
        for pause in pauses:
            reply = self._send_signed(method, path, body, params, headers)
            if not database_failed(reply):
                return reply
            time.sleep(pause)
        return self._send_signed(method, path, body, params, headers)

    def _send_signed(self, method: str, path: str, body, params, headers) -> httpx.Response:
        for may_sign_in_again in (True, False):
            signed = {"Authorization": f"Bearer {self.token()}"} | (headers or {})
            reply = self._request(method, f"/api/v2{path}", json=body, params=params, headers=signed)
            if reply.status_code != 401 or not may_sign_in_again:
                break
            self._token = None
        return reply

    def call(self, method: str, path: str, *, body=None, params=None, headers=None):
        """`send`, the parsed reply; StackError unless the status is 2xx."""
        reply = self.send(method, path, body=body, params=params, headers=headers)
        if not reply.is_success:
            raise refused(method, path, reply, self.username)
        return reply.json() if reply.content else None

    def get(self, path: str, **params):
        return self.call("GET", path, params=params)

    def get_all(self, path: str, key: str, **params) -> list[dict]:
        """Every item of a listing that the API gives in pages of 100."""
        items, total = [], 1
        while len(items) < total:
            page = self.get(path, limit=100, offset=len(items), **params)
            items += page[key]
            total = page["total_entries"] if page[key] else 0
        return items

    def poll(self, what: str, seen: Callable[[], tuple[bool, str]], timeout: float, more=lambda: "") -> None:
        """Until `seen` says (True, what it saw). After `timeout` seconds WaitTimeoutError, with that and `more()`."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                done, state = seen()
            except NoAnswerError as error:  # a server that has ended is started again
                done, state = False, str(error)
            if done:
                return
            self._while_waiting()
            if time.monotonic() > deadline:
                raise WaitTimeoutError(
                    f"Waited {timeout:.0f} s for {what}",
                    seen=" ".join(filter(None, (state, more()))),
                    where=self.url,
                    hint="look at the run in Airflow's UI; a busy machine may need a longer time-out",
                )
            time.sleep(POLL_SECONDS)

    def _request(self, method: str, path: str, **what) -> httpx.Response:
        try:
            return self._http.request(method, path, **what)
        except httpx.TransportError as error:
            raise NoAnswerError(
                f"Airflow did not answer {method} {path}",
                seen=f"{type(error).__name__}: {error}",
                where=self.url,
                hint="is it running? its logs are in var/logs",
            ) from error
