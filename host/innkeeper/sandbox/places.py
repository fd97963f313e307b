"""What the calls and guests of one plugin take of the host's bounds, and who still uses the plugin's code.

All of it is counted under the engine's one lock, so that what belongs together is taken and given back together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from innkeeper.errors import BusyError
from innkeeper.sandbox.capacity import Budget
from innkeeper.sandbox.clock import WallClock
from innkeeper.sandbox.layout import Layout
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.spots import Spot

if TYPE_CHECKING:
    from innkeeper.sandbox.engine import FiberEngine


class Places:
    """Where a call and its guest find room.

    Guarantees: what could be taken is taken whole or not at all; each method that gives back is called once for what
    was taken; when nobody uses the plugin any more, `free` is called, once.

    Attributes:
        calls: the bound on its calls that are started and do not wait for the host.
        live: the host's bound on live guests.
        memory: the host's bound on bytes of guest memory.
        in_flight: the host's bound on bytes on their way.
    """

    __slots__ = ("_engine", "_free", "_layout", "_lock", "_users", "calls", "in_flight", "live", "memory")

    def __init__(self, engine: FiberEngine, layout: Layout, free: Callable[[], None]) -> None:
        """Args:
        engine: whose bounds they are.
        layout: what says where its guests can live.
        free: called when the last user is gone; the plugin itself is the first one, until `release`.
        """
        self._engine = engine
        self._layout = layout
        self._lock = engine.lock
        self._free = free
        self._users = 1
        self.calls = Budget("calls per plugin", engine.bounds.calls_per_plugin, engine.lock)
        self.live = engine.live
        self.memory = engine.memory
        self.in_flight = engine.in_flight

    # --- calls ------------------------------------------------------------------------------------------------------

    def enter(self, amount: int) -> bool:
        """Takes a place among this plugin's calls and room for so many bytes of input, if they are free. What a call
        uses stays until it leaves, though the plugin be unloaded meanwhile."""
        calls, in_flight = self.calls, self.in_flight
        with self._lock:
            held = in_flight.taken + amount
            if calls.line or in_flight.line or calls.taken >= calls.limit or held > in_flight.limit:
                return False
            calls.taken += 1
            in_flight.taken = held
            self._users += 1
        return True

    async def wait_to_enter(self, clock: WallClock, amount: int) -> None:
        """As `enter`, waiting until the call's deadline.

        Raises:
            BusyError: the input is larger than what may be on its way at all.
        """
        with self._lock:
            self._users += 1
        try:
            # A flood of one plugin's calls waits at its own bound and takes nothing from others.
            await self.calls.take(1, clock)
            try:
                await self.in_flight.take(amount, clock)
            except BaseException:
                self.calls.give(1)
                raise
        except BaseException:
            self.release()
            raise

    def leave(self, amount: int) -> None:
        """Gives back what `enter` took."""
        calls, in_flight = self.calls, self.in_flight
        with self._lock:
            calls.taken -= 1
            in_flight.taken -= amount
            self._users -= 1
            last = not self._users
            waited = calls.line or in_flight.line
        if waited:
            calls.give(0)
            in_flight.give(0)
        if last:
            self._free()

    def step_out(self) -> None:
        """The call waits for the host: its place among the plugin's calls is another's meanwhile."""
        self.calls.give(1)

    def step_in(self, held: int) -> None:
        """It goes on, at once and even beyond the bound: it was inside before.

        Args:
            held: bytes in flight that it gives back, of what it asked the host with.
        """
        in_flight = self.in_flight
        with self._lock:
            self.calls.taken += 1
            in_flight.taken -= held
            waited = held and in_flight.line
        if waited:
            in_flight.give(0)

    # --- guests -----------------------------------------------------------------------------------------------------

    def take_guest(self, size: int, limits: Limits) -> Spot | None:
        """Takes a place among the live guests and the memory that one begins with, if nobody waits for either.

        Args:
            size: bytes of the host's memory.
            limits: of its call.
        """
        live, memory = self.live, self.memory
        with self._lock:
            held = memory.taken + size
            if live.line or memory.line or live.taken >= live.limit or held > memory.limit:
                return None
            live.taken += 1
            memory.taken = held
            return self._spot(limits)

    async def wait_for_guest(self, clock: WallClock, size: int, limits: Limits) -> Spot:
        """As `take_guest`, waiting until the call's deadline. Spare guests go first.

        Raises:
            BusyError: it begins with more than all guests together may have.
        """
        live, memory = self.live, self.memory
        self._engine.spares.drop()
        spot = self.take_guest(size, limits)
        if spot is not None:
            return spot
        if size > memory.limit:
            raise BusyError(
                f"the module starts with {size} bytes of memory, more than the bound of {memory.limit} on "
                f"{memory.name}",
                bound=memory.name,
            )
        await live.take(1, clock)
        try:
            await memory.take(size, clock)
        except BaseException:
            live.give(1)
            raise
        with self._lock:
            return self._spot(limits)

    def _spot(self, limits: Limits) -> Spot:
        spot = self._engine.spot(self._layout, limits)
        spot.taken += 1
        self._users += 1
        return spot

    def give_guest(self, spot: Spot, size: int) -> None:
        """A guest is over and its store deleted: gives back what it held. From any thread."""
        live, memory = self.live, self.memory
        with self._lock:
            spot.taken -= 1
            live.taken -= 1
            memory.taken -= size
            self._users -= 1
            last = not self._users
            waited = live.line or memory.line
        if waited:
            memory.give(0)
            live.give(0)
        if last:
            self._free()

    def spare_guest(self, size: int, limits: Limits) -> Spot | None:
        """As `take_guest`, for a guest that nobody waits for, if there is ample room."""
        return self.take_guest(size, limits) if self.ample(1, size) else None

    def ample(self, guests: int = 0, size: int = 0) -> bool:
        """Whether there is room for guests that nobody waits for: nobody waits for what they hold, and with so much
        more at most half of what there may be is taken."""
        live, memory = self.live, self.memory
        if live.line or memory.line:
            return False
        return (live.taken + guests) * 2 <= live.limit and (memory.taken + size) * 2 <= memory.limit

    # --- the end ----------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """One user less: the plugin itself, or a call that waited in vain."""
        with self._lock:
            self._users -= 1
            last = not self._users
        if last:
            self._free()
