"""Guards around an application of a few routes, on loopback, for raw requests as well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio
from fastapi import FastAPI, WebSocket
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.types import Message

from innkeeper.composition.serving import open_parts
from innkeeper.server.app import make_app
from innkeeper.server.identity import Caller
from innkeeper.server.parts import Parts
from innkeeper.server.serving import listening, serve_app, url_of


@dataclass(frozen=True)
class Guarded:
    """A server that runs.

    Attributes:
        app: the application.
        port: of 127.0.0.1.
        url: its URL.
        parts: what it works with.
        client: speaks to it.
        release: ends its streams.
    """

    app: FastAPI
    port: int
    url: str
    parts: Parts
    client: httpx.AsyncClient
    release: trio.Event

    async def ask(self, method: str, path: str) -> int:
        """The status of an answer, without the network between."""
        found: list[Message] = []

        async def send(message: Message) -> None:
            found.append(message)

        async def receive() -> Message:
            return {"type": "http.request"}

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(b"host", b"localhost:1")],
            "server": ("127.0.0.1", 1),
            "client": ("127.0.0.1", 2),
            "scheme": "http",
        }
        await self.app(scope, receive, send)
        return int(found[0]["status"])

    async def raw(self, head: str, body: bytes = b"", *, host: str | None = None) -> tuple[int, dict[str, str], bytes]:
        """What the server answers to a head as it stands; with a Host unless `host` is "".

        Returns:
            tuple: status, headers with names in lower case, and the beginning of the body.
        """
        lines = [line.strip() for line in head.strip().splitlines()]
        if host != "":
            lines.append(f"Host: {host or f'127.0.0.1:{self.port}'}")
        if not any(line.lower().startswith("connection:") for line in lines):
            lines.append("Connection: close")
        with trio.fail_after(60):
            async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
                await stream.send_all("\r\n".join([*lines, "", ""]).encode() + body)
                found = b""
                while b"\r\n\r\n" not in found:
                    more = await stream.receive_some(65536)
                    if not more:
                        break
                    found += more
                top, _, rest = found.partition(b"\r\n\r\n")
                first, *named = top.decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in named)}
                while len(rest) < int(headers.get("content-length", 0)):
                    rest += await stream.receive_some(65536)
        return int(first.split(" ")[1]), headers, rest


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Waits until something holds."""
    with trio.fail_after(60):
        while True:
            if await holds():
                return
            await trio.sleep(0.01)


UPGRADE = """GET /socket HTTP/1.1
    Connection: Upgrade
    Upgrade: websocket
    Sec-WebSocket-Version: 13
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="""


@asynccontextmanager
async def guarded(
    home: Path, configuration: str = "", change: Callable[[FastAPI], None] | None = None
) -> AsyncIterator[Guarded]:
    """Serves a home with these routes besides: /socket, /stream, /page, /tagged, /who and /things/{name}."""
    (home / "innkeeper.toml").write_text(configuration)
    stop, release = trio.Event(), trio.Event()
    with trio.fail_after(120):
        async with open_parts(home, watch=False) as parts, trio.open_nursery() as nursery:
            app = make_app(parts)
            _routes(app, release)
            if change is not None:
                change(app)
            sockets = listening("127.0.0.1", 0)
            url, port = url_of(sockets[0]), sockets[0].getsockname()[1]
            nursery.start_soon(serve_app, app, sockets, stop)
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
                yield Guarded(app, port, url, parts, client, release)
            release.set()
            stop.set()


def _routes(app: FastAPI, release: trio.Event) -> None:
    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await release.wait()
        await websocket.close()

    @app.get("/stream")
    async def stream() -> Response:
        async def events() -> AsyncIterator[bytes]:
            yield b"data: one\n\n"
            await release.wait()
            yield b"data: two\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.get("/page")
    async def page() -> Response:
        return HTMLResponse("<script>alert(1)</script>")

    @app.get("/tagged")
    async def tagged() -> Response:
        return Response(b"x", headers={"etag": '"1"', "content-security-policy": "default-src 'self'"})

    @app.get("/who")
    async def who(caller: Caller) -> dict[str, str]:
        return {"uid": caller.uid}

    @app.api_route("/things/{name}", methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False)
    async def things(name: str) -> dict[str, str]:
        return {"name": name}
