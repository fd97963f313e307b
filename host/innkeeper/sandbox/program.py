"""A compiled and linked plugin on wasmtime's fibers: what all of its guests share."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from innkeeper.errors import BusyError, GuestError, InnkeeperError, LimitError, UsageError
from innkeeper.sandbox import capi, driver, kernel, refusals
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.capacity import Budget
from innkeeper.sandbox.clock import WallClock
from innkeeper.sandbox.depth import check_depth
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.inline import Habit, Lockout, LoopBudget
from innkeeper.sandbox.interface import CallOptions, HostFunction
from innkeeper.sandbox.linking import CompiledModule, Links
from innkeeper.sandbox.session import FiberSession
from innkeeper.sandbox.ticker import Ticker
from innkeeper.sandbox.usage import Result
from innkeeper.sandbox.wasi import NONE, WasiRights
from innkeeper.sandbox.workers import CLOSED, Workers

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
        links: what its guests are linked with.
        lockout: whether it may run on trio's thread at all.
    """

    def __init__(
        self,
        engine: FiberEngine,
        digest: str,
        modules: Sequence[CompiledModule],
        functions: Sequence[HostFunction],
        rights: WasiRights = NONE,
    ) -> None:
        self.digest = digest
        self.seed = bytes.fromhex(digest)
        self.rights = rights
        self.calls = Budget("calls per plugin", engine.bounds.calls_per_plugin)
        self._engine = engine
        self.links = Links(engine.address, modules, functions)
        self._info = modules[-1].info
        self.lockout = Lockout()
        self._habits: dict[str, Habit] = {}
        self._closed = False
        self._freed = False
        self._lock = threading.RLock()
        self._users = 1

    # --- what its guests need ---------------------------------------------------------------------------------------

    @property
    def engine_address(self) -> int:
        """Address of wasmtime's engine."""
        return self._engine.address

    @property
    def memory_budget(self) -> Budget:
        """The host's budget of guest memory."""
        return self._engine.memory

    @property
    def in_flight(self) -> Budget:
        """The host's budget of bytes on their way."""
        return self._engine.in_flight

    @property
    def stack(self) -> int:
        """Bytes of stack that a guest may use."""
        return self._engine.stack

    @property
    def workers(self) -> Workers:
        """The engine's worker threads."""
        return self._engine.workers

    @property
    def ticker(self) -> Ticker:
        """The engine's ticker."""
        return self._engine.ticker

    @property
    def loop_budget(self) -> LoopBudget:
        """What guests may still take of this pass of trio's loop."""
        return self._engine.loop_budget

    @property
    def poll(self) -> Any:
        """How to poll on trio's thread."""
        return self._engine.poll

    def habit(self, function: str) -> Habit:
        """What is known of a function's slices."""
        habit = self._habits.get(function)
        if habit is None:
            if len(self._habits) >= _HABITS:
                self._habits.clear()
            habit = self._habits[function] = Habit()
        return habit

    async def kernel(self, memory: int, clock: WallClock | None = None) -> int:
        """Address of the linked kernel whose memory may grow to so many bytes, in whole pages.

        One that is not there yet is compiled, perhaps behind other jobs: within `clock`, where a call waits for it.
        """
        memory -= memory % kernel.PAGE
        known = self.links.kernel(memory)
        if known is None:
            if clock is not None:
                clock.arm()
            module = await self._engine.compile_kernel(self.links.kernel_source(memory))
            known = self.links.add_kernel(memory, module)
        return known

    def guest_closed(self, store: int, linker: int, counted: int, *, large: bool) -> None:
        """A guest is over: deletes its store, here or (when that takes milliseconds) on a worker, and gives back
        what it held. Its future is deleted already."""

        def delete() -> None:
            (capi.store_delete_free if large else capi.store_delete)(store)
            self.memory_budget.give(counted)
            self._engine.live.give(1)

        if large:
            self._engine.workers.submit(delete)
        else:
            delete()
        if linker:
            self.links.give(linker)
        self._release()

    # --- calls ------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        """As `interface.Program.call`."""
        check_depth()
        await trio.lowlevel.checkpoint_if_cancelled()
        results = self.check_function(function, options)
        call = self._begin(function, data, options)
        try:
            await self._turn(call)
            async with self._slot(call, len(data)):
                guest = await self._admit(call)
                try:
                    output = b""
                    if await driver.start(guest):
                        output = await driver.invoke(guest, function, results, data)
                    self._count_output(output)
                finally:
                    before = time.perf_counter()
                    self._settle(call, guest)
                    guest.close()
                    self._engine.loop_budget.left -= time.perf_counter() - before
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
        call = self._begin("(start)", b"", options)
        try:
            async with self._slot(call, 0):
                guest = await self._admit(call)
                try:
                    if not await driver.start(guest):
                        raise GuestError("the guest exited while it started, so there is nothing to call", code=0)
                except BaseException:
                    self._settle(call, guest)
                    guest.close()
                    raise
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
            await self._turn(call)
            async with self._slot(call, len(data)):
                guest.call = call
                untouched = False
                try:
                    refusals.forget(guest.context, guest.instances())
                    output = await driver.invoke(guest, function, results, data)
                    self._count_output(output)
                finally:
                    self._settle(call, guest)
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

    @trio.lowlevel.enable_ki_protection
    async def _admit(self, call: Call) -> Guest:
        # A place among the live guests and the memory that it begins with; the guest gives both back when it is closed.
        engine = self._engine
        size = self.links.memory_to_start(call.limits)
        if size > engine.memory.limit:
            raise BusyError(
                f"the module starts with {size} bytes of memory, more than the bound of {engine.memory.limit} on "
                f"{engine.memory.name}",
                bound=engine.memory.name,
            )
        await engine.live.take(1, call.clock)
        try:
            await engine.memory.take(size, call.clock)
        except BaseException:
            engine.live.give(1)
            raise
        with self._lock:
            self._users += 1
        before = time.perf_counter()
        try:
            return Guest(self, call, size)
        except BaseException:
            engine.memory.give(size)
            engine.live.give(1)
            self._release()
            raise
        finally:
            engine.loop_budget.left -= time.perf_counter() - before

    @asynccontextmanager
    async def _slot(self, call: Call, size: int) -> AsyncIterator[None]:
        # A place among this plugin's calls, taken before a place among all guests: a flood of one plugin's calls
        # waits here and takes nothing from others.
        in_flight = self._engine.in_flight
        await self.calls.take(1, call.clock)
        try:
            await in_flight.take(size, call.clock)
            try:
                yield
            finally:
                in_flight.give(size)
        finally:
            self.calls.give(1)

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
        self.links.free()


def _result(call: Call, output: bytes) -> Result:
    call.usage.bytes_out = len(output)
    call.usage.wall = call.clock.elapsed
    return Result(output, call.usage)
