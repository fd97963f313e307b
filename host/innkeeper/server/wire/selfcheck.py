"""Looks at start for what the server uses of hypercorn that hypercorn does not promise."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

from hypercorn.protocol.h11 import H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WebsocketBuffer, WSStream
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import TrioSingleTask, WorkerContext

from innkeeper.errors import UsageError

SERIES: Final = "0.18"

_STREAM = ("self", "app", "config", "context", "task_group", "ssl", "client", "server", "send", "stream_id")

USED: Final[dict[Callable[..., Any], tuple[str, ...]]] = {
    TCPServer.__init__: ("self", "app", "config", "context", "state", "stream"),
    TCPServer.protocol_send: ("self", "event"),
    TCPServer._idle_timeout: ("self",),
    TCPServer._close: ("self",),
    TCPServer._read_data: ("self",),
    TaskGroup.spawn_app: ("self", "app", "config", "scope", "send"),
    TaskGroup.spawn: ("self", "func", "args"),
    TrioSingleTask.restart: ("self", "task_group", "action"),
    TrioSingleTask.stop: ("self",),
    WorkerContext.__init__: ("self", "max_requests"),
    Lifespan.__init__: ("self", "app", "config", "state"),
    Lifespan.wait_for_startup: ("self",),
    Lifespan.wait_for_shutdown: ("self",),
    H11Protocol.__init__: (
        "self",
        "app",
        "config",
        "context",
        "task_group",
        "connection_state",
        "ssl",
        "client",
        "server",
        "send",
    ),
    H11Protocol.handle: ("self", "event"),
    H11Protocol.stream_send: ("self", "event"),
    H11Protocol._handle_events: ("self",),
    H11Protocol._maybe_recycle: ("self",),
    H11Protocol._create_stream: ("self", "request"),
    H11Protocol._close_stream: ("self",),
    H11Protocol._send_h11_event: ("self", "event"),
    H11WSConnection.__init__: ("self", "h11_connection"),
    HTTPStream.__init__: _STREAM,
    HTTPStream.handle: ("self", "event"),
    WSStream.__init__: _STREAM,
    WSStream.handle: ("self", "event"),
    WSStream._handle_events: ("self",),
    WSStream._send_error_response: ("self", "status_code"),
    WSStream._send_wsproto_event: ("self", "event"),
    WebsocketBuffer.extend: ("self", "event"),
}
"""Each function that is called or replaced, with its parameters."""


def check_hypercorn(installed: str | None = None) -> None:
    """Looks whether hypercorn is the one that the server was made for.

    Args:
        installed: its version; None: the one that is installed.

    Raises:
        UsageError: it is another.
    """
    found = version("hypercorn") if installed is None else installed
    same = found.split(".")[:2] == SERIES.split(".")
    if same and all(tuple(inspect.signature(function).parameters) == names for function, names in USED.items()):
        return
    raise UsageError(
        f"hypercorn {found} is installed, but this server works with {SERIES} alone: install 'hypercorn=={SERIES}.*'"
    )
