"""The ends at which consumers of a stream take what flows: each has its own, so none takes a chunk from another."""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from innkeeper.bridge.channel import Channel
from innkeeper.workflow.engine.budgets import Budgets

_EACH: Final = 64
"""Bytes that a held item counts beside its own, so that many small ones count too."""


class Inlet:
    """The end of a consumer that runs.

    Args:
        channel: what its guest reads.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def put(self, item: bytes) -> None:
        """Gives it an item; waits while it reads too slowly. Nothing happens where it does not read any more."""
        channel = self._channel
        while not (channel.abandoned or channel.put(item)):
            await channel.changed()

    def end(self) -> None:
        """Nothing more comes."""
        self._channel.end()


class HeldInlet:
    """The end of a consumer that may begin only later: until then, what flows to it is held.

    Args:
        slot: the producer's output, for messages.
        budgets: of the run.
    """

    def __init__(self, slot: str, budgets: Budgets) -> None:
        self._slot = slot
        self._budgets = budgets
        self._items: deque[bytes] = deque()
        self._channel: Channel | None = None
        self._ended = False
        self._dropped = False
        self._emptied = trio.Event()

    async def put(self, item: bytes) -> None:
        """As `Inlet.put`; never waits before the consumer has begun.

        Raises:
            LimitError: the run holds too much.
        """
        if self._dropped:
            return
        if self._channel is None:
            self._budgets.hold(len(item) + _EACH, self._slot)
            self._items.append(item)
            return
        await self._emptied.wait()
        while not (self._channel.abandoned or self._channel.put(item)):
            await self._channel.changed()

    def end(self) -> None:
        """As `Inlet.end`."""
        self._ended = True
        if self._channel is not None and self._emptied.is_set():
            self._channel.end()

    def begin(self, channel: Channel) -> None:
        """The consumer begins: `feed` has to run beside it.

        Args:
            channel: what its guest reads.
        """
        self._channel = channel

    async def feed(self) -> None:
        """Gives the consumer what was held for it, then returns."""
        channel = self._channel
        assert channel is not None
        while self._items and not channel.abandoned:
            if channel.put(self._items[0]):
                self._budgets.held -= len(self._items.popleft()) + _EACH
            else:
                await channel.changed()
        self._clear()
        self._emptied.set()
        if self._ended:
            channel.end()

    def drop(self) -> None:
        """The consumer does not read any more, or never will."""
        self._dropped = True
        self._clear()
        self._emptied.set()

    def _clear(self) -> None:
        self._budgets.held -= sum(map(len, self._items)) + _EACH * len(self._items)
        self._items.clear()
