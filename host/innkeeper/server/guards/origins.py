"""Which pages may speak to the server: Host, Origin and what browsers say of where a request comes from.

A browser sends a user's requests for any page that asks it to. So a page that is not the server's own, nor one of
`[server] origins`, is refused everything that it could read or change: requests, streams and WebSockets alike. Programs
that are no browsers send none of these headers, and are not held up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.plugins.web_names import DEFAULT_PORTS, host_and_port, is_loopback, is_loopback_name, parse_origin
from innkeeper.server.guards.answering import headers_of, refuse, single

Whose = Literal["own", "allowed", "foreign"]

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
_HEADERS: Final = "Authorization, Content-Type, If-Match, If-None-Match, Last-Event-ID, Range, X-Request-Id"
_EXPOSED: Final = "Content-Disposition, Content-Range, ETag, Retry-After, X-Request-Id"
_SECONDS: Final = "600"
"""For which a browser may remember a preflight's answer: what the operator takes off the list is off soon."""


class ForeignError(Exception):
    """A request that is refused. The text is the sentence for whoever sent it."""


class Origins:
    """Who may speak to the server."""

    def __init__(self, allowed: Iterable[str] = (), hosts: Iterable[str] = ()) -> None:
        """Args:
        allowed: origins of other pages that may.
        hosts: names, each perhaps with a port, under which the server is reached beside those of loopback.

        Raises:
            ValueError: one of them is none.
        """
        self._allowed = frozenset(map(parse_origin, allowed))
        self._hosts = frozenset(map(host_and_port, hosts))

    def check_host(self, scope: Scope, headers: Headers) -> tuple[str, int | None]:
        """The Host of a request.

        On a connection to loopback, or where `hosts` is not empty, only known names pass: a foreign page can make its
        own name mean 127.0.0.1 (DNS rebinding), and would be the server's own page then.

        Raises:
            ForeignError: there is none, there are two, or it is not one of the server's names.
        """
        try:
            text = single(headers, "host")
            if text is None:
                raise ValueError("there is none")
            name, port = host_and_port(text)
        except ValueError:
            raise ForeignError("the Host header is missing or none") from None
        server = scope.get("server") or ("", None)
        if not self._hosts and not is_loopback(str(server[0])):
            return name, port
        if (name, port) in self._hosts or (name, None) in self._hosts:
            return name, port
        said = port if port is not None else DEFAULT_PORTS["https" if _is_https(scope) else "http"]
        if is_loopback_name(name) and (server[1] is None or said == server[1]):
            return name, port
        raise ForeignError("the server does not go by the name in the Host header; [server] hosts lists its names")

    def whose(self, origin: str, scope: Scope, host: tuple[str, int | None]) -> Whose:
        """Whose page an origin is."""
        try:
            scheme, name, port = parse_origin(origin)
        except ValueError:
            return "foreign"
        if (scheme, name, port) in self._allowed:
            return "allowed"
        # Where a proxy ends TLS, the server sees http, and the page's origin is https.
        same_scheme = scheme == "https" or not _is_https(scope)
        own_port = host[1] if host[1] is not None else DEFAULT_PORTS[scheme]
        return "own" if same_scheme and name == host[0] and port == own_port else "foreign"

    def check(self, scope: Scope) -> str | None:
        """Checks a request.

        Returns:
            str | None: the origin of another page that may read the answer; None: there is none.

        Raises:
            ForeignError: it is refused.
        """
        headers = Headers(scope=scope)
        host = self.check_host(scope, headers)
        try:
            origin = single(headers, "origin")
            site = single(headers, "sec-fetch-site")
        except ValueError as error:
            raise ForeignError(str(error)) from None
        method = "GET" if scope["type"] == "websocket" else scope["method"]
        if origin is not None:
            whose = self.whose(origin, scope, host)
            if whose == "foreign":
                raise ForeignError(
                    "this page may not speak to the server: its origin is not on the list [server] origins"
                )
            return origin if whose == "allowed" else None
        if site is not None and site not in ("same-origin", "none"):
            # No Origin: a link that is followed, or something that a page embeds without being able to read it.
            followed = method in _READING and headers.get("sec-fetch-mode") == "navigate"
            if not followed or headers.get("sec-fetch-dest") in ("object", "embed", "iframe", "frame"):
                raise ForeignError("pages of other sites may link to the server, and no more")
        if method not in _READING and site is None and "cookie" in headers:
            # A browser adds a cookie by itself, so something has to say that the page was meant to send this.
            raise ForeignError("a request with a cookie that changes something says its Origin")
        return None


def _is_https(scope: Scope) -> bool:
    return scope.get("scheme") in ("https", "wss")


class OriginGuard:
    """Refuses what `Origins` refuses with 403, and answers what browsers ask for pages on the list (CORS)."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            origin = self._origins.check(scope)
        except ForeignError as error:
            await refuse(scope, receive, send, 403, str(error), {"vary": "Origin"})
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers and origin is not None:
            await self._preflight(origin, headers)(scope, receive, send)
            return

        async def with_origin(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = headers_of(message)
                found.add_vary_header("Origin")
                if origin is not None:
                    found["access-control-allow-origin"] = origin
                    found["access-control-allow-credentials"] = "true"
                    found["access-control-expose-headers"] = _EXPOSED
            await send(message)

        await self._app(scope, receive, with_origin)

    def _preflight(self, origin: str, headers: Headers) -> Response:
        answered = {
            "access-control-allow-origin": origin,
            "access-control-allow-credentials": "true",
            "access-control-allow-methods": _METHODS,
            "access-control-allow-headers": _HEADERS,
            "access-control-max-age": _SECONDS,
            "vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        }
        if headers.get("access-control-request-private-network") == "true":
            # A page of the Internet that asks for a server in a private network; the operator put it on the list.
            answered["access-control-allow-private-network"] = "true"
        return Response(status_code=204, headers=answered)
