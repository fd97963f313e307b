"""What one run may keep in memory, all of its nodes together."""

from __future__ import annotations

from typing import Final

from innkeeper.bridge.channel import Hold
from innkeeper.errors import LimitError
from innkeeper.sandbox.limits import MIB
from innkeeper.sandbox.usage import Usage

RUN_BYTES = 256 * MIB
"""Bytes of outputs that a run keeps, since each of them may still be an input."""

RUN_LOG = 16 * MIB
"""Bytes of log that a run keeps: that of 256 nodes at the default limit. A run may have 10,000."""

HELD = 16 * MIB
"""Bytes of streams that a run holds for nodes that have not begun, or read more slowly than they must."""

RUN_NODES: Final = 100_000
"""Nodes of turns that go on or have ended, beyond which of no further turn it is kept what became of its nodes: each
takes a kilobyte, and loops in loops have very many last turns."""

_LINE: Final = 64
"""Bytes that a line of log counts beside its text, so that empty lines count too."""


class Budget:
    """Bytes of one turn of a loop, or of what is not in a loop: what a turn took is given back as a whole.

    Attributes:
        kept: bytes of outputs.
        logged: bytes of log.
        inner: those of the turns that its loops keep, by the loops' ids. They are given back with it.
        nodes: how many nodes it has.
    """

    __slots__ = ("_all", "inner", "kept", "logged", "nodes")

    def __init__(self, all_: Budgets, nodes: int = 0) -> None:
        """Args:
        all_: of the run.
        nodes: how many nodes it has.
        """
        self._all = all_
        all_.nodes += nodes
        self.nodes = nodes
        self.inner: dict[str, Budget] = {}
        self.kept = 0
        self.logged = 0

    def keep(self, size: int) -> None:
        """Some outputs more are kept.

        Raises:
            LimitError: there is no room for them; nothing was counted.
        """
        self._all.keep(size)
        self.kept += size

    def drop(self, size: int) -> None:
        """Some outputs are not kept any more."""
        self._all.kept -= size
        self.kept -= size

    def log(self, usage: Usage) -> None:
        """Keeps the log of a call, or drops it where there is no room."""
        if usage.log:
            self.logged += self._all.log(usage)

    def give_back(self) -> None:
        """Nothing that it counted is there any more."""
        for each in self.inner.values():
            each.give_back()
        self.inner.clear()
        self._all.kept -= self.kept
        self._all.logged -= self.logged
        self._all.nodes -= self.nodes
        self.kept = self.logged = self.nodes = 0


class Budgets:
    """What a run has in memory.

    Attributes:
        kept: bytes of outputs.
        logged: bytes of log.
        hold: room for streams of nodes that have not begun, or have not read yet what came before.
        nodes: nodes of which it is kept what became of them.
    """

    __slots__ = ("hold", "kept", "logged", "nodes")

    def __init__(self) -> None:
        self.nodes = 0
        self.kept = 0
        self.logged = 0
        self.hold = Hold(HELD)

    @property
    def held(self) -> int:
        """Bytes of such streams that wait (int)."""
        return self.hold.size - self.hold.left

    def keep(self, size: int) -> None:
        """As `Budget.keep`."""
        kept = self.kept + size
        if kept > RUN_BYTES:
            raise LimitError(
                f"the outputs of this run's nodes have {kept:,} bytes together, and a run keeps {RUN_BYTES:,}",
                limit="run outputs",
                value=RUN_BYTES,
                used=kept,
            )
        self.kept = kept

    def log(self, usage: Usage) -> int:
        """Keeps the log of a call, or drops it where there is no room; the bytes (int) that it counts."""
        size = sum(len(text.encode()) for _, text in usage.log)
        counted = size + _LINE * len(usage.log)
        if self.logged + counted > RUN_LOG:
            usage.log.clear()
            usage.log_dropped += size
            return 0
        self.logged += counted
        return counted


def held_too_much(slot: str) -> LimitError:
    """That a chunk more for a node that has not begun has no room.

    Args:
        slot: the producer's output.
    """
    return LimitError(
        f"its stream {slot!r} goes to a node that begins only later, and a run holds {HELD:,} bytes of such streams; "
        f"let it write less, or read the stream by a node that needs nothing which comes after it",
        limit="held streams",
        value=HELD,
    )
