"""A compiled and linked plugin on wasmtime's fibers: what all of its guests share."""

from __future__ import annotations

import ctypes as c
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio
import wasmtime as w

from innkeeper.errors import BusyError, GuestError, InnkeeperError, InternalError, LimitError, UsageError
from innkeeper.sandbox import bindings, callbacks, capi, driver, kernel
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.callbacks import Binding
from innkeeper.sandbox.capacity import Budget
from innkeeper.sandbox.depth import check_depth
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.inline import Habit
from innkeeper.sandbox.interface import CallOptions, HostFunction
from innkeeper.sandbox.usage import Result
from innkeeper.sandbox.wasi import FUNCTIONS as WASI_FUNCTIONS
from innkeeper.sandbox.wasi import NONE, WASI_MODULE, WasiRights
from innkeeper.sandbox.wasm import ModuleInfo
from innkeeper.sandbox.workers import CLOSED

if TYPE_CHECKING:
    from innkeeper.sandbox.engine import FiberEngine

_START_FUNCTIONS = ("_initialize", "hs_init", "__wasm_call_ctors")
_HABITS = 256
"""Functions of one plugin whose habits are remembered."""


@dataclass(frozen=True, slots=True)
class CompiledModule:
    """One module of a plugin.

    Attributes:
        name: under which the modules after it import its exports; None for the plugin's own.
        info: what its sections say.
        module: compiled, with our exports added.
    """

    name: str | None
    info: ModuleInfo
    module: w.Module


@dataclass(frozen=True, slots=True)
class ModuleToStart:
    """What a guest needs to start one module.

    Attributes:
        address: of the compiled module.
        name: under which those after it import its exports, or None.
        owns_memory: whether its memory is its own: one that it imports is counted where it comes from.
    """

    address: int
    name: bytes | None
    owns_memory: bool


class FiberProgram:
    """Implements `interface.Program`.

    Attributes:
        digest: sha256 of the plugin's own module, hexadecimal.
        seed: the same as bytes, for WASI's random numbers.
        rights: what its WASI may do.
        calls: the bound on its calls that are started and do not wait.
        uses_kernel: whether any of its modules imports the Extism ABI.
        wrappers: namespace, name and kernel export of each host function that carries bytes.
        modules: in the order in which they start.
        start_functions: exports that run before the first call, with the number of their parameters.
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
        self._compiled = tuple(modules)
        self._info = self._compiled[-1].info
        self._functions = tuple(functions)
        self._habits: dict[str, Habit] = {}
        self._numbers: list[int] = []
        self._linkers: list[int] = []
        self._kernels: dict[int, tuple[int, w.Module]] = {}
        self._closed = False
        self._lock = threading.RLock()
        self._users = 1
        self.modules = [
            ModuleToStart(
                capi.address(compiled.module),
                compiled.name.encode() if compiled.name is not None else None,
                any(not memory.imported for memory in compiled.info.memories),
            )
            for compiled in self._compiled
        ]
        imported = {
            (item.module, item.name)
            for compiled in self._compiled
            for item in compiled.info.imports
            if item.kind == "func"
        }
        wrapped = [
            (position, function)
            for position, function in enumerate(self._functions)
            if kernel.needs_wrapper(function) and (function.namespace, function.name) in imported
        ]
        self.wrappers = [
            (function.namespace.encode(), function.name.encode(), kernel.wrapper_name(position).encode())
            for position, function in wrapped
        ]
        self.uses_kernel = bool(wrapped) or any(module == kernel.ENV for module, _ in imported)
        # A used linker still knows the last guest's modules. They are defined anew before anyone imports from them,
        # unless one has the name of a namespace of ours: then its importers could find the old one.
        ours = {function.namespace for function in self._functions} | {WASI_MODULE, kernel.ENV}
        self._shadows = any(compiled.name in ours for compiled in self._compiled)
        self.start_functions = self._find_start_functions()
        self._base = self._make_linker(imported)
        self._kernel_linker = self._make_kernel_linker(wrapped) if self.uses_kernel else 0

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
    def module_count(self) -> int:
        """Number of modules, without the kernel."""
        return len(self.modules)

    @property
    def stack(self) -> int:
        """Bytes of stack that a guest may use."""
        return self._engine.stack

    @property
    def workers(self) -> Any:
        """The engine's worker threads."""
        return self._engine.workers

    @property
    def ticker(self) -> Any:
        """The engine's ticker."""
        return self._engine.ticker

    @property
    def loop_budget(self) -> Any:
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

    async def kernel(self, memory: int) -> int:
        """Address of the linked kernel whose memory may grow to so many bytes."""
        found = self._kernels.get(memory)
        if found is None:
            module = await self._engine.compile_kernel(kernel.source(self._functions, memory))
            found = self._kernels.get(memory)
            if found is None:
                pre = c.c_void_p()
                self._check(capi.linker_instantiate_pre(self._kernel_linker, capi.address(module), c.addressof(pre)))
                found = self._kernels[memory] = (pre.value or 0, module)
        return found[0]

    def take_linker(self) -> int:
        """A linker of one guest's own, until `guest_closed` gets it back."""
        if self._shadows:
            return int(capi.linker_clone(self._base))
        return self._linkers.pop() if self._linkers else capi.linker_clone(self._base)

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
        if linker and self._shadows:
            capi.linker_delete(linker)
        elif linker:
            self._linkers.append(linker)
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
            async with self._slot(call, len(data)):
                guest = await self._admit(call)
                try:
                    output = b""
                    if await driver.start(guest):
                        output = await driver.invoke(guest, function, results, data)
                    self._count_output(output)
                finally:
                    self._settle(call, guest)
                    guest.close()
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
        """Calls a function of a guest that lives on. After an error, or an exit, the guest is closed."""
        check_depth()
        await trio.lowlevel.checkpoint_if_cancelled()
        results = self.check_function(function, options)
        call = self._begin(function, data, options)
        guest.call = call
        try:
            async with self._slot(call, len(data)):
                guest.forget_refusals()
                try:
                    output = await driver.invoke(guest, function, results, data)
                    self._count_output(output)
                finally:
                    self._settle(call, guest)
        except BaseException as error:
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
        if isinstance(error, GeneratorExit):
            # The coroutine is thrown away, perhaps outside of any trio run: its scope goes with it.
            return
        by_clock = call.clock.close(error)
        call.usage.wall = call.clock.elapsed
        final = by_clock or error
        if isinstance(final, InnkeeperError):
            final.plugin = final.plugin or call.options.plugin
            final.function = final.function or call.function
            final.usage = call.usage
        if by_clock is not None:
            raise by_clock from None

    @trio.lowlevel.enable_ki_protection
    async def _admit(self, call: Call) -> Guest:
        # A place among the live guests and the memory that it begins with; the guest gives both back when it is closed.
        declared = sum(m.minimum for compiled in self._compiled for m in compiled.info.memories if not m.imported)
        largest = max((m.minimum for compiled in self._compiled for m in compiled.info.memories), default=0)
        limits = call.limits
        if largest * kernel.PAGE > limits.memory:
            raise LimitError(
                f"the module starts with {largest * kernel.PAGE} bytes of memory; "
                f"the limit 'memory' is {limits.memory}",
                limit="memory",
                value=limits.memory,
                used=largest * kernel.PAGE,
            )
        elements = max((t.minimum for compiled in self._compiled for t in compiled.info.tables), default=0)
        if elements > limits.table_elements:
            raise LimitError(
                f"the module starts with a table of {elements} elements; "
                f"the limit 'table_elements' is {limits.table_elements}",
                limit="table_elements",
                value=limits.table_elements,
                used=elements,
            )
        size = (declared + (kernel.FIRST_PAGES if self.uses_kernel else 0)) * kernel.PAGE
        engine = self._engine
        if size > engine.memory.limit:
            raise BusyError(
                f"the module starts with {size} bytes of memory, more than all guests together may have "
                f"({engine.memory.limit})",
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
        try:
            return Guest(self, call, size)
        except BaseException:
            engine.memory.give(size)
            engine.live.give(1)
            self._release()
            raise

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

    def _find_start_functions(self) -> list[tuple[str, int]]:
        # A reactor's `_initialize` runs the constructors itself; `hs_init` (Haskell) wants argc and argv besides.
        found: list[tuple[str, int]] = []
        for name in _START_FUNCTIONS:
            export = self._info.exports.get(name)
            if export is None or export.kind != "func" or export.signature is None:
                continue
            parameters, results = export.signature
            if results or parameters not in ((), ("i32", "i32")):
                continue
            if name == "__wasm_call_ctors" and any(known == "_initialize" for known, _ in found):
                continue
            found.append((name, len(parameters)))
        return found

    def _make_linker(self, imported: set[tuple[str, str]]) -> int:
        linker: int = capi.linker_new(self._engine.address)
        capi.linker_allow_shadowing(linker, True)
        for module, name in sorted(imported):
            if module == WASI_MODULE:
                known = WASI_FUNCTIONS[name]
                self._define(linker, module, name, bindings.wasi_binding(known), waits=known.asynchronous)
        for function in self._functions:
            if not kernel.needs_wrapper(function) and (function.namespace, function.name) in imported:
                self._define(linker, function.namespace, function.name, bindings.host_binding(function), waits=True)
        return linker

    def _make_kernel_linker(self, wrapped: Sequence[tuple[int, HostFunction]]) -> int:
        linker: int = capi.linker_new(self._engine.address)
        for name, binding in bindings.KERNEL_BINDINGS.items():
            self._define(linker, kernel.INNER, name, binding, waits=False)
        for position, function in enumerate(self._functions):
            if kernel.needs_wrapper(function):
                name = kernel.inner_name(position)
                self._define(linker, kernel.INNER, name, bindings.host_binding(function), waits=True)
        return linker

    def _define(self, linker: int, module: str, name: str, binding: Binding, *, waits: bool) -> None:
        signature = binding.signature
        kind = w.FuncType([_TYPES[t]() for t in signature.parameters], [_TYPES[t]() for t in signature.results])
        define, callback = (
            (capi.linker_define_async, callbacks.ASYNC) if waits else (capi.linker_define_raw, callbacks.RAW)
        )
        number = callbacks.bind(binding)
        self._numbers.append(number)
        space, word = module.encode(), name.encode()
        self._check(define(linker, space, len(space), word, len(word), capi.address(kind), callback, number, None))

    def _release(self) -> None:
        # Linkers and compiled code go when the last call and the last guest are gone.
        with self._lock:
            self._users -= 1
            if self._users or not self._base:
                return
            base, self._base = self._base, 0
        for pre, _ in self._kernels.values():
            capi.instance_pre_delete(pre)
        for linker in (*self._linkers, base, self._kernel_linker):
            if linker:
                capi.linker_delete(linker)
        self._kernels.clear()
        self._linkers.clear()
        for number in self._numbers:
            callbacks.unbind(number)

    def _check(self, error: int | None) -> None:
        if error:
            raise InternalError(f"wasmtime: {capi.take_error(error)}")


_TYPES: Mapping[str, Any] = {
    "i32": w.ValType.i32,
    "i64": w.ValType.i64,
    "f32": w.ValType.f32,
    "f64": w.ValType.f64,
}


class FiberSession:
    """Implements `interface.Session`."""

    def __init__(self, program: FiberProgram, guest: Guest) -> None:
        self._program = program
        self._guest: Guest | None = guest
        self._closed = False
        self._ended = ""

    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        """As `interface.Session.call`."""
        guest, self._guest = self._guest, None
        if guest is None:
            raise GuestError(f"the guest has ended: {self._ended}", plugin=options.plugin, function=function)
        self._ended = "a call is under way, and a guest does one at a time"
        try:
            result = await self._program.call_in(guest, function, data, options)
        except UsageError:
            self._keep(guest)
            raise
        except BaseException as error:
            self._ended = f"{type(error).__name__}: {error}"
            raise
        if guest.call.failure is None:
            self._keep(guest)
        else:
            self._ended = "it exited"
        return result

    async def aclose(self) -> None:
        """As `interface.Session.aclose`. A call that is under way finishes first."""
        self._closed = True
        guest, self._guest = self._guest, None
        if guest is not None:
            self._keep(guest)
        await trio.lowlevel.checkpoint()

    def _keep(self, guest: Guest) -> None:
        if self._closed:
            self._ended = "it was closed"
            guest.close()
        else:
            self._guest = guest


def _result(call: Call, output: bytes) -> Result:
    call.usage.bytes_out = len(output)
    call.usage.wall = call.clock.elapsed
    return Result(output, call.usage)
