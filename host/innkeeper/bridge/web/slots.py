"""How many requests run at once, and how much of their answers is held."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from innkeeper.bridge.web.faults import Rule, WebError
from innkeeper.sandbox.limits import MIB

OF_ONE: Final = 32
"""Requests of one plugin at once: more than servers like to get from one client, and few enough that another plugin
finds a place."""

OF_ALL: Final = 256
"""Requests of the host at once: each has a socket and a buffer, and a process commonly has 1,024 descriptors."""

HELD: Final = 256 * MIB
"""Bytes of answers that the host holds, before guests have them."""


class Slots:
    """Places for requests; who finds none waits, first in, first out."""

    def __init__(self, each: int = OF_ONE, total: int = OF_ALL, held: int = HELD) -> None:
        """Args:
        each: requests of one asker at once.
        total: of all.
        held: bytes of answers.
        """
        self._each = each
        self._total = trio.Semaphore(total)
        self._left = held
        self._askers: dict[str, _Asker] = {}

    @asynccontextmanager
    async def taken(self, asker: str) -> AsyncIterator[Holding]:
        """A place for the time of the block, and an account of what is held in it."""
        own = self._askers.get(asker)
        if own is None:
            own = self._askers[asker] = _Asker(self._each)
        own.users += 1
        try:
            async with own.places, self._total:
                holding = Holding(self)
                try:
                    yield holding
                finally:
                    self._left += holding.bytes
        finally:
            own.users -= 1
            if not own.users:
                del self._askers[asker]

    def _take(self, amount: int) -> bool:
        if amount > self._left:
            return False
        self._left -= amount
        return True


class _Asker:
    def __init__(self, each: int) -> None:
        self.places = trio.Semaphore(each)
        self.users = 0


class Holding:
    """What one request holds of the host's bytes.

    Attributes:
        bytes: how many.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.bytes = 0

    def more(self, amount: int) -> None:
        """Holds so many bytes more.

        Raises:
            WebError: the host holds too many.
        """
        if not self._slots._take(amount):
            raise WebError(Rule.BUSY, "the host holds too many bytes of answers; try again later")
        self.bytes += amount
