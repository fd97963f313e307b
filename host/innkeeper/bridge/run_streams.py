"""Which channel is at a slot of a node of a run: whoever executes a run connects them, and its guests use them."""

from __future__ import annotations

from typing import Literal, Protocol
from weakref import WeakKeyDictionary

from innkeeper.bridge.channel import Channel
from innkeeper.errors import UsageError
from innkeeper.plugins.runs import Run

Direction = Literal["read", "write"]
"""What the node does with the channel."""

Spot = tuple[str, str]
"""A node's id and the key of one of its slots."""


class Streams(Protocol):
    """Finds channels."""

    def channel(self, run: Run, node: str, slot: str, direction: Direction) -> Channel | None:
        """The channel at a slot, or None where nothing is connected."""
        ...


class RunStreams:
    """Implements `Streams` for runs of this process. What a run has ends with it."""

    def __init__(self) -> None:
        # By node first: a run of ten thousand turns connects and forgets without looking through all it has.
        self._runs: WeakKeyDictionary[Run, dict[str, dict[tuple[str, Direction], Channel]]] = WeakKeyDictionary()

    def connect(
        self, run: Run, *, writer: Spot | None = None, reader: Spot | None = None, channel: Channel | None = None
    ) -> Channel:
        """Connects an output slot with an input slot.

        Args:
            run: whose nodes they are.
            writer: the output; None: the caller itself writes into the channel.
            reader: the input; None: the caller itself reads from the channel.
            channel: what connects them; None: a new one.

        Returns:
            Channel: between them.

        Raises:
            UsageError: one of them is connected already.

        Example:
            >>> run = Run("demo")
            >>> channel = RunStreams().connect(run, reader=("shout", "words"))
            >>> channel.put(b"\\xa5hello"), channel.end()
            (True, None)
        """
        spots: list[tuple[str, str, Direction]] = []
        channel = Channel() if channel is None else channel
        if writer is not None:
            spots.append((*writer, "write"))
        if reader is not None:
            spots.append((*reader, "read"))
        known = self._runs.setdefault(run, {})
        for node, slot, direction in spots:
            if (slot, direction) in known.get(node, ()):
                raise UsageError(f"the slot {slot!r} is connected already; one channel is the most", node=node)
        for node, slot, direction in spots:
            known.setdefault(node, {})[slot, direction] = channel
        return channel

    def channel(self, run: Run, node: str, slot: str, direction: Direction) -> Channel | None:
        """As `Streams.channel`."""
        return self._runs.get(run, {}).get(node, {}).get((slot, direction))

    def release(self, run: Run, node: str) -> None:
        """A node is over: who reads what it wrote comes to an end, and who writes to it learns that nobody reads."""
        for (_, direction), channel in self._runs.get(run, {}).get(node, {}).items():
            close(channel, direction)

    def forget(self, run: Run, node: str) -> None:
        """As `release`; and nothing is connected to the node any more."""
        self.release(run, node)
        known = self._runs.get(run, {})
        known.pop(node, None)
        if not known:
            self._runs.pop(run, None)

    def end(self, run: Run) -> None:
        """A run is over: nobody waits at any of its channels any more."""
        for found in self._runs.pop(run, {}).values():
            for channel in found.values():
                channel.end()
                channel.abandon()


def close(channel: Channel, direction: Direction) -> None:
    """Gives up one end of a channel."""
    if direction == "write":
        channel.end()
    else:
        channel.abandon()
