"""Asks endpoints: with the host's credentials, without redirects, again where the endpoint says when."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import trio

from innkeeper.bridge.inference.endpoints import Model, OperatorReach
from innkeeper.bridge.inference.faults import MOST_ERROR, Report, of_credentials, of_status, of_web
from innkeeper.bridge.secret_placing import Placing, reveal
from innkeeper.bridge.secret_store import SecretStore
from innkeeper.bridge.web.faults import WebError
from innkeeper.bridge.web.message import Head, Request
from innkeeper.plugins.secret_use import SecretUse

if TYPE_CHECKING:
    from innkeeper.bridge.web.client import WebClient
    from innkeeper.bridge.web.exchange import Exchange

RETRIES: Final = 2
"""How often a request is sent again, where the endpoint says after which time."""

MOST_PAUSE: Final = 60.0
"""Seconds that are waited for that; an endpoint that wants more is busy."""

_AGAIN = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that begins well.

    Attributes:
        head: how it begins.
        exchange: gives the body.
        placing: knows what may not be shown of it.
    """

    head: Head
    exchange: Exchange
    placing: Placing


class EndpointClient:
    """Asks the endpoints that the operator configured. Keeps nothing from one request to the next."""

    def __init__(self, store: SecretStore, make_client: Callable[[], WebClient], now: Callable[[], float]) -> None:
        """Args:
        store: has the values of secrets.
        make_client: makes what speaks HTTP; called in a thread, once.
        now: seconds since 1970.
        """
        self._store = store
        self._make_client = make_client
        self._now = now
        self._client: WebClient | None = None
        self._making = trio.Lock()
        self._report = Report()

    @asynccontextmanager
    async def answered(self, model: Model, path: str, body: bytes, *, most: int) -> AsyncIterator[Answered]:
        """The answer to a request, whose connection is open for the time of the block. Who asks bounds the time.

        Args:
            model: who is asked.
            path: of the API.
            body: JSON.
            most: bytes of the answer's body.

        Raises:
            EndpointError: there is none; also for what goes wrong with it inside of the block.
        """
        client = await self._opened()
        headers = (("content-type", "application/json"), ("user-agent", "innkeeper"))
        request = Request("POST", model.at(path), headers, body)
        try:
            placing = await self._placing(model, request)
        except WebError as error:
            raise of_credentials(error, model, self._report) from None
        sent, reach = placing.placed(request), OperatorReach(model.endpoint)
        try:
            for left in range(RETRIES, -1, -1):
                async with client.asked(sent, reach, most, first=math.inf) as (exchange, head):
                    if head.status == 200:
                        yield Answered(head, exchange, placing)
                        return
                    failure = of_status(head.status, await _some(exchange), model, placing, self._report)
                pause = self._pause(head) if head.status in _AGAIN else None
                if pause is not None:
                    failure.more["retry_after"] = pause
                if pause is None or not left or pause > min(MOST_PAUSE, _time_left()):
                    raise failure
                await trio.sleep(pause)
        except WebError as error:
            raise of_web(error, model, self._report) from None

    async def _placing(self, model: Model, request: Request) -> Placing:
        origin = request.url.origin
        if model.secret is None:
            return Placing((), origin)
        use = SecretUse(hosts=(origin,), header="Authorization", prefix="Bearer ")
        return await reveal(self._store, [(model.secret, use)], request)

    async def _opened(self) -> WebClient:
        # What speaks HTTP takes a while to import.
        async with self._making:
            if self._client is None:
                self._client = await trio.to_thread.run_sync(self._make_client)
        return self._client

    def _pause(self, head: Head) -> float | None:
        """The seconds that a header Retry-After asks for, or None."""
        values = head.all("retry-after")
        if len(values) != 1 or len(values[0]) > 64:
            return None
        text = values[0].strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - self._now())
        except (ValueError, TypeError, OverflowError):
            return None


def _time_left() -> float:
    return trio.current_effective_deadline() - trio.current_time()


async def _some(exchange: Exchange) -> bytes:
    """The begin of an error's body; it is no error of its own if it does not end well."""
    found = bytearray()
    try:
        with trio.move_on_after(_ERROR_TIME):
            async with aclosing(exchange.body()) as body:
                async for piece in body:
                    found += piece
                    if len(found) >= MOST_ERROR:
                        break
    except WebError:
        pass
    return bytes(found[:MOST_ERROR])


_ERROR_TIME = 5.0
"""Seconds in which an error's body must have come."""
