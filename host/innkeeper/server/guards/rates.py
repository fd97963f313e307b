"""How often somebody may ask: token buckets by address and by user, as many as there is room for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import trio
from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.plugins.web_names import is_loopback, one_party
from innkeeper.server.guards.answering import peer_of, refuse
from innkeeper.server.guards.proxies import is_forwarded

MOST: Final = 10_000
"""Buckets of one kind: 2 MB. Whoever comes when all are in use shares one with all others that do."""

BURST: Final = 10.0
"""Seconds of one's rate that may come at once: an editor asks for a hundred things as it opens."""

_SWEEP: Final = 1.0
_EVERYBODY_ELSE: Final = "\0"


class Rates:
    """Token buckets. One is a single number: when it would be full again, if nothing more were taken."""

    def __init__(
        self, rate: float, *, burst: float = BURST, most: int = MOST, now: Callable[[], float] = trio.current_time
    ) -> None:
        """Args:
        rate: requests a second; 0: any number.
        burst: seconds of it that may come at once.
        most: how many buckets there are.
        now: seconds of a monotonic clock.
        """
        self._each = 1 / rate if rate else 0.0
        self._room = max(burst, self._each)
        self._most = most
        self._now = now
        self._full: dict[str, float] = {}
        self._swept = -math.inf

    def __len__(self) -> int:
        return len(self._full)

    def take(self, key: str) -> float:
        """Takes one token, if there is one.

        Args:
            key: whose.

        Returns:
            float: 0.0: taken; else the seconds until there is one.
        """
        if not self._each:
            return 0.0
        now = self._now()
        if key not in self._full and len(self._full) >= self._most:
            self._sweep(now)
            if len(self._full) >= self._most:
                key = _EVERYBODY_ELSE
        full = max(self._full.get(key, now), now) + self._each
        late = full - now - self._room
        # So much less than a token is a slip of the arithmetic.
        if late > 1e-9:
            return late
        self._full[key] = full
        return 0.0

    def _sweep(self, now: float) -> None:
        # A full bucket says nothing that no bucket would not say. Seldom: a flood of strangers must not make each of
        # its requests a search through all of them.
        if now - self._swept < _SWEEP:
            return
        self._swept = now
        for key in [key for key, full in self._full.items() if full <= now]:
            del self._full[key]


def retry_after(seconds: float) -> dict[str, str]:
    """The header that says when to try again."""
    return {"retry-after": str(max(1, math.ceil(seconds)))}


class RateGuard:
    """Answers 429 where an address asks too often, before anything is done for it. This machine's own programs are not
    counted: whoever runs them can have its processor anyway."""

    def __init__(self, app: ASGIApp, rates: Rates) -> None:
        self._app = app
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            peer = peer_of(scope)
            # What a proxy on this machine brings comes from elsewhere; all of it together, unless the operator named
            # the proxy.
            if not is_loopback(peer) or is_forwarded(scope):
                late = self._rates.take(one_party(peer))
                if late:
                    await refuse(scope, receive, send, 429, "too many requests: ask less often", retry_after(late))
                    return
        await self._app(scope, receive, send)
