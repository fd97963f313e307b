"""The engine on wasmtime's fibers: a guest call is a trio task."""

from __future__ import annotations

import ctypes
import hashlib
import os
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import TypeVar

import trio
import wasmtime as w

from innkeeper.errors import RejectedError, UsageError
from innkeeper.sandbox import admission, callbacks, capi, growth, kernel, proposals, selfcheck
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.box import MAX_MODULES
from innkeeper.sandbox.capacity import Budget
from innkeeper.sandbox.inline import LoopBudget
from innkeeper.sandbox.interface import HostFunction
from innkeeper.sandbox.limits import DEFAULTS, KIB, MIB
from innkeeper.sandbox.linking import CompiledModule
from innkeeper.sandbox.program import FiberProgram
from innkeeper.sandbox.ticker import Ticker, ticker_of
from innkeeper.sandbox.wasi import FUNCTIONS as WASI_FUNCTIONS
from innkeeper.sandbox.wasi import NONE, WASI_MODULE, WasiRights
from innkeeper.sandbox.wasm import MalformedError, ModuleInfo, Signature, UnsupportedError
from innkeeper.sandbox.workers import CLOSED, Workers

T = TypeVar("T")

STACK = 512 * KIB
"""Stack of a guest's own frames; deeper recursion is a limit error."""

_FIBER = 2 * MIB
"""Stack of a guest's fiber. What is above STACK is for host functions: Python code runs there in callbacks."""

_RESERVATION = 64 * MIB
"""Address space reserved for each memory. Growing beyond it moves the memory, which costs a copy; reserving 4 GiB
instead costs each guest page tables of its own."""


@cache
def _wasmtime() -> w.Engine:
    # One for the process and never freed: the ticker's timer holds its address.
    config = w.Config()
    proposals.apply(config)
    config.epoch_interruption = True
    config.cranelift_nan_canonicalization = True
    config.max_wasm_stack = STACK
    capi.async_stack_size_set(capi.address(config), _FIBER)
    # Explicit bounds checks instead of signals: a faulthandler that is enabled after us would take SIGSEGV away, and
    # a guest's first access out of bounds would end the process. It also keeps Spectre's gadget away. Costs about 10%.
    config.signals_based_traps = False
    config.parallel_compilation = not _forked
    config.memory_reservation = _RESERVATION
    config.memory_guard_size = 0
    config.memory_reservation_for_growth = _RESERVATION
    engine = w.Engine(config)
    selfcheck.require(engine)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))
    return engine


class FiberEngine:
    """Implements `interface.Engine`. `open_engine` makes one.

    Attributes:
        bounds: the host-wide bounds.
        live: places for live guests.
        memory: bytes of guest memory.
        in_flight: bytes of input and output.
        closed: whether its block has ended.
    """

    stack = STACK

    def __init__(self, bounds: Bounds) -> None:
        self._engine = _wasmtime()
        self.address = capi.address(self._engine)
        self.ticker: Ticker = ticker_of(self.address)
        self.bounds = bounds
        self.live = Budget("live guests", bounds.live_guests)
        self.memory = Budget("guest memory", bounds.guest_memory)
        self.in_flight = Budget("bytes in flight", bounds.bytes_in_flight)
        self.workers = Workers(bounds.workers)
        self.loop_budget = LoopBudget()
        self.poll = capi.future_poll_held if self.ticker.holds_gil else capi.future_poll_free
        self._compiling = trio.CapacityLimiter(bounds.compile_jobs)
        self._kernels: dict[str, w.Module] = {}
        self._open = trio.CancelScope()
        self.closed = False
        _engines.add(self)

    async def load(
        self,
        wasm: bytes,
        *,
        functions: Sequence[HostFunction] = (),
        modules: Mapping[str, bytes] | None = None,
        plugin: str | None = None,
        rights: WasiRights = NONE,
    ) -> FiberProgram:
        """As `interface.Engine.load`.

        Args:
            rights: what the guest's WASI may do beyond computing.
        """
        if self.closed:
            raise UsageError(CLOSED)
        if len(modules or {}) >= MAX_MODULES:
            raise RejectedError(
                f"{len(modules or {}) + 1} modules are linked together; at most {MAX_MODULES} can be", plugin=plugin
            )
        reserved = {kernel.ENV, kernel.INNER, WASI_MODULE}.intersection(modules or {})
        if reserved:
            raise RejectedError(f"a module may not be named {min(reserved)!r}: that is the host's", plugin=plugin)
        parts: list[tuple[str | None, bytes]] = [*(modules or {}).items(), (None, wasm)]
        available = {(kernel.ENV, name): kind for name, kind in kernel.SIGNATURES.items()}
        available |= {(WASI_MODULE, name): _wasi_signature(name) for name in WASI_FUNCTIONS}
        for function in functions:
            if function.namespace in (kernel.ENV, kernel.INNER, WASI_MODULE):
                raise RejectedError(
                    f"a host function may not be in the namespace {function.namespace!r}", plugin=plugin
                )
            available[function.namespace, function.name] = kernel.guest_signature(function)
        compiled: list[CompiledModule] = []
        for name, part in parts:
            known = [m.name for m in compiled if m.name is not None]
            try:
                module, info, digest = await self._compile(part, available, known, plugin)
            except RejectedError as error:
                error.plugin = error.plugin or plugin
                raise
            compiled.append(CompiledModule(name, info, module))
            if name is not None:
                available |= admission.functions_of(name, info)
        # The last one is the plugin's own, and so is the digest.
        program = FiberProgram(self, digest, compiled, functions, rights)
        if program.links.uses_kernel:
            try:
                await program.kernel(_DEFAULT_KERNEL)
            except BaseException:
                program.close()
                raise
        return program

    async def compile_kernel(self, text: str) -> w.Module:
        """The kernel's compiled module; one for each text."""
        module = self._kernels.get(text)
        if module is None:
            module = await self._in_thread(lambda: w.Module(self._engine, text))
            self._kernels[text] = module
        return module

    async def _compile(
        self, wasm: bytes, available: Mapping[tuple[str, str], Signature], modules: Sequence[str], plugin: str | None
    ) -> tuple[w.Module, ModuleInfo, str]:
        def work() -> tuple[w.Module, ModuleInfo, str]:
            # Reading a hostile file's sections may take half a second, so it is done here, too.
            info = admission.admit(wasm, plugin=plugin, size_limit=self.bounds.module_size)
            admission.resolve(info, available, modules, plugin)
            # The rewriting relies on a valid module; what it makes is validated once more as it is compiled.
            w.Module.validate(self._engine, wasm)
            return w.Module(self._engine, growth.instrument(wasm, info)), info, hashlib.sha256(wasm).hexdigest()

        try:
            return await self._in_thread(work)
        except w.WasmtimeError as error:
            raise RejectedError(admission.explain_compile_error(str(error))) from None
        except UnsupportedError as error:
            raise RejectedError(admission.explain_unsupported(error)) from None
        except MalformedError as error:
            raise RejectedError(f"the module cannot be used: {error}") from None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._compiling)

    async def rest(self) -> None:
        """Stops the ticker when nothing runs; runs for as long as the engine is open."""
        with self._open:
            while True:
                await trio.sleep(_REST)
                self.ticker.rest(running=bool(callbacks.running))

    async def aclose(self) -> None:
        """Stops the workers; what still runs there is freed."""
        self.closed = True
        self._open.cancel()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self.workers.close)
        self.ticker.rest(running=bool(callbacks.running))


_forked = False
_engines: weakref.WeakSet[FiberEngine] = weakref.WeakSet()


def _after_fork() -> None:
    # The parent's workers and its ticker are not here: what it opened is closed for its child.  The child gets an
    # engine of its own, which compiles on one thread: the compiler's pool of threads is not here either.
    global _forked
    _forked = True
    _wasmtime.cache_clear()
    for engine in list(_engines):
        engine.closed = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

_DEFAULT_KERNEL = DEFAULTS.kernel_memory
_REST = 0.1


def _wasi_signature(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    function = WASI_FUNCTIONS[name]
    return tuple(v.value for v in function.parameters), ((function.result.value,) if function.result else ())


@asynccontextmanager
async def open_engine(bounds: Bounds | None = None) -> AsyncIterator[FiberEngine]:
    """An engine for as long as the block runs, on the trio run of its caller.

    Args:
        bounds: host-wide bounds; the defaults where None.

    Example:
        async with open_engine() as engine:
            program = await engine.load(wasm)
            result = await program.call("count_vowels", b"hello", CallOptions())
    """
    engine = FiberEngine(bounds or Bounds())
    trio.lowlevel.add_instrument(engine.loop_budget)
    # Not a nursery of ours: it would wrap what the block raises in a group.
    trio.lowlevel.spawn_system_task(engine.rest)
    try:
        yield engine
    finally:
        trio.lowlevel.remove_instrument(engine.loop_budget)
        await engine.aclose()
