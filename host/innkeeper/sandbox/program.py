"""A compiled and linked plugin on wasmtime's fibers: what all of its guests share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from innkeeper.errors import GuestError, LimitError, UsageError
from innkeeper.sandbox import driver, starting
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.callable import check_callable
from innkeeper.sandbox.depth import check_depth
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.inline import Habit, Lockout
from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.layout import Layout
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.linked_guest import LinkedGuest
from innkeeper.sandbox.module_info import ModuleInfo
from innkeeper.sandbox.places import Places
from innkeeper.sandbox.session import FiberSession
from innkeeper.sandbox.spares import Stock
from innkeeper.sandbox.spots import Spot
from innkeeper.sandbox.usage import Result
from innkeeper.sandbox.workers import CLOSED

if TYPE_CHECKING:
    from innkeeper.sandbox.engine import FiberEngine

_HABITS = 256
"""Functions of one plugin whose habits are remembered."""


class FiberProgram:
    """Implements `interface.Program`.

    Attributes:
        digest: sha256 of the plugin's own module, hexadecimal.
        seed: the same as bytes, for WASI's random numbers.
        places: what its calls and guests take of the host's bounds.
        calls: the bound on its calls that are started and do not wait.
        engine: what it runs on.
        layout: what its guests have in common.
        stock: its spare guests.
        lockout: whether it may run on trio's thread at all.
        stack: bytes of stack that a guest may use.
        workers: the engine's worker threads.
        loop_budget: what guests may still take of this pass of trio's loop.
        poll: how to poll on trio's thread.
    """

    def __init__(self, engine: FiberEngine, digest: str, info: ModuleInfo, layout: Layout) -> None:
        """Args:
        engine: what it runs on.
        digest: of the plugin's own module.
        info: what that says of itself.
        layout: its modules, compiled; freed with the program.
        """
        self.digest = digest
        self.seed = bytes.fromhex(digest)
        self.layout = layout
        self.lockout = Lockout()
        self.places = Places(engine, layout, layout.free)
        self.calls = self.places.calls
        self.stack = engine.stack
        self.workers = engine.workers
        self.loop_budget = engine.loop_budget
        self.poll = engine.poll
        self.engine = engine
        self._info = info
        self._results: dict[str, int] = {}
        self._habits: dict[str, Habit] = {}
        self._closed = False
        # The limits that were found to allow a guest, and the memory that it begins with.
        self._allowed: Limits | None = None
        self._begins_with = 0
        self.stock = Stock(self)

    # --- what its guests need ---------------------------------------------------------------------------------------

    def habit(self, function: str) -> Habit:
        """What is known of a function's slices."""
        habit = self._habits.get(function)
        if habit is None:
            if len(self._habits) >= _HABITS:
                self._habits.clear()
            habit = self._habits[function] = Habit()
        return habit

    # --- calls ------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        """As `interface.Program.call`."""
        check_depth()
        await trio.lowlevel.checkpoint_if_cancelled()
        results = self.check_function(function, options)
        size = self._size(function, options)
        call = Call(function, data, options)
        places, amount = self.places, len(data)
        try:
            if self.loop_budget.left <= 0:
                await self.turn(call)
            if not places.enter(amount):
                await places.wait_to_enter(call.clock, amount)
            try:
                guest = self.stock.take(call)
                ready = guest is not None
                if guest is None:
                    spot = places.take_guest(size, call.limits)
                    if spot is None:
                        spot = await places.wait_for_guest(call.clock, size, call.limits)
                    guest = self.make_guest(call, size, spot)
                try:
                    output = b""
                    if ready or await self._start(guest, call):
                        output = await driver.invoke(guest, function, results, data)
                finally:
                    before = time.perf_counter()
                    guest.finish_call()
                    guest.close()
                    self.loop_budget.left -= time.perf_counter() - before
            finally:
                places.leave(amount)
        except BaseException as error:
            call.end(error)
            raise
        return call.result(output)

    @trio.lowlevel.enable_ki_protection
    async def open(self, options: CallOptions) -> FiberSession:
        """As `interface.Program.open`."""
        check_depth()
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open(options)
        size = self._size(starting.START, options)
        call = Call(starting.START, b"", options)
        places = self.places
        try:
            if not places.enter(0):
                await places.wait_to_enter(call.clock, 0)
            try:
                spot = places.take_guest(size, call.limits)
                if spot is None:
                    spot = await places.wait_for_guest(call.clock, size, call.limits)
                guest = self.make_guest(call, size, spot)
                try:
                    if not await starting.start(guest):
                        raise GuestError("the guest exited while it started, so there is nothing to call", code=0)
                except BaseException:
                    guest.finish_call()
                    guest.close()
                    raise
            finally:
                places.leave(0)
        except BaseException as error:
            call.end(error)
            raise
        call.end(None)
        return FiberSession(self, guest)

    async def turn(self, call: Call) -> None:
        """Waits for a pass of trio's loop in which guests may still take some time: making one takes some, too.

        Raises:
            UsageError: the engine was closed meanwhile.
        """
        budget = self.loop_budget
        while budget.left <= 0:
            call.clock.arm()
            await budget.wait()
            self.check_open()

    async def _start(self, guest: Guest, call: Call) -> bool:
        ready = await starting.start(guest)
        if self.layout.starts:
            self.stock.note(call)
        return ready

    def _size(self, function: str, options: CallOptions) -> int:
        # Bytes of the host's memory that a guest begins with.
        limits = options.limits
        if limits is self._allowed:
            return self._begins_with
        try:
            self._begins_with = self.layout.memory_to_start(limits)
            self._allowed = limits
            return self._begins_with
        except LimitError as error:
            error.plugin, error.function = options.plugin, function
            raise

    # --- guests -----------------------------------------------------------

    def spare_guest(self, call: Call) -> Guest | None:
        """A guest that is not started yet, if there is room for one that nobody waits for."""
        size = self._size(call.function, call.options)
        spot = None if self.closed else self.places.spare_guest(size, call.limits)
        return None if spot is None else self.make_guest(call, size, spot)

    def make_guest(self, call: Call, size: int, spot: Spot) -> Guest:
        """A guest that is not started yet. What was taken for it is given back by `close`, or where it cannot be made.

        Args:
            call: the first call.
            size: bytes of memory that were taken for it.
            spot: the place that was taken for it.
        """
        before = time.perf_counter()
        try:
            return (LinkedGuest if self.layout.linked else Guest)(self, call, size, spot)
        except BaseException:
            self.places.give_guest(spot, size)
            raise
        finally:
            self.loop_budget.left -= time.perf_counter() - before

    # --- what can be called, and for how long -----------------------------

    @property
    def closed(self) -> bool:
        """Whether it was unloaded, or its engine closed."""
        return self._closed or self.engine.closed

    def check_open(self, options: CallOptions | None = None) -> None:
        """Raises UsageError if the engine was closed: nobody polls guests any more. With options, also if the plugin
        was unloaded."""
        if self.engine.closed:
            raise UsageError(CLOSED)
        if options is not None and self._closed:
            raise UsageError("the plugin was unloaded", plugin=options.plugin)

    def check_function(self, function: str, options: CallOptions) -> int:
        """The number of results, 0 or 1, of an exported function that can be called.

        Raises:
            UsageError: there is none of this name, or it wants parameters.
        """
        count = self._results.get(function)
        if count is not None and not self._closed and not self.engine.closed:
            return count
        self.check_open(options)
        self._results[function] = count = check_callable(self._info, function, options.plugin)
        return count

    def close(self) -> None:
        """As `interface.Program.close`."""
        if not self._closed:
            self._closed = True
            self.engine.spares.forget(self.stock)
            self.places.release()
