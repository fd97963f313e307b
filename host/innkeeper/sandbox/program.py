"""A compiled and linked plugin on wasmtime's fibers: what all of its guests share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from innkeeper.errors import BusyError, GuestError, InnkeeperError, LimitError, UsageError
from innkeeper.sandbox import driver, starting
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.capacity import Budget, give_together, take_together
from innkeeper.sandbox.depth import check_depth
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.inline import Habit, Lockout
from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.layout import Layout
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.linked_guest import LinkedGuest
from innkeeper.sandbox.module_info import ModuleInfo
from innkeeper.sandbox.session import FiberSession
from innkeeper.sandbox.spares import Stock
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
        engine: what it runs on.
        layout: what its guests have in common.
        stock: its spare guests.
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
        self.engine = engine
        self._info = info
        self._results: dict[str, int] = {}
        self._habits: dict[str, Habit] = {}
        self._closed = False
        self._freed = False
        self._live = engine.live
        self._lock = engine.lock
        self._users = 1
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

    def guest_closed(self, spot: Spot, counted: int) -> None:
        """A guest is over and its store deleted: gives back what it held."""
        with self._lock:
            spot.taken -= 1
            self._users -= 1
            last = not self._users
        give_together(self.memory_budget, counted, self._live, 1)
        if last:
            self._free()

    # --- calls ------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        """As `interface.Program.call`."""
        check_depth()
        await trio.lowlevel.checkpoint_if_cancelled()
        results = self.check_function(function, options)
        size = self._size(function, options)
        call = self._call(function, data, options)
        amount = len(data)
        try:
            if self.loop_budget.left <= 0:
                await self._turn(call)
            if not self._enter(amount):
                await self._wait_to_enter(call, amount)
            try:
                spare = self.stock.take(call)
                if spare is not None:
                    guest = spare
                else:
                    if not take_together(self._live, 1, self.memory_budget, size):
                        await self._wait_for_guest(call, size)
                    guest = self._guest(call, size)
                try:
                    output = b""
                    if spare is not None or await self._start(guest, call):
                        output = await driver.invoke(guest, function, results, data)
                finally:
                    before = time.perf_counter()
                    self._settle(call, guest)
                    guest.close()
                    self.loop_budget.left -= time.perf_counter() - before
            finally:
                self._leave(amount)
        except BaseException as error:
            self._end(call, error)
            raise
        return self._result(call, output)

    @trio.lowlevel.enable_ki_protection
    async def open(self, options: CallOptions) -> FiberSession:
        """As `interface.Program.open`."""
        check_depth()
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open(options)
        size = self._size(starting.START, options)
        call = self._call(starting.START, b"", options)
        try:
            if not self._enter(0):
                await self._wait_to_enter(call, 0)
            try:
                if not take_together(self._live, 1, self.memory_budget, size):
                    await self._wait_for_guest(call, size)
                guest = self._guest(call, size)
                try:
                    if not await starting.start(guest):
                        raise GuestError("the guest exited while it started, so there is nothing to call", code=0)
                except BaseException:
                    self._settle(call, guest)
                    guest.close()
                    raise
            finally:
                self._leave(0)
        except BaseException as error:
            self._end(call, error)
            raise
        self._end(call, None)
        return FiberSession(self, guest)

    @trio.lowlevel.enable_ki_protection
    async def call_in(self, guest: Guest, function: str, results: int, data: bytes, options: CallOptions) -> Result:
        """Calls a function of a guest that lives on. It is closed after an exit, and after an error unless it reported
        one of its own in good order.

        Args:
            results: of `check_function`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        call = self._call(function, data, options)
        amount = len(data)
        untouched = True
        try:
            if self.loop_budget.left <= 0:
                await self._turn(call)
            if not self._enter(amount):
                await self._wait_to_enter(call, amount)
            try:
                guest.call = call
                untouched = False
                try:
                    guest.hold_kernel()
                    guest.forget_refusals()
                    output = await driver.invoke(guest, function, results, data)
                finally:
                    self._settle(call, guest)
            finally:
                self._leave(amount)
        except BaseException as error:
            # One that waited in vain has not touched the guest.
            if not (call.orderly or untouched):
                guest.close()
            self._end(call, error)
            raise
        if call.failure is not None:
            guest.close()
        return self._result(call, output)

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
            self.engine.spares.forget(self.stock)
            self._release()

    # --- inside ------------------------------------------------------------

    def _call(self, function: str, data: bytes, options: CallOptions) -> Call:
        try:
            return Call(function, data, options)
        except LimitError as error:
            error.plugin, error.function = options.plugin, function
            raise

    def _end(self, call: Call, error: BaseException | None) -> None:
        # Leaves the clock's scope; if it was the clock that ended the call, raises what that means.
        clock = call.clock
        by_clock = clock.close(error)
        call.usage.wall = clock.elapsed
        if error is None and by_clock is None:
            return
        final = by_clock or error
        if isinstance(final, InnkeeperError):
            final.plugin = final.plugin or call.options.plugin
            final.function = final.function or call.function
            final.usage = call.usage
        if by_clock is not None:
            raise by_clock from None

    def _result(self, call: Call, output: bytes) -> Result:
        self._end(call, None)
        usage = call.usage
        usage.bytes_out = len(output)
        return Result(output, usage)

    async def _turn(self, call: Call) -> None:
        # Making a guest takes time on trio's thread, too.
        budget = self.engine.loop_budget
        while budget.left <= 0:
            call.clock.arm()
            await budget.wait()
            self.check_open()

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

    def _enter(self, amount: int) -> bool:
        # Takes a place among this plugin's calls and room for so many bytes of input, if they are free. What a call
        # uses stays until it leaves, though the plugin be unloaded meanwhile.
        calls, in_flight = self.calls, self.in_flight
        with self._lock:
            held = in_flight.taken + amount
            if calls.line or in_flight.line or calls.taken >= calls.limit or held > in_flight.limit:
                return False
            calls.taken += 1
            in_flight.taken = held
            self._users += 1
        return True

    async def _wait_to_enter(self, call: Call, amount: int) -> None:
        with self._lock:
            self._users += 1
        try:
            # A flood of one plugin's calls waits at its own bound and takes nothing from others.
            await self.calls.take(1, call.clock)
            try:
                await self.in_flight.take(amount, call.clock)
            except BaseException:
                self.calls.give(1)
                raise
        except BaseException:
            self._release()
            raise

    def _leave(self, amount: int) -> None:
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

    async def _wait_for_guest(self, call: Call, size: int) -> None:
        # A place among the live guests and the memory that one begins with; the guest gives both back.
        live, memory = self._live, self.memory_budget
        self.engine.spares.drop()
        if take_together(live, 1, memory, size):
            return
        if size > memory.limit:
            raise BusyError(
                f"the module starts with {size} bytes of memory, more than the bound of {memory.limit} on "
                f"{memory.name}",
                bound=memory.name,
            )
        await live.take(1, call.clock)
        try:
            await memory.take(size, call.clock)
        except BaseException:
            live.give(1)
            raise

    async def _start(self, guest: Guest, call: Call) -> bool:
        ready = await starting.start(guest)
        if self.layout.starts:
            self.stock.note(call)
        return ready

    def spare_guest(self, call: Call) -> Guest | None:
        """A guest that is not started yet, if there is room for one that nobody waits for."""
        size = self._size(call.function, call.options)
        if not self.spares_fit(1, size) or not take_together(self._live, 1, self.memory_budget, size):
            return None
        return self._guest(call, size)

    def spares_fit(self, guests: int = 0, memory: int = 0) -> bool:
        """Whether there is room for guests that nobody waits for: nobody waits for what they hold, and with so much
        more at most half of what there may be is taken."""
        live, held = self._live, self.memory_budget
        if self.closed or live.line or held.line:
            return False
        return (live.taken + guests) * 2 <= live.limit and (held.taken + memory) * 2 <= held.limit

    def _guest(self, call: Call, size: int) -> Guest:
        # Its places are taken; where it cannot be made they are given back.
        engine = self.engine
        before = time.perf_counter()
        with self._lock:
            spot = engine.spot(self.layout, call.limits)
            spot.taken += 1
            self._users += 1
        try:
            return (LinkedGuest if self.layout.linked else Guest)(self, call, size, spot)
        except BaseException:
            self.guest_closed(spot, size)
            raise
        finally:
            engine.loop_budget.left -= time.perf_counter() - before

    def _settle(self, call: Call, guest: Guest) -> None:
        # No future any more: what was used can be read.
        if guest.lent:
            return
        guest.settle()
        guest.flush()
        if not call.usage.memory:
            # Where it ended before it was counted.
            call.usage.memory = guest.memory_size()

    def _release(self) -> None:
        with self._lock:
            self._users -= 1
            last = not self._users
        if last:
            self._free()

    def _free(self) -> None:
        # Linkers and compiled code go when the last call and the last guest are gone.
        if not self._freed:
            self._freed = True
            self.layout.free()
