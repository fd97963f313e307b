"""What each request to a model passes: a bound on its time, a place among those that are under way, and the budget."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.inference import limits
from innkeeper.bridge.inference.answers import TokenUsage
from innkeeper.bridge.inference.budget import Budget
from innkeeper.bridge.inference.faults import EndpointError
from innkeeper.bridge.quota import TokenBucket
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.web.slots import Holding, Slots

_BUCKETS: Final = 1000

_SETTLING: Final = 2.0
"""Seconds that whoever cancels waits at most until tokens are settled."""


class Turns:
    """Lets requests through."""

    def __init__(self, budget: Budget, clock: Callable[[], float]) -> None:
        """Args:
        budget: the tokens.
        clock: seconds of a monotonic clock.
        """
        self._budget = budget
        self._clock = clock
        self._slots = Slots(limits.OF_ONE, limits.OF_ALL, limits.HELD)
        self._buckets: dict[str, TokenBucket] = {}

    @asynccontextmanager
    async def in_time(self, caller: Caller, timeout: float) -> AsyncIterator[list[bool]]:
        """Bounds the time of the block; it has its turn once something is in the list that it gets.

        Raises:
            ServiceError: the time is over.
        """
        turn: list[bool] = []
        with trio.CancelScope(deadline=trio.current_time() + limits.allowed(caller, timeout)) as scope:
            yield turn
        if scope.cancelled_caught:
            if turn:
                raise ServiceError(Refusal.FAILED, "the model did not answer in time")
            raise ServiceError(Refusal.BUSY, "too many requests to models are under way; try again later")

    @asynccontextmanager
    async def spending(
        self, caller: Caller, tokens: int, turn: list[bool]
    ) -> AsyncIterator[tuple[Holding, list[TokenUsage]]]:
        """A place for the time of the block, and tokens set aside for it. What it puts into the list that it gets is
        what was used. Without, all that was set aside is, unless an error says that nothing can have been.

        Args:
            caller: whose place and tokens.
            tokens: how many.
            turn: gets something once there is a place.

        Raises:
            ServiceError: there are not so many tokens, or the plugin asks too often.
        """
        async with self._slots.taken(caller.plugin) as holding:
            turn.append(True)
            self._pace(caller.plugin)
            reserved = await self._budget.reserve(caller, tokens)
            spent: list[TokenUsage] = []
            try:
                yield holding, spent
            except EndpointError as error:
                if error.free and not spent:
                    spent.append(TokenUsage(0))
                raise
            finally:
                if spent:
                    # Also for one that was cancelled, such as a stream that its guest closed.
                    with trio.CancelScope(deadline=trio.current_time() + _SETTLING, shield=True):
                        await self._budget.settle(reserved, spent[-1].total, estimated=spent[-1].estimated)

    def _pace(self, plugin: str) -> None:
        now = self._clock()
        bucket = self._buckets.get(plugin)
        if bucket is None:
            if len(self._buckets) >= _BUCKETS:
                self._buckets.clear()
            bucket = self._buckets[plugin] = TokenBucket(limits.REQUESTS, now)
        if not bucket.take(now):
            raise ServiceError(
                Refusal.QUOTA,
                f"the plugin asks models more than {limits.REQUESTS.per_second:g} times a second; ask less often",
            )
