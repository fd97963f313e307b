"""The service `stream`: the streams of the node that a guest runs as."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Annotated, Any, Final

import msgpack
import pydantic
import trio
from pydantic import Field

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.channel import ITEMS, MOST_ITEM, Channel
from innkeeper.bridge.operation import operation
from innkeeper.bridge.packed import Packed, array_of, items_of
from innkeeper.bridge.quota import Rate
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.run_streams import Direction, Streams, close
from innkeeper.bridge.scan import DataBounds, MalformedError
from innkeeper.sandbox.limits import KIB

RATE: Final = Rate(per_second=10_000, burst=20_000, waits=True)
"""Calls of one plugin. Who reads and writes waits for others anyway, and so it does for its turn."""

MOST_READ: Final = 64 * KIB
"""Bytes of several items that one call reads: what a guest may be expected to have room for."""

_WRITE = DataBounds(size=MOST_ITEM + 2 * KIB, depth=32, elements=2000)
"""Items with their slot: counting them takes about a millisecond at most."""

Slot = Annotated[str, Field(min_length=1, max_length=64)]
Wait = Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)]
Item = Annotated[pydantic.InstanceOf[Packed], pydantic.WithJsonSchema({})]
Items = Annotated[pydantic.InstanceOf[Packed], pydantic.WithJsonSchema({"type": "array", "maxItems": ITEMS})]


class StreamService:
    """Reads and writes what is connected to the caller's own node in its own run; nothing else can be named."""

    def __init__(self, streams: Streams) -> None:
        """Args:
        streams: finds the channels.
        """
        self._streams = streams

    @operation("stream")
    async def read(
        self,
        caller: Caller,
        *,
        slot: Slot,
        limit: Annotated[int, Field(ge=1, le=ITEMS)] = 1,
        wait: Wait | None = None,
    ) -> Packed:
        """Reads what comes next from an input of the node; waits until there is something.

        Args:
            slot: the input.
            limit: how many items at most, if they are there already: more than one have 64 KiB together.
            wait: seconds after which the answer is no item; nil: until there is one, or the limit `host_call` ends
                the call.

        Returns:
            {items: list of plain data, end: whether nothing more comes}
        """
        channel = self._channel(caller, slot, "read")

        def over() -> bool:
            return channel.ended or channel.abandoned or not channel.empty

        if not over():
            await _wait_until(over, channel, wait)
        if channel.abandoned:
            raise ServiceError(Refusal.CLOSED, "this end is closed: nothing more can be read")
        items = channel.take(limit, MOST_READ)
        return Packed(_ITEMS + array_of(items) + (_END if channel.ended and channel.empty else _MORE))

    @operation("stream", bounds=_WRITE, packed="item")
    async def write(self, caller: Caller, *, slot: Slot, item: Item, wait: Wait | None = None) -> dict[str, Any]:
        """Writes the next item to an output of the node; waits while 1,024 items or 1 MiB are unread. Where nobody
        reads any more, it is refused as `closed`.

        Args:
            slot: the output.
            item: any plain data of at most 256 KiB and 2,000 elements.
            wait: seconds after which it is given up; nil: until there is room, or the limit `host_call` ends the call.

        Returns:
            {written: whether there was room in time}
        """
        return {"written": await self._write(caller, slot, [item], wait) == 1}

    @operation("stream", bounds=_WRITE, packed="items")
    async def write_all(self, caller: Caller, *, slot: Slot, items: Items, wait: Wait | None = None) -> dict[str, Any]:
        """Writes items to an output of the node, in order; waits as `write` while there is no room for the next one.
        Many small ones cost a fraction of what they cost one by one. Where nobody reads any more, it is refused as
        `closed`, and `written` says how many were written before.

        Args:
            slot: the output.
            items: list of plain data, at most 1,024, together of at most 256 KiB and 2,000 elements.
            wait: seconds after which the rest is given up; nil: until there is room for all, or the limit `host_call`
                ends the call.

        Returns:
            {written: how many there was room for in time}
        """
        try:
            each = items_of(items)
        except MalformedError as error:
            raise ServiceError(Refusal.INVALID, f"items: {error}") from None
        if len(each) > ITEMS:
            raise ServiceError(Refusal.INVALID, f"there are {len(each):,} items; at most {ITEMS:,} are taken")
        return {"written": await self._write(caller, slot, each, wait)}

    async def _write(self, caller: Caller, slot: str, items: Sequence[bytes], wait: float | None) -> int:
        channel = self._channel(caller, slot, "write")
        for item in items:
            if len(item) > MOST_ITEM:
                raise ServiceError(Refusal.INVALID, f"the item has {len(item):,} bytes; the most is {MOST_ITEM:,}")
        done = 0

        def written() -> bool:
            nonlocal done
            if channel.abandoned:
                raise ServiceError(Refusal.CLOSED, f"nobody reads {slot!r} any more", written=done)
            if channel.ended:
                raise ServiceError(
                    Refusal.CLOSED, f"{slot!r} is closed: nothing more can be written to it", written=done
                )
            done += channel.put_all(items, done)
            return done == len(items)

        if not written():
            await _wait_until(written, channel, wait)
        return done

    @operation("stream")
    async def close(self, caller: Caller, *, slot: Slot, end: Direction = "write") -> None:
        """Gives up the node's end of a stream: of an output, whose readers come to an end, or of an input, whose writer
        is refused from then on.

        Args:
            slot: the output, or the input.
            end: which of them it is, `write` for an output and `read` for an input.

        Returns:
            nil
        """
        close(self._channel(caller, slot, end), end)

    def _channel(self, caller: Caller, slot: str, direction: Direction) -> Channel:
        # A plugin that the node's plugin calls is no node, so nothing is connected to it.
        context = caller.run
        found = None
        if context is not None and context.node:
            found = self._streams.channel(context.run, context.node, slot, direction)
        if found is None:
            what = "input" if direction == "read" else "output"
            raise ServiceError(Refusal.NOT_FOUND, f"no stream is connected to an {what} {slot!r} of this node")
        return found


_ITEMS = b"\x82" + msgpack.packb("items")
_END = msgpack.packb("end") + msgpack.packb(True)
_MORE = msgpack.packb("end") + msgpack.packb(False)


async def _wait_until(reached: Callable[[], bool], channel: Channel, wait: float | None) -> None:
    """Waits for changes of a channel until it is so, `wait` seconds at most."""
    # A deadline costs as much as the rest of a call: there is none for who waits without one.
    with nullcontext() if wait is None else trio.move_on_after(wait):
        while True:
            await channel.changed()
            if reached():
                return
