"""A server of a home, on loopback, in the test's own loop of trio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio

from innkeeper.composition.serving import open_parts
from innkeeper.server.app import make_app
from innkeeper.server.parts import Parts
from innkeeper.server.serving import listening, serve_app, url_of


@dataclass(frozen=True)
class Served:
    """A server that runs.

    Attributes:
        url: where, such as "http://127.0.0.1:40123".
        parts: what it works with.
        client: speaks to it; its `base_url` is the server's.
    """

    url: str
    parts: Parts
    client: httpx.AsyncClient


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[Served]:
    """Serves a home for the time of the block."""
    stop = trio.Event()
    with trio.fail_after(120):
        async with open_parts(home, watch=False) as parts, trio.open_nursery() as nursery:
            sockets = listening("127.0.0.1", 0)
            url = url_of(sockets[0])
            nursery.start_soon(serve_app, make_app(parts), sockets, stop)
            # What the environment says of proxies is not for loopback.
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
                yield Served(url, parts, client)
            stop.set()
