"""A bounded channel between two nodes of a run: whoever writes faster than the other reads waits."""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from innkeeper.sandbox.limits import KIB, MIB

ITEMS: Final = 64
"""Items that wait in a channel: enough that neither side waits for each single one."""

SIZE: Final = 1 * MIB
"""Bytes of the items that wait in a channel."""

MOST_ITEM: Final = 256 * KIB
"""Bytes of one item: four of the largest fit, so that one does not make writing and reading take turns."""


class Channel:
    """Items (msgpack) in the order in which they were written. Nothing here waits but `changed`, so a caller that is
    cancelled has neither lost nor doubled an item.

    Attributes:
        ended: whether nothing more will be written.
        abandoned: whether nobody will read any more.
    """

    __slots__ = ("_bytes", "_changed", "_items", "abandoned", "ended")

    def __init__(self) -> None:
        self.ended = False
        self.abandoned = False
        self._items: deque[bytes] = deque()
        self._bytes = 0
        self._changed: trio.Event | None = None

    def put(self, item: bytes) -> bool:
        """Adds an item if there is room for it; whether there was.

        Raises:
            ValueError: it is too large for any channel.
        """
        if len(item) > MOST_ITEM:
            raise ValueError(f"the item has {len(item):,} bytes; the most is {MOST_ITEM:,}")
        if len(self._items) >= ITEMS or self._bytes + len(item) > SIZE:
            return False
        self._items.append(item)
        self._bytes += len(item)
        self._wake()
        return True

    def take(self, limit: int, size: int) -> list[bytes]:
        """Takes the first items: up to `limit`, and no second one beyond `size` bytes. Empty where there is none."""
        taken: list[bytes] = []
        while self._items and len(taken) < limit:
            size -= len(self._items[0])
            if taken and size < 0:
                break
            item = self._items.popleft()
            self._bytes -= len(item)
            taken.append(item)
        if taken:
            self._wake()
        return taken

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take (bool)."""
        return not self._items

    def end(self) -> None:
        """Nothing more will be written. What waits can still be read."""
        self.ended = True
        self._wake()

    def abandon(self) -> None:
        """Nobody will read any more. What waits is dropped."""
        self.abandoned = True
        self._items.clear()
        self._bytes = 0
        self._wake()

    async def changed(self) -> None:
        """Waits until something was put, taken or closed since it was called."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    def _wake(self) -> None:
        event, self._changed = self._changed, None
        if event is not None:
            event.set()
