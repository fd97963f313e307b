"""The service `stream`: the streams of the node that a guest runs as."""

from __future__ import annotations

from typing import Annotated, Any

import msgpack
import trio
from pydantic import Field

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.channel import ITEMS, MOST_ITEM, Channel
from innkeeper.bridge.operation import operation
from innkeeper.bridge.quota import Rate
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.run_streams import Direction, Streams, close
from innkeeper.bridge.scan import CHUNK, DataBounds
from innkeeper.sandbox.limits import KIB

RATE = Rate(per_second=10_000, burst=20_000)
"""Calls of one plugin, as for `vars`."""

_WRITE = DataBounds(size=MOST_ITEM + 2 * KIB, depth=32, elements=2000)
"""An item with its slot: counting and building it takes about a millisecond at most."""

Slot = Annotated[str, Field(min_length=1, max_length=64)]
Wait = Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)]


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
    ) -> dict[str, Any]:
        """Reads what comes next from an input of the node; waits until there is something.

        Args:
            slot: the input.
            limit: how many items at most, if they are there already and small: more than one have 8 KiB together.
            wait: seconds after which the answer is no item; nil: until there is one, or the limit `host_call` ends
                the call.

        Returns:
            {items: list of plain data, end: whether nothing more comes}
        """
        channel = self._channel(caller, slot, "read")
        with trio.move_on_after(_seconds(wait)):
            while channel.empty and not channel.ended:
                _check_reader(channel)
                await channel.changed()
        _check_reader(channel)
        items = channel.take(limit, CHUNK)
        return {"items": [msgpack.unpackb(item) for item in items], "end": channel.ended and channel.empty}

    @operation("stream", bounds=_WRITE)
    async def write(self, caller: Caller, *, slot: Slot, item: Any, wait: Wait | None = None) -> dict[str, Any]:
        """Writes the next item to an output of the node; waits while 1,024 items or 1 MiB are unread. Where nobody
        reads any more, it is refused as `closed`.

        Args:
            slot: the output.
            item: any plain data of at most 256 KiB and 2,000 elements.
            wait: seconds after which it is given up; nil: until there is room, or the limit `host_call` ends the call.

        Returns:
            {written: whether there was room in time}
        """
        channel = self._channel(caller, slot, "write")
        packed = msgpack.packb(item, use_bin_type=True)
        if len(packed) > MOST_ITEM:
            raise ServiceError(Refusal.INVALID, f"the item has {len(packed):,} bytes; the most is {MOST_ITEM:,}")
        with trio.move_on_after(_seconds(wait)):
            while True:
                if channel.abandoned:
                    raise ServiceError(Refusal.CLOSED, f"nobody reads {slot!r} any more")
                if channel.ended:
                    raise ServiceError(Refusal.CLOSED, f"{slot!r} is closed: nothing more can be written to it")
                if channel.put(packed):
                    return {"written": True}
                await channel.changed()
        return {"written": False}

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


def _seconds(wait: float | None) -> float:
    return float("inf") if wait is None else wait


def _check_reader(channel: Channel) -> None:
    if channel.abandoned:
        raise ServiceError(Refusal.CLOSED, "this end is closed: nothing more can be read")
