"""`airflow api-server`, one writing request at a time: `python -m local_stack.api_server`.

Airflow 3.3 writes a request's audit entry inside the event loop. If another request holds SQLite's write lock then, it
needs that same event loop to commit: everything stands still until SQLite gives up, and both get a 500. A request that
waits here instead waits without holding anything.
"""

from __future__ import annotations

import asyncio
import sys

READS = frozenset({"GET", "HEAD", "OPTIONS"})


class OneWriter:
    """ASGI application that lets a request that may write in only when the one before has been committed."""

    def __init__(self, app) -> None:
        self._app = app
        self._turn = asyncio.Lock()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http" or scope["method"] in READS:
            await self._app(scope, receive, send)
            return
        async with self._turn:
            await self._app(scope, receive, send)


def main() -> None:
    from airflow.__main__ import main as airflow
    from airflow.api_fastapi.main import app  # the one that the command serves

    app.add_middleware(OneWriter)
    sys.argv = ["airflow", "api-server"]
    airflow()


if __name__ == "__main__":
    main()
