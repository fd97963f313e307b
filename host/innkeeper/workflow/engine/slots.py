"""How many nodes run at the same time, in a run and in a host. First come, first served."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

PARALLEL = 16
"""Nodes of one run at the same time: enough for a wide graph, and no run takes all guests of a host."""

HOST_PARALLEL: Final = 64
"""Nodes of all runs of a host at the same time: four wide runs. As many guests may wait in host functions; those that
compute take turns on the processors anyway."""

MOST_LOOPS: Final = 16
"""Loops of one run at the same time, those apart that are the only one of their frame: they have no places, but each
has the nodes of a turn in memory."""

_host: trio.lowlevel.RunVar[HostSlots] = trio.lowlevel.RunVar("innkeeper_slots_of_nodes")


class HostSlots:
    """Places for the nodes of all runs of a host.

    Args:
        most: how many.
    """

    def __init__(self, most: int = HOST_PARALLEL) -> None:
        self._free = most
        self._queue: deque[RunSlots] = deque()

    @property
    def contended(self) -> bool:
        """Whether a run waits for a place (bool)."""
        return bool(self._queue)

    def take(self) -> bool:
        """Takes a place, if one is free and nobody waits for it; whether it did."""
        if self._free < 1 or self._queue:
            return False
        self._free -= 1
        return True

    def ask(self, run: RunSlots) -> None:
        """Calls `run.granted()` in its turn, when there is a place for it."""
        self._queue.append(run)

    def forget(self, run: RunSlots) -> None:
        """A run that asked is over."""
        self._queue.remove(run)

    def give(self) -> None:
        """Gives a place back."""
        self._free += 1
        while self._free and self._queue:
            self._free -= 1
            if not self._queue.popleft().granted():
                self._free += 1


class RunSlots:
    """Places for the nodes of one run. Nothing here waits, so nothing is lost where somebody is cancelled.

    Args:
        host: has those of all runs.
        most: how many of them this run may have.

    Attributes:
        loops: loops that go on, which have no place.
    """

    def __init__(self, host: HostSlots, most: int) -> None:
        self.loops = 0
        self._host = host
        self._free = most
        self._queue: deque[Callable[[], None]] = deque()
        self._asked = False

    @property
    def contended(self) -> bool:
        """Whether somebody waits for the place of a node that has ended (bool)."""
        return bool(self._queue) or self._host.contended

    def take(self) -> bool:
        """Takes a place, if one is free and nobody waits for it; whether it did."""
        if self._free < 1 or self._queue or not self._host.take():
            return False
        self._free -= 1
        return True

    def ask(self, grant: Callable[[], None]) -> None:
        """Calls `grant` with a place in hand, in its turn; it must be given back."""
        self._queue.append(grant)
        self._serve()

    def withdraw(self, grant: Callable[[], None]) -> None:
        """Who asked does not need a place any more, however often it asked."""
        self._queue = deque(each for each in self._queue if each != grant)

    def give(self) -> None:
        """Gives a place back."""
        self._free += 1
        self._host.give()
        self._serve()

    def granted(self) -> bool:
        """The host's place has come that was asked for; whether it is taken."""
        self._asked = False
        if not self._queue or not self._free:
            return False
        self._free -= 1
        self._queue.popleft()()
        self._serve()
        return True

    def close(self) -> None:
        """The run is over: who still waits is not called."""
        self._queue.clear()
        if self._asked:
            self._asked = False
            self._host.forget(self)

    async def wait(self) -> None:
        """Takes a place as soon as there is one."""
        if self.take():
            return
        turn = trio.Event()
        self.ask(turn.set)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.give()
            else:
                self._queue.remove(turn.set)
            raise

    def _serve(self) -> None:
        while self._queue and self._free and not self._asked:
            if not self._host.take():
                self._asked = True
                self._host.ask(self)
                return
            self._free -= 1
            self._queue.popleft()()


def host_slots() -> HostSlots:
    """The places of this trio run, where nobody gave others."""
    try:
        return _host.get()
    except LookupError:
        made = HostSlots()
        _host.set(made)
        return made
