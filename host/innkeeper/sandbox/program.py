"""A compiled and linked plugin on wasmtime's fibers: what all of its guests share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from innkeeper.errors import BusyError, GuestError, InnkeeperError, LimitError, UsageError
from innkeeper.sandbox import capi, driver, starting
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.capacity import Budget, give_together, take_together
from innkeeper.sandbox.depth import check_depth
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.inline import Habit, Lockout
from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.layout import Layout
from innkeeper.sandbox.linked_guest import LinkedGuest
from innkeeper.sandbox.module_info import ModuleInfo
from innkeeper.sandbox.session import FiberSession
from innkeeper.sandbox.spots import Spot
from innkeeper.sandbox.usage import Result
from innkeeper.sandbox.wasi import NONE, WasiRights
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
        rights: what its WASI may do.
        calls: the bound on its calls that are started and do not wait.
        layout: what its guests have in common.
        lockout: whether it may run on trio's thread at all.
        memory_budget: the host's budget of guest memory.
        in_flight: the host's budget of bytes on their way.
        stack: bytes of stack that a guest may use.
        workers: the engine's worker threads.
        loop_budget: what guests may still take of this pass of trio's loop.
        poll: how to poll on trio's thread.
    """

    def __init__(
        self, engine: FiberEngine, digest: str, info: ModuleInfo, layout: Layout, rights: WasiRights = NONE
    ) -> None:
        """Args:
        engine: what it runs on.
        digest: of the plugin's own module.
        info: what that says of itself.
        layout: its modules, compiled; freed with the program.
        rights: what its WASI may do.
        """
        self.digest = digest
        self.seed = bytes.fromhex(digest)
        self.rights = rights
        self.layout = layout
        self.lockout = Lockout()
        self.calls = Budget("calls per plugin", engine.bounds.calls_per_plugin, engine.lock)
        self.memory_budget = engine.memory
        self.in_flight = engine.in_flight
        self.stack = engine.stack
        self.workers = engine.workers
        self.loop_budget = engine.loop_budget
        self.poll = engine.poll
        self._engine = engine
        self._info = info
        self._results: dict[str, int] = {}
        self._habits: dict[str, Habit] = {}
        self._closed = False
        self._freed = False
        self._lock = engine.lock
        self._users = 1

    # --- what its guests need ---------------------------------------------------------------------------------------

    def habit(self, function: str) -> Habit:
        """What is known of a function's slices."""
        habit = self._habits.get(function)
        if habit is None:
            if len(self._habits) >= _HABITS:
                self._habits.clear()
            habit = self._habits[function] = Habit()
        return habit

    def guest_closed(self, store: int, counted: int, spot: Spot, *, large: bool, after: Callable[[], None]) -> None:
        """A guest is over: deletes its store, here or (when that takes milliseconds) on a worker, and gives back
        what it held. Its future is deleted already.

        Args:
            after: called when the store is gone.
        """

        def delete() -> None:
            (capi.store_delete_free if large else capi.store_delete)(store)
            after()
            with self._lock:
                spot.taken -= 1
            give_together(self.memory_budget, counted, self._engine.live, 1)
            self._release()

        if large:
            self.workers.submit(delete)
        else:
            delete()

    # --- calls ------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        """As `interface.Program.call`."""
        check_depth()
        await trio.lowlevel.checkpoint_if_cancelled()
        results = self.check_function(function, options)
        size = self._size(function, options)
        call = self._begin(function, data, options)
        try:
            if self.loop_budget.left <= 0:
                await self._turn(call)
            await self._take_places(call, size, len(data))
            try:
                guest = self._guest(call, size)
                try:
                    output = b""
                    if await starting.start(guest):
                        output = await driver.invoke(guest, function, results, data)
                    self._count_output(output)
                finally:
                    before = time.perf_counter()
                    self._settle(call, guest)
                    guest.close()
                    self.loop_budget.left -= time.perf_counter() - before
            finally:
                give_together(self.calls, 1, self.in_flight, len(data))
        except BaseException as error:
            self._end(call, error)
            raise
        self._end(call, None)
        return _result(call, output)

    @trio.lowlevel.enable_ki_protection
    async def open(self, options: CallOptions) -> FiberSession:
        """As `interface.Program.open`."""
        check_depth()
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open(options)
        size = self._size(starting.START, options)
        call = self._begin(starting.START, b"", options)
        try:
            await self._take_places(call, size, 0)
            try:
                guest = self._guest(call, size)
                try:
                    if not await starting.start(guest):
                        raise GuestError("the guest exited while it started, so there is nothing to call", code=0)
                except BaseException:
                    self._settle(call, guest)
                    guest.close()
                    raise
            finally:
                self.calls.give(1)
        except BaseException as error:
            self._end(call, error)
            raise
        self._end(call, None)
        return FiberSession(self, guest)

    @trio.lowlevel.enable_ki_protection
    async def call_in(self, guest: Guest, function: str, data: bytes, options: CallOptions) -> Result:
        """Calls a function of a guest that lives on. It is closed after an exit, and after an error unless it reported
        one of its own in good order."""
        check_depth()
        await trio.lowlevel.checkpoint_if_cancelled()
        results = self.check_function(function, options)
        call = self._begin(function, data, options)
        untouched = True
        try:
            if self.loop_budget.left <= 0:
                await self._turn(call)
            size = len(data)
            if not take_together(((self.calls, 1), (self.in_flight, size))):
                await self.calls.take(1, call.clock)
                try:
                    await self.in_flight.take(size, call.clock)
                except BaseException:
                    self.calls.give(1)
                    raise
            try:
                guest.call = call
                untouched = False
                try:
                    guest.forget_refusals()
                    output = await driver.invoke(guest, function, results, data)
                    self._count_output(output)
                finally:
                    self._settle(call, guest)
            finally:
                give_together(self.calls, 1, self.in_flight, size)
        except BaseException as error:
            # One that waited in vain has not touched the guest.
            if not (call.orderly or untouched):
                guest.close()
            self._end(call, error)
            raise
        self._end(call, None)
        if call.failure is not None:
            guest.close()
        return _result(call, output)

    def check_open(self, options: CallOptions | None = None) -> None:
        """Raises UsageError if the engine was closed: nobody polls guests any more. With options, also if the plugin
        was unloaded."""
        if self._engine.closed:
            raise UsageError(CLOSED)
        if options is not None and self._closed:
            raise UsageError("the plugin was unloaded", plugin=options.plugin)

    def check_function(self, function: str, options: CallOptions) -> int:
        """The number of results, 0 or 1, of an exported function that can be called.

        Raises:
            UsageError: there is none of this name, or it wants parameters.
        """
        self.check_open(options)
        count = self._results.get(function)
        if count is not None:
            return count
        export = self._info.exports.get(function)
        if export is None or export.kind != "func" or export.signature is None:
            names = [e.name for e in self._info.exports.values() if e.kind == "func" and not e.name.startswith("_")]
            known = ", ".join(sorted(names)[:10]) or "none"
            raise UsageError(
                f"it exports no such function; it exports: {known}", plugin=options.plugin, function=function
            )
        parameters, results = export.signature
        if parameters or results not in ((), ("i32",)):
            raise UsageError(
                "only functions without parameters that return nothing or an i32 can be called; this one is "
                f"({', '.join(parameters)}) -> ({', '.join(results)})",
                plugin=options.plugin,
                function=function,
            )
        self._results[function] = len(results)
        return len(results)

    def close(self) -> None:
        """As `interface.Program.close`."""
        if not self._closed:
            self._closed = True
            self._release()

    # --- inside ------------------------------------------------------------

    def _begin(self, function: str, data: bytes, options: CallOptions) -> Call:
        try:
            call = Call(function, data, options)
        except LimitError as error:
            error.plugin, error.function = options.plugin, function
            raise
        # What a call uses stays until it is over, though the plugin be unloaded meanwhile.
        with self._lock:
            self._users += 1
        return call

    def _end(self, call: Call, error: BaseException | None) -> None:
        # Leaves the clock's scope; if it was the clock that ended the call, raises what that means.
        self._release()
        by_clock = call.clock.close(error)
        call.usage.wall = call.clock.elapsed
        final = by_clock or error
        if isinstance(final, InnkeeperError):
            final.plugin = final.plugin or call.options.plugin
            final.function = final.function or call.function
            final.usage = call.usage
        if by_clock is not None:
            raise by_clock from None

    async def _turn(self, call: Call) -> None:
        # Making a guest takes time on trio's thread, too.
        budget = self._engine.loop_budget
        while budget.left <= 0:
            call.clock.arm()
            await budget.wait()
            self.check_open()

    def _size(self, function: str, options: CallOptions) -> int:
        # Bytes of the host's memory that a guest begins with.
        try:
            return self.layout.memory_to_start(options.limits)
        except LimitError as error:
            error.plugin, error.function = options.plugin, function
            raise

    async def _take_places(self, call: Call, size: int, amount: int) -> None:
        # A place among this plugin's calls and room for the input, which the call gives back; a place among the live
        # guests and the memory that one begins with, which the guest gives back.  A flood of one plugin's calls waits
        # at its own bound and takes nothing from others.
        live, memory, in_flight = self._engine.live, self.memory_budget, self.in_flight
        if take_together(((self.calls, 1), (in_flight, amount), (live, 1), (memory, size))):
            return
        if size > memory.limit:
            raise BusyError(
                f"the module starts with {size} bytes of memory, more than the bound of {memory.limit} on "
                f"{memory.name}",
                bound=memory.name,
            )
        taken: list[tuple[Budget, int]] = []
        try:
            for budget, wanted in ((self.calls, 1), (in_flight, amount), (live, 1), (memory, size)):
                await budget.take(wanted, call.clock)
                taken.append((budget, wanted))
        except BaseException:
            for budget, wanted in reversed(taken):
                budget.give(wanted)
            raise

    def _guest(self, call: Call, size: int) -> Guest:
        # Its places are taken; where it cannot be made they are given back.
        engine = self._engine
        before = time.perf_counter()
        with self._lock:
            spot = engine.spot(self.layout, call.limits)
            spot.taken += 1
            self._users += 1
        try:
            return (LinkedGuest if self.layout.linked else Guest)(self, call, size, spot)
        except BaseException:
            with self._lock:
                spot.taken -= 1
            give_together(self.memory_budget, size, engine.live, 1)
            self._release()
            raise
        finally:
            engine.loop_budget.left -= time.perf_counter() - before

    def _count_output(self, output: bytes) -> None:
        in_flight = self._engine.in_flight
        if not in_flight.grow(len(output)):
            raise BusyError(
                f"the host was busy: the bound of {in_flight.limit} on {in_flight.name} was not free",
                bound=in_flight.name,
            )
        in_flight.give(len(output))

    def _settle(self, call: Call, guest: Guest) -> None:
        # No future any more: what was used can be read.
        if guest.lent:
            return
        guest.settle()
        guest.flush()
        call.usage.memory = guest.memory_size()
        call.usage.wall = call.clock.elapsed

    def _release(self) -> None:
        # Linkers and compiled code go when the last call and the last guest are gone.
        with self._lock:
            self._users -= 1
            if self._users or self._freed:
                return
            self._freed = True
        self.layout.free()


def _result(call: Call, output: bytes) -> Result:
    call.usage.bytes_out = len(output)
    call.usage.wall = call.clock.elapsed
    return Result(output, call.usage)
