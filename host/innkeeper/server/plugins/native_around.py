"""Middleware of native plugins, around the routes of the server and inside of what guards it.

One that fails fails the request: it may be there to refuse some, and none of them is let through in its place.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.plugins.native.contain import logger
from innkeeper.plugins.native.web import Middleware
from innkeeper.server.answers import AnswerError, answer
from innkeeper.server.parts import Parts

_FAILED = "a native plugin's middleware failed; the host's log says more"


class NativeAround:
    """A middleware of ASGI, which is those of the native plugins in service."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        """Args:
        app: what they are around.
        parts: of the server.
        """
        self._app = app
        self._parts = parts
        self._known: tuple[Middleware, ...] = ()
        self._made: ASGIApp | None = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Most hosts have none.
        native = None if scope["type"] == "lifespan" else self._parts.host.native
        if not native:
            await self._app(scope, receive, send)
            return
        app = self._around(tuple(each for plugin in native.values() for each in plugin.version.web.middleware))
        if app is None:
            await self._refuse(scope, receive, send)
            return
        try:
            await app(scope, receive, send)
        except (SystemExit, KeyboardInterrupt) as error:
            # The plugin's own: Ctrl-C is the program's business, and reaches nobody here.
            logger.warning("a native plugin's middleware failed", exc_info=error)
            raise AnswerError(502, _FAILED) from None

    def _around(self, wanted: tuple[Middleware, ...]) -> ASGIApp | None:
        """The application with all of them around it; None where one could not be made."""
        if wanted != self._known:
            made: ASGIApp | None = self._app
            try:
                for each in reversed(wanted):
                    made = each(made)  # type: ignore[arg-type]
                    if not callable(made):
                        raise TypeError("a middleware gave back no application")
            except BaseException as error:
                logger.warning("a native plugin's middleware could not be made", exc_info=error)
                made = None
            self._known, self._made = wanted, made
        return self._made

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1011})
            return
        await answer(502, _FAILED)(scope, receive, send)
