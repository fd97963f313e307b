"""How long the nodes of all runs may keep trio's thread before everybody else has a turn.

A guest that ends at once never gives way by itself, and a thousand of them in a row would keep timers and other runs
waiting; giving way after each costs as much as a small guest. So lanes give way by elapsed time, all together: in one
pass of trio's loop the first goes on for `SPAN`, each further one takes one node, and none begins after `MOST`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import trio

SPAN: Final = 0.001
"""Seconds: ten small guests."""

MOST: Final = 0.004
"""Seconds of a pass: a fifth of what a timer may be late, for there is other work beside nodes."""

_pace: trio.lowlevel.RunVar[Pace] = trio.lowlevel.RunVar("innkeeper_pace_of_nodes")


class Pace:
    """When to give way, for all lanes of a trio run.

    Args:
        clock: seconds.
    """

    __slots__ = ("_began", "_clock", "_pass")

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        # Lanes that give way in one pass go on in the next: the first of these begins it.
        self._pass = 0
        self._began = 0.0

    @property
    def due(self) -> bool:
        """Whether `breathe` would give way (bool)."""
        return self._clock() - self._began >= SPAN

    async def breathe(self) -> None:
        """Between two nodes of a lane: gives way, if it is time."""
        if self._clock() - self._began >= SPAN:
            await self._give_way()
            await self.enter()

    async def enter(self) -> None:
        """Before the first node of a lane: waits while this pass has taken long enough."""
        while self._clock() - self._began >= MOST:
            await self._give_way()

    async def _give_way(self) -> None:
        following = self._pass + 1
        await trio.lowlevel.checkpoint()
        if self._pass < following:
            self._pass = following
            self._began = self._clock()


def pace() -> Pace:
    """That of this trio run."""
    try:
        return _pace.get()
    except LookupError:
        made = Pace()
        _pace.set(made)
        return made
