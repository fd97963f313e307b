"""Bodies of requests, bounded before anything is made of them: bytes, depth and number of elements.

Every route of the server is a `BoundedRoute`, so that no route reads a body that has no end, and none parses JSON that
is cheap to write and dear to build. A route that takes more than the default says so:

    @router.post("/api/prompt")
    @takes(size=32 * MIB, elements=2_000_000)
    async def submit(...)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from typing import Any, ClassVar, Final, TypeVar

import trio
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from innkeeper.bridge.codec import parse_json
from innkeeper.bridge.scan import CHUNK, DataBounds, MalformedError
from innkeeper.sandbox.limits import MIB

BODY_BOUNDS: Final = DataBounds(size=MIB, depth=64, elements=100_000)
"""What a body may be where its route says nothing else: forms, settings and single files of text, never a library. A
parsed value of that many elements is checked against its model in some 20 ms."""

_PARSERS = 2
"""Bodies that are parsed at the same time: as many as a small machine has cores. The others wait in their packed
form."""

_ATTRIBUTE: Final = "__body_bounds__"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def takes(
    size: int = BODY_BOUNDS.size, depth: int = BODY_BOUNDS.depth, elements: int = BODY_BOUNDS.elements
) -> Callable[[Endpoint], Endpoint]:
    """Says what the body of a route may be. Stands below the route's decorator.

    Args:
        size: bytes, of JSON, a form with its files, or anything else.
        depth: JSON containers inside each other.
        elements: values in JSON, containers and keys included.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _ATTRIBUTE, DataBounds(size, depth, elements))
        return endpoint

    return mark


def bounds_of(endpoint: Callable[..., Any], otherwise: DataBounds = BODY_BOUNDS) -> DataBounds:
    """What the body of a route may be."""
    found: DataBounds = getattr(endpoint, _ATTRIBUTE, otherwise)
    return found


class BoundedRequest(Request):
    """A request that reads no more than its route takes, whichever way it is read.

    `stream`, `body` and `form` raise HTTPException(413) as soon as it is clear that the body is too long, and `json`
    HTTPException(400) for what is not JSON, or is beyond its bounds. FastAPI hands that class of errors on, and would
    make a bare 400 of any other.
    """

    def __init__(self, request: Request, bounds: DataBounds) -> None:
        super().__init__(request.scope, request.receive, request._send)
        self._bounds = bounds

    async def stream(self) -> AsyncGenerator[bytes, None]:
        if not hasattr(self, "_body"):
            announced = self.headers.get("content-length", "")
            # The length of the text first: a number of 10,000 digits is not worth converting.
            if announced.isdecimal() and (len(announced) > 18 or int(announced) > self._bounds.size):
                raise self._too_large()
        read = 0
        async with aclosing(super().stream()) as chunks:
            async for chunk in chunks:
                read += len(chunk)
                if read > self._bounds.size:
                    raise self._too_large()
                yield chunk

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = await parsed(await self.body(), self._bounds)
        return self._json

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the body is too large: at most {self._bounds.size:,} bytes are taken here")


class BoundedRoute(APIRoute):
    """A route whose request is a `BoundedRequest`.

    Attributes:
        bounds: of a body, where the route says nothing else.
    """

    bounds: ClassVar[DataBounds] = BODY_BOUNDS

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        bounds = bounds_of(self.endpoint, self.bounds)

        async def bounded(request: Request) -> Response:
            return await handle(BoundedRequest(request, bounds))

        return bounded


BoundedRouter = partial(APIRouter, route_class=BoundedRoute)
"""A router of such routes."""


def bounded_route(most: DataBounds) -> type[BoundedRoute]:
    """A class of such routes with bounds of their own."""

    class Route(BoundedRoute):
        bounds = most

    return Route


def refuse_unbounded(router: APIRouter) -> None:
    """Makes sure that every route of a router is bounded.

    Raises:
        TypeError: one is not; the message names it.
    """
    for route in router.routes:
        if isinstance(route, APIRoute) and not isinstance(route, BoundedRoute):
            raise TypeError(f"the body of {route.path} has no bounds: its router must be a BoundedRouter")


async def parsed(data: bytes, bounds: DataBounds = BODY_BOUNDS) -> Any:
    """The value of JSON that a client sent. What is long is parsed in a thread.

    Raises:
        HTTPException: 413: it has too many bytes; 400: it is not JSON, or is beyond another bound.
    """
    if len(data) > bounds.size:
        raise HTTPException(413, f"the body is too large: at most {bounds.size:,} bytes are taken here")
    try:
        if len(data) <= CHUNK:
            return parse_json(data, bounds)
        return await trio.to_thread.run_sync(parse_json, data, bounds, limiter=_limiter())
    except MalformedError as error:
        raise HTTPException(400, f"the body is not JSON that can be read: {error}") from None


_limit: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("parsers of bodies")


def _limiter() -> trio.CapacityLimiter:
    try:
        return _limit.get()
    except LookupError:
        made = trio.CapacityLimiter(_PARSERS)
        _limit.set(made)
        return made
