"""Passes what one node writes to all that read it, each through a channel of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from innkeeper.bridge.channel import ITEMS, MOST_ITEM, SIZE, Channel

Seen = Callable[[Sequence[bytes]], None]
"""Is shown items (msgpack) before anybody can read them. What it raises ends the pump."""


class HoldFullError(Exception):
    """More waits for readers that have not begun than their hold takes.

    Attributes:
        channel: where there was no room.
    """

    def __init__(self, channel: Channel) -> None:
        super().__init__("more waits for nodes that begin later than a run holds for them")
        self.channel: Final = channel


async def pump(
    source: Channel,
    targets: Sequence[Channel],
    *,
    room: Callable[[], Awaitable[None]] | None = None,
    seen: Seen | None = None,
    most: int = ITEMS,
) -> None:
    """Passes on all items in order until the source has ended, then ends the targets.

    It goes as fast as the slowest target is read; one that is abandoned counts no more, and without any it reads all
    the same. It wakes once for all that came meanwhile and holds nothing itself: cancelled or failed, it has lost no
    item but those of which `seen` raised, and has ended no target.

    Args:
        source: which nobody else takes from.
        targets: one for each that reads; nobody else puts into them.
        room: awaited before items are taken; None: never.
        seen: None: nobody looks at them.
        most: items passed on at once.

    Raises:
        HoldFullError: a target whose reader has not begun has no room; it was given as much as it took.
    """
    live = list(targets)
    while True:
        if source.empty:
            if source.ended:
                break
            await source.changed()
            continue
        live = [target for target in live if not target.abandoned]
        count, size, full = most, SIZE, None
        for target in live:
            items_left, bytes_left = target.room
            if not items_left or bytes_left < MOST_ITEM:
                # The next item may be as large as any.
                full = target
                break
            count, size = min(count, items_left), min(size, bytes_left)
        if full is not None:
            await full.changed()
            continue
        if room is not None:
            # Nobody else puts into the targets, so what they have room for can only become more.
            await room()
        items = source.take(count, size)
        if seen is not None and items:
            seen(items)
        for target in live:
            if target.put_all(items) < len(items):
                raise HoldFullError(target)
    for target in live:
        target.end()
