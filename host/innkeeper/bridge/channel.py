"""A bounded channel between two nodes of a run: whoever writes faster than the other reads waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import trio

from innkeeper.sandbox.limits import KIB, MIB

ITEMS: Final = 1024
"""Items that wait in a channel: so many small ones that hundreds share what a call and a change of tasks cost."""

SIZE: Final = 1 * MIB
"""Bytes of the items that wait in a channel."""

MOST_ITEM: Final = 256 * KIB
"""Bytes of one item: four of the largest fit, so that one does not make writing and reading take turns."""

HELD_ITEM: Final = 64
"""Bytes that an item takes beside its own, where only bytes bound how many are held."""


class Hold:
    """What may wait in all channels of a run together whose readers have not begun.

    Attributes:
        size: bytes that it takes.
        left: bytes that are free.
    """

    __slots__ = ("left", "size")

    def __init__(self, size: int) -> None:
        """Args:
        size: bytes, `HELD_ITEM` for each item included.
        """
        self.size = size
        self.left = size


class Channel:
    """Items (msgpack) in the order in which they were written. Nothing here waits but `changed`, so a caller that is
    cancelled has neither lost nor doubled an item.

    Attributes:
        ended: whether nothing more will be written.
        abandoned: whether nobody will read any more. What is put then is dropped.
        held: whether its reader has not begun: then its hold bounds what waits, and not `ITEMS` and `SIZE`.
    """

    __slots__ = ("_bytes", "_changed", "_charged", "_hold", "_items", "abandoned", "ended", "held")

    def __init__(self, hold: Hold | None = None) -> None:
        """Args:
        hold: of a channel whose reader begins later, until `begin`; None: it reads from the first.
        """
        self.ended = False
        self.abandoned = False
        self.held = hold is not None
        self._hold = hold
        self._charged = 0
        self._items: deque[bytes] = deque()
        self._bytes = 0
        self._changed: trio.Event | None = None

    def put(self, item: bytes) -> bool:
        """Adds an item if there is room for it; whether there was.

        Raises:
            ValueError: it is too large for any channel.
        """
        return self.put_all((item,)) == 1

    def put_all(self, items: Sequence[bytes], start: int = 0) -> int:
        """Adds items in order as far as there is room, and wakes a reader once.

        Args:
            items: of which those before `start` are left out.

        Returns:
            int: how many were added.

        Raises:
            ValueError: the next one is too large for any channel; those before it were added.
        """
        if self.abandoned:
            return len(items) - start
        count = self._fitting(items, start)
        if count:
            self._items.extend(items[start : start + count] if count < len(items) else items)
            self._wake()
        end = start + count
        if end < len(items) and len(items[end]) > MOST_ITEM:
            raise ValueError(f"the item has {len(items[end]):,} bytes; the most is {MOST_ITEM:,}")
        return count

    def _fitting(self, items: Sequence[bytes], start: int) -> int:
        """How many of the items have room; they are counted as if they were there."""
        if self.held:
            return self._charge(items, start)
        most = min(len(items) - start, ITEMS - len(self._items))
        if most <= 0:
            return 0
        if start == 0 and most == len(items):
            size = sum(map(len, items))
            # So little that none of them can be too large.
            if size <= MOST_ITEM and self._bytes + size <= SIZE:
                self._bytes += size
                return most
        for count in range(most):
            size = len(items[start + count])
            if size > MOST_ITEM or self._bytes + size > SIZE:
                return count
            self._bytes += size
        return most

    def _charge(self, items: Sequence[bytes], start: int) -> int:
        assert self._hold is not None
        count = 0
        for index in range(start, len(items)):
            size = len(items[index])
            if size > MOST_ITEM or size + HELD_ITEM > self._hold.left:
                break
            self._hold.left -= size + HELD_ITEM
            self._bytes += size
            count += 1
        self._charged += count
        return count

    def take(self, limit: int, size: int) -> list[bytes]:
        """Takes the first items: up to `limit`, and no second one beyond `size` bytes. Empty where there is none."""
        if len(self._items) <= limit and self._bytes <= size and not self._charged:
            taken = list(self._items)
            self._items.clear()
            self._bytes = 0
        else:
            taken = self._take_some(limit, size)
        if taken:
            self._wake()
        return taken

    def _take_some(self, limit: int, size: int) -> list[bytes]:
        taken: list[bytes] = []
        items = self._items
        while items and len(taken) < limit:
            size -= len(items[0])
            if taken and size < 0:
                break
            item = items.popleft()
            self._bytes -= len(item)
            taken.append(item)
        if self._charged:
            self._give_back(taken[: self._charged])
        return taken

    def _give_back(self, items: Sequence[bytes]) -> None:
        assert self._hold is not None
        self._charged -= len(items)
        self._hold.left += sum(map(len, items)) + HELD_ITEM * len(items)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take (bool)."""
        return not self._items

    @property
    def room(self) -> tuple[int, int]:
        """(items, bytes) that can be put: of so many items, if they have no more bytes together, all are taken. Of a
        channel that is held or abandoned as much as an empty one has."""
        if self.held or self.abandoned:
            return ITEMS, SIZE
        return max(0, ITEMS - len(self._items)), max(0, SIZE - self._bytes)

    def begin(self) -> None:
        """Its reader has begun: whoever writes waits for it from now on. What was held gives its room back as it is
        read."""
        self.held = False
        self._wake()

    def end(self) -> None:
        """Nothing more will be written. What waits can still be read."""
        self.ended = True
        self._wake()

    def abandon(self) -> None:
        """Nobody will read any more. What waits is dropped."""
        self.abandoned = True
        if self._charged:
            self._give_back([self._items[index] for index in range(self._charged)])
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
