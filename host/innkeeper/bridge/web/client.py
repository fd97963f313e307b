"""Requests for those who may not ask whom they like: each hop is checked, every amount is bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import trio

from innkeeper.bridge.web.dial import Dialer
from innkeeper.bridge.web.exchange import Exchange
from innkeeper.bridge.web.faults import Rule, WebError
from innkeeper.bridge.web.message import Head, Headers, Request
from innkeeper.bridge.web.reach import Reach
from innkeeper.bridge.web.redirects import redirected
from innkeeper.bridge.web.slots import Holding
from innkeeper.plugins.urls import Url


class Dress(Protocol):
    """What becomes of a request before it is sent, and of an answer before anybody sees it: `bridge.secret_placing`."""

    def placed(self, request: Request) -> Request:
        """The request as it is sent."""
        ...

    async def without(self, request: Request) -> Request:
        """A request that a server redirected to, before it is checked."""
        ...

    async def check_head(self, head: Head) -> None:
        """Raises WebError where an answer is not to be seen."""
        ...

    async def check_body(self, body: bytes | bytearray) -> None:
        """Raises WebError where an answer is not to be seen."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered.

    Attributes:
        status: 200 to 999.
        headers: names in lower case, and values.
        body: decompressed.
        url: where it came from, after redirects, without secrets.
    """

    status: int
    headers: Headers
    body: bytearray
    url: Url


class WebClient:
    """Makes requests. Keeps no connection, no cookie and nothing else from one to the next; no proxy, .netrc or
    variable of the host's environment has a say in them, but for the roots that certificates are checked with."""

    def __init__(self, dialer: Dialer) -> None:
        """Args:
        dialer: opens connections.
        """
        self._dialer = dialer

    async def fetch(
        self, request: Request, reach: Reach, dress: Dress, holding: Holding, *, most: int, redirects: int
    ) -> Answer:
        """A request with its redirects, and the whole of the answer. It ends by itself with each of its steps but the
        last: who asks bounds the time of the whole.

        Args:
            request: what is asked.
            reach: what may be.
            dress: what is sent besides.
            holding: counts the answer's bytes.
            most: bytes of the answer's body.
            redirects: how many are followed; the answer after the last is an error if it is one more.

        Raises:
            WebError: there is no answer that the asker may have; `hop` says after which redirect.
        """
        hop = 0
        try:
            while True:
                reach.check_url(request.url)
                async with self.asked(dress.placed(request), reach, most) as (exchange, head):
                    after = redirected(request, head) if redirects else None
                    if after is None:
                        await dress.check_head(head)
                        body = await whole(exchange, holding)
                        break
                if hop == redirects:
                    raise WebError(Rule.REDIRECT, f"there are more than {redirects} redirects")
                hop += 1
                request = await dress.without(after)
            await dress.check_body(body)
        except WebError as error:
            raise error.at(hop) from None
        return Answer(head.status, _seen(head), body, request.url)

    @asynccontextmanager
    async def asked(
        self, sent: Request, reach: Reach, most: int, *, first: float | None = None
    ) -> AsyncIterator[tuple[Exchange, Head]]:
        """One request without its redirects, over a connection that is open for the time of the block. The reach is
        asked about addresses alone.

        Args:
            sent: as it is sent.
            reach: what may be connected to.
            most: bytes of the answer's body.
            first: seconds from the request's end to that of the answer's head; by default `exchange.FIRST`.

        Raises:
            WebError: there is no answer.
        """
        stream = await self._dialer.connect(sent.url, reach)
        try:
            exchange = Exchange(stream, most, first=first)
            yield exchange, await exchange.ask(sent)
        finally:
            # Nothing of it is used again, so nobody waits for a farewell.
            await trio.aclose_forcefully(stream)


async def whole(exchange: Exchange, holding: Holding) -> bytearray:
    """The body of an answer.

    Args:
        exchange: whose head was read.
        holding: counts its bytes.

    Raises:
        WebError: it is too large, cut short or not what it says.
    """
    # It grows in place: the server chooses how many pieces there are, and each kept for itself would take some 50 bytes
    # that nobody counts.
    body = bytearray()
    async with aclosing(exchange.body()) as pieces:
        async for piece in pieces:
            holding.more(len(piece))
            body += piece
    return body


def _seen(head: Head) -> Headers:
    # What they say of the body on the wire is not so of the one that the guest gets.
    if not head.all("content-encoding"):
        return head.headers
    return tuple(each for each in head.headers if each[0] not in ("content-encoding", "content-length"))
