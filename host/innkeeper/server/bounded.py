"""Routes whose bodies are bounded before anything is made of them."""

from __future__ import annotations

import email.message
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import trio
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from innkeeper.bridge.codec import parse_json
from innkeeper.bridge.scan import DataBounds, MalformedError
from innkeeper.sandbox.limits import KIB

_AT_ONCE = 16 * KIB
"""Bytes that are parsed on trio's thread: well under a millisecond."""

_THREADS = 2
"""Threads that parse bodies: they compute, and more would only take turns."""

_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("innkeeper.server.bodies")


async def bounded_body(request: Request, most: int) -> bytes:
    """The body of a request.

    Args:
        request: whose body was not read yet.
        most: bytes that it may have.

    Raises:
        HTTPException: 413: it has more. No more than that was read.
    """
    try:
        said = int(request.headers.get("content-length", "0")[:20])
    except ValueError:
        raise HTTPException(400, "Content-Length is no number") from None
    if said > most:
        raise _too_large(most)
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > most:
            raise _too_large(most)
        pieces.append(piece)
    return b"".join(pieces)


async def bounded_json(data: bytes, bounds: DataBounds) -> Any:
    """JSON as plain data; a long one is parsed in a thread.

    Raises:
        HTTPException: 413: it is beyond a bound; 400: it is no JSON.
    """
    try:
        if len(data) <= _AT_ONCE:
            return parse_json(data, bounds)
        return await trio.to_thread.run_sync(parse_json, data, bounds, limiter=_threads())
    except MalformedError as error:
        raise HTTPException(400, f"the body is not JSON that can be read: {error}") from None


def bounded_route(bounds: DataBounds) -> type[APIRoute]:
    """The class of routes whose bodies are JSON within bounds: 413 where they are longer, 400 where they are no JSON,
    lie too deep or have too many values, 415 where they say that they are something else.

    Args:
        bounds: of the body.
    """

    class _Request(Request):
        async def body(self) -> bytes:
            if not hasattr(self, "_body"):
                self._body = await bounded_body(self, bounds.size)
                if self._body and not _is_json(self.headers.get("content-type")):
                    raise HTTPException(415, "the body must be JSON: 'Content-Type: application/json'")
            return self._body

        async def json(self) -> Any:
            return await bounded_json(await self.body(), bounds)

    class _Route(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()

            async def bounded(request: Request) -> Response:
                return await handler(_Request(request.scope, request.receive))

            return bounded

    return _Route


async def pieces_of(data: bytes) -> AsyncGenerator[bytes, None]:
    """Bytes as a stream, for parsers that want one."""
    for start in range(0, len(data), 64 * KIB):
        yield data[start : start + 64 * KIB]


def _threads() -> trio.CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        made = trio.CapacityLimiter(_THREADS)
        _limiter.set(made)
        return made


def _is_json(said: str | None) -> bool:
    if said is None:
        return False
    message = email.message.Message()
    message["content-type"] = said[:200]
    return message.get_content_maintype() == "application" and (
        message.get_content_subtype() == "json" or message.get_content_subtype().endswith("+json")
    )


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"the body has more than {most:,} bytes, which is the most that this route takes")
