"""What a native plugin adds to the server: routes and WebSockets below /n/ID, and middleware around all of it.

The server is made of ASGI (https://asgi.readthedocs.io), and so is what a plugin adds. Nothing here imports a web
framework: a host without a server has none.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Middleware = Callable[[AsgiApp], AsgiApp]
"""Makes an application around another one."""

MOST: Final = 100
"""Routes, and middlewares, of one plugin."""

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PATH: Final = re.compile(r"/[A-Za-z0-9._~/{}:-]{0,200}")


@dataclass(frozen=True, slots=True)
class Route:
    """A function that answers requests, or WebSockets.

    Attributes:
        path: below /n/ID, as Starlette writes paths: "/rooms/{room}".
        function: async, of one argument: Starlette's Request, and it returns a Response; or its WebSocket.
        methods: of HTTP; none for a WebSocket.
        public: whether it answers anybody; else who may use the host.
    """

    path: str
    function: Callable[[Any], Awaitable[Any]]
    methods: tuple[str, ...]
    public: bool


@dataclass(slots=True)
class Web:
    """What one version of a plugin adds.

    Attributes:
        routes: in the order in which they were added, which is the order in which they are looked at.
        middleware: the first is the outermost.
    """

    routes: list[Route] = field(default_factory=list)
    middleware: list[Middleware] = field(default_factory=list)

    def route(
        self, path: str, function: Callable[[Any], Awaitable[Any]], methods: tuple[str, ...], *, public: bool
    ) -> None:
        """Adds a route; without methods it is a WebSocket's.

        Raises:
            ValueError: the path or a method is none, or there are too many.
        """
        if not isinstance(path, str) or _PATH.fullmatch(path) is None:
            raise ValueError('a path is like "/rooms/{room}"')
        unknown = [method for method in methods if method not in METHODS]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no method: there are {', '.join(METHODS)}")
        if len(self.routes) == MOST:
            raise ValueError(f"a plugin has at most {MOST} routes")
        self.routes.append(Route(path, function, methods, public))

    def around(self, middleware: Middleware) -> None:
        """Adds a middleware.

        Raises:
            ValueError: there are too many.
        """
        if len(self.middleware) == MOST:
            raise ValueError(f"a plugin has at most {MOST} middlewares")
        self.middleware.append(middleware)
