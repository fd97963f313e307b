"""Who runs the nodes of a frame that can begin.

A lane is a task that has a place among those that run, and takes one node after another while there are any that can
begin and nobody else waits for the place: a chain is one task, whatever its length.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Awaitable, Callable

import trio

from innkeeper.workflow.checking.graph import GraphNode
from innkeeper.workflow.engine.pacing import Pace
from innkeeper.workflow.engine.plan import LOOPS, Plan
from innkeeper.workflow.engine.slots import MOST_LOOPS, PARALLEL, RunSlots


class Lanes:
    """The lanes of one frame.

    Args:
        plan: what waits for what.
        slots: places of the run.
        pace: when a lane gives way.
        node: runs a node to its end.
        flows: runs nodes that streams connect; it settles them.
    """

    def __init__(
        self,
        plan: Plan,
        slots: RunSlots,
        pace: Pace,
        node: Callable[[GraphNode], Awaitable[None]],
        flows: Callable[[tuple[GraphNode, ...]], Awaitable[None]],
    ) -> None:
        self._plan = plan
        self._slots = slots
        self._pace = pace
        self._node = node
        self._flows = flows
        self._waiting = list(plan.waiting)
        self._left = len(plan.behind)
        self._ready: list[int] = []
        # Loops that can begin, and how many go on.
        self._later: deque[GraphNode] = deque()
        self._loops = 0
        # Lanes that run, those that were asked for, and those of both that are on their way to a node.
        self._running = self._asked = self._coming = 0
        # Lanes that were cancelled while they had no place to give back.
        self._homeless = 0
        self._stopped = False
        self._nursery: trio.Nursery | None = None
        self._done = trio.Event()

    async def run(self) -> None:
        """Runs all nodes to their ends."""
        if not self._left:
            return
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for place, count in enumerate(self._waiting):
                    if count == 0:
                        self._begin(place)
                self._spread()
                try:
                    await self._done.wait()
                finally:
                    self._stop()
        finally:
            self._nursery = None

    def settle(self, node: GraphNode) -> None:
        """A node has its outcome: those that wait for it may begin."""
        for place in self._plan.behind[node.id]:
            self._waiting[place] -= 1
            if self._waiting[place] == 0:
                self._begin(place)
        self._left -= 1
        if self._left == 0:
            self._stop()
            self._done.set()
        elif self._ready:
            self._spread()

    async def pause(self, seconds: float) -> None:
        """Lets a lane wait, without a place among those that run."""
        self._running -= 1
        self._slots.give()
        self._spread()
        try:
            await trio.sleep(seconds)
            await self._slots.wait()
        except BaseException:
            self._homeless += 1
            raise
        finally:
            self._running += 1

    def _stop(self) -> None:
        """No lane begins any more. A nursery closes a moment before whoever opened it goes on, so no place may be
        granted from then on."""
        self._stopped = True
        if self._asked:
            self._asked = 0
            self._slots.withdraw(self._granted)

    def _begin(self, place: int) -> None:
        unit = self._plan.units[place]
        if unit.nodes[0].role in LOOPS and self._nursery is not None:
            self._later.append(unit.nodes[0])
            self._loop()
        else:
            heapq.heappush(self._ready, place)

    def _loop(self) -> None:
        """Begins a loop, if there is one that can begin and it may. One of each frame always may, so that loops in
        loops go on; others only while there are few in the run, or loops in loops in loops would all be there at
        once."""
        if not self._later or self._stopped or self._nursery is None:
            return
        if not self._loops or self._slots.loops < MOST_LOOPS:
            self._loops += 1
            self._slots.loops += 1
            self._nursery.start_soon(self._without_place, self._later.popleft())

    async def _without_place(self, node: GraphNode) -> None:
        try:
            await self._node(node)
        finally:
            self._loops -= 1
            self._slots.loops -= 1
        self._loop()
        self.settle(node)

    def _spread(self) -> None:
        """Sees to it that there is a lane for each node that can begin, as far as there is room."""
        if self._stopped or self._nursery is None:
            return
        while self._coming < len(self._ready) and self._running + self._asked < PARALLEL:
            self._coming += 1
            if self._slots.take():
                self._running += 1
                self._nursery.start_soon(self._lane)
            else:
                self._asked += 1
                self._slots.ask(self._granted)

    def _granted(self) -> None:
        assert self._nursery is not None
        self._asked -= 1
        self._running += 1
        self._nursery.start_soon(self._lane)

    async def _lane(self) -> None:
        try:
            await self._pace.enter()
            while True:
                self._coming -= 1
                if not self._ready:
                    return
                unit = self._plan.units[heapq.heappop(self._ready)]
                if unit.flows:
                    await self._flows(unit.nodes)
                    self._coming += 1
                else:
                    node = unit.nodes[0]
                    await self._node(node)
                    # It goes on itself with one of those that may begin now.
                    self._coming += 1
                    self.settle(node)
                if self._pace.due:
                    await self._pace.breathe()
                if self._slots.contended:
                    self._coming -= 1
                    return
        except BaseException:
            self._stop()
            raise
        finally:
            self._running -= 1
            if self._homeless:
                self._homeless -= 1
            else:
                self._slots.give()
            if self._ready:
                self._spread()
