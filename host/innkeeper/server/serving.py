"""Listens, and gives each request to the application."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import trio
from fastapi import FastAPI

from innkeeper.plugins.settings import ServerSettings
from innkeeper.server.wire.bounds import LOOPBACK, Bounds
from innkeeper.server.wire.selfcheck import check_hypercorn
from innkeeper.server.wire.server import Server


def listening(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on an address.

    Raises:
        OSError: it is taken, or none of this machine's.
        UsageError: nothing could be served: hypercorn is another than the server was made for.
    """
    check_hypercorn()
    found = []
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(2048)
        made.setblocking(False)
        found.append(made)
    return found


def url_of(listener: socket.socket) -> str:
    """The URL of what a socket listens to (str)."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"


async def serve_app(app: FastAPI, sockets: Sequence[socket.socket], stop: trio.Event) -> None:
    """Serves an application on sockets that listen, until `stop` is set. Closes the sockets.

    `app.state.streams` counts what is open (`wire.direct.Streams`).

    Raises:
        UsageError: hypercorn is another than the server was made for.
    """
    parts = getattr(app.state, "parts", None)
    settings = parts.settings if parts is not None else ServerSettings()
    server = Server(app, Bounds(settings, (*LOOPBACK, *settings.proxies)))
    app.state.streams = server.streams
    await server.serve(sockets, stop)
