"""Requests and WebSockets that native plugins answer, below /n/ID.

Whatever a plugin's function raises is answered as its failure, and goes no further.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Router, WebSocketRoute
from starlette.routing import Route as HttpRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from innkeeper.plugins.native.contain import PluginError, contained, logger
from innkeeper.plugins.native.version import NativeVersion
from innkeeper.plugins.native.web import Route
from innkeeper.server.answers import AnswerError
from innkeeper.server.identity import Identity, current
from innkeeper.server.parts import Parts

_POLICY_VIOLATION = 1008


class NativeWeb:
    """An ASGI application, mounted at /n."""

    def __init__(self, parts: Parts) -> None:
        """Args:
        parts: of the server.
        """
        self._parts = parts
        self._routers: WeakKeyDictionary[NativeVersion, Router] = WeakKeyDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        id, _, _ = scope["path"].removeprefix(root).removeprefix("/").partition("/")
        plugin = self._parts.host.native.get(id)
        if plugin is None or not plugin.version.web.routes:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
                return
            raise AnswerError(404, "no native plugin answers here")
        version = plugin.version
        router = self._routers.get(version)
        if router is None:
            router = self._routers[version] = Router([self._made(version, each) for each in version.web.routes])
            router.redirect_slashes = False
        version.calls += 1
        try:
            await router({**scope, "root_path": f"{root}/{id}"}, receive, send)
        finally:
            version.calls -= 1
            version.settle()

    def _made(self, version: NativeVersion, route: Route) -> BaseRoute:
        if route.methods:
            return HttpRoute(route.path, _Answering(self._parts, version, route), methods=list(route.methods))
        return WebSocketRoute(route.path, _Speaking(self._parts, version, route))


class _Answering:
    """An ASGI application that has a plugin's function answer a request."""

    def __init__(self, parts: Parts, version: NativeVersion, route: Route) -> None:
        self._parts = parts
        self._version = version
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        _tell(request, await _who(self._parts, request, self._route))

        async def answer(response: Response) -> None:
            await response(scope, receive, send)

        try:
            found = await contained(self._route.function, request, threads=self._version.threads)
            await contained(answer, _response(found), threads=self._version.threads)
        except PluginError as error:
            raise _failed(self._version, error) from None


class _Speaking:
    """An ASGI application that has a plugin's function speak through a WebSocket."""

    def __init__(self, parts: Parts, version: NativeVersion, route: Route) -> None:
        self._parts = parts
        self._version = version
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        try:
            _tell(socket, await _who(self._parts, socket, self._route))
        except AnswerError:
            # Not accepted yet, so the client gets 403.
            await socket.close(_POLICY_VIOLATION)
            return
        try:
            await contained(self._route.function, socket, threads=self._version.threads)
        except PluginError as error:
            _failed(self._version, error)
            await _closed(socket, 1011)
            return
        await _closed(socket, 1000)


async def _closed(socket: WebSocket, code: int) -> None:
    # It may be over already, by either side.
    try:
        await socket.close(code)
    except RuntimeError:
        return


async def _who(parts: Parts, connection: HTTPConnection, route: Route) -> Identity | None:
    """Who asks; None where nobody needs to be known and nobody is.

    Raises:
        AnswerError: 401, 403: the route is for users.
    """
    if route.public:
        found = await parts.identify(connection)
        return found if found is not None and found.may("runs") else None
    identity = await current(connection)
    if not identity.may("runs"):
        raise AnswerError(403, "the API key does not reach 'runs'")
    return identity


def _tell(connection: HTTPConnection, identity: Identity | None) -> None:
    connection.state.user = None if identity is None else identity.uid
    connection.state.admin = identity is not None and identity.is_admin and identity.may("admin")


def _response(found: Any) -> Response:
    if isinstance(found, Response):
        return found
    if isinstance(found, dict | list):
        try:
            return JSONResponse(found)
        except (TypeError, ValueError, RecursionError) as error:
            raise PluginError(error) from None
    raise PluginError(TypeError(f"it returned {type(found).__name__}; return a Response, a dict or a list"))


def _failed(version: NativeVersion, error: PluginError) -> AnswerError:
    logger.info("native plugin %s: a request failed:", version.id, exc_info=error.cause)
    return AnswerError(502, "the plugin failed to answer")
