"""The engine on wasmtime's fibers: a guest call is a trio task."""

from __future__ import annotations

import ctypes
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path

import trio
import wasmtime as w

from innkeeper.errors import UsageError
from innkeeper.sandbox import admission, callbacks, capi, kernel, selfcheck
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.capacity import Budget
from innkeeper.sandbox.clock import WATCH, Watch
from innkeeper.sandbox.compilation.kinds import KERNEL, PLAIN, joined_plan
from innkeeper.sandbox.compilation.plan import Plan
from innkeeper.sandbox.compilation.service import open_compilation
from innkeeper.sandbox.compilation.settings import STACK, apply_settings
from innkeeper.sandbox.imports import available_imports
from innkeeper.sandbox.inline import LoopBudget
from innkeeper.sandbox.interface import HostFunction
from innkeeper.sandbox.joined import Joined
from innkeeper.sandbox.known import Known, look, remembered
from innkeeper.sandbox.layout import Layout, imports_of
from innkeeper.sandbox.limits import MIB, Limits
from innkeeper.sandbox.linking import CompiledModule, Linked
from innkeeper.sandbox.module_info import Signature
from innkeeper.sandbox.pool import PLACES, SLOT, TABLE_ELEMENTS, pooled
from innkeeper.sandbox.program import FiberProgram
from innkeeper.sandbox.spares import AGE, Spares
from innkeeper.sandbox.spots import Spot
from innkeeper.sandbox.ticker import ticker_of
from innkeeper.sandbox.workers import CLOSED, Workers


@cache
def _wasmtime() -> w.Engine:
    # One for the process and never freed: the ticker's timer holds its address.
    engine = w.Engine(_configured())
    selfcheck.require(engine)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))
    return engine


@cache
def _pool() -> tuple[w.Engine, Spot] | None:
    # As above; None where the system does not give the address space.  Its places are the process's, so they are
    # counted for all `FiberEngine`s together.
    try:
        engine = w.Engine(pooled(_configured()))
    except w.WasmtimeError:
        return None
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))
    address = capi.address(engine)
    return engine, Spot(address, ticker_of(address), PLACES, SLOT, TABLE_ELEMENTS)


@cache
def _lock() -> threading.RLock:
    # One for all engines of the process, since the pool's places are counted under it.
    return threading.RLock()


def _configured() -> w.Config:
    config = w.Config()
    apply_settings(config)
    config.parallel_compilation = not _forked
    return config


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

    def __init__(self, bounds: Bounds, cache: Path | None = None) -> None:
        self._engine, pool = _wasmtime(), _pool()
        self._engines = [self._engine]
        on_demand = capi.address(self._engine)
        self._on_demand = Spot(on_demand, ticker_of(on_demand))
        self._pooled = self._on_demand
        if pool is not None:
            engine, self._pooled = pool
            self._engines.append(engine)
        self.bounds = bounds
        self.lock = _lock()
        self.live = Budget("live guests", bounds.live_guests, self.lock)
        self.memory = Budget("guest memory", bounds.guest_memory, self.lock)
        self.in_flight = Budget("bytes in flight", bounds.bytes_in_flight, self.lock)
        self.workers = Workers(bounds.workers)
        self.loop_budget = LoopBudget()
        self.poll = capi.future_poll_held if self._on_demand.ticker.holds_gil else capi.future_poll_free
        self.spares = Spares(bounds.spare_guests)
        # Host calls that last, to be ended in time.
        self.steps: Watch = {}
        # The modules that were loaded last, in each of wasmtime's engines.
        self._compiled: OrderedDict[tuple[str, bytes], list[w.Module | None]] = OrderedDict()
        self.compilation = open_compilation(self._engine, bounds, cache)
        self._open = trio.CancelScope()
        self._stocking = trio.CancelScope()
        self._stocked = trio.Event()
        self.closed = False
        _engines.add(self)

    @property
    def fingerprint(self) -> str:
        """As `interface.Deterministic`."""
        return self.compilation.fingerprint

    def spot(self, layout: Layout, limits: Limits) -> Spot:
        """Where a new guest lives. The caller holds `lock`, and counts it there."""
        pooled = self._pooled
        if pooled.engine in layout.engines and pooled.fits(limits):
            return pooled
        return self._on_demand

    @trio.lowlevel.enable_ki_protection
    async def load(
        self,
        wasm: bytes,
        *,
        functions: Sequence[HostFunction] = (),
        modules: Mapping[str, bytes] | None = None,
        plugin: str | None = None,
    ) -> FiberProgram:
        """As `interface.Engine.load`."""
        # Ctrl-C waits for the next checkpoint: a job of the compiler that is entered and not begun, say, is waited for
        # for ever. Where all is remembered there is none but this.
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.closed:
            raise UsageError(CLOSED)
        available = available_imports(functions, modules or {}, plugin)
        parts: list[tuple[str | None, bytes]] = [*(modules or {}).items(), (None, wasm)]
        looked: list[Known] = []
        for name, part in parts:
            known = [other for other, _ in parts[: len(looked)] if other is not None]
            looked.append(await self._look(part, available, known, plugin))
            if name is not None:
                available |= admission.functions_of(name, looked[-1].info)
        # The plugin's own is the last one.
        own = looked[-1]
        if len(parts) == 1:
            layout: Layout = await self._joined(wasm, own, functions, plugin)
        else:
            layout = await self._linked(parts, looked, functions, plugin)
        return FiberProgram(self, own.digest, own.info, layout)

    async def _joined(self, wasm: bytes, own: Known, functions: Sequence[HostFunction], plugin: str | None) -> Joined:
        info, digest = own.info, own.digest
        plan = joined_plan(kernel.wrapped(functions, imports_of((info,))))
        key = (digest, plan.to_bytes())
        modules = self._compiled.get(key)
        if modules is None:
            modules = await self.compilation.load(wasm, plan, self._engines, digest=digest, plugin=plugin)
        self._compiled[key] = modules
        self._compiled.move_to_end(key)
        if len(self._compiled) > _COMPILED:
            self._compiled.popitem(last=False)
        addresses = map(capi.address, self._engines)
        return Joined(info, functions, [(at, module) for at, module in zip(addresses, modules, strict=True) if module])

    async def _linked(
        self,
        parts: Sequence[tuple[str | None, bytes]],
        looked: Sequence[Known],
        functions: Sequence[HostFunction],
        plugin: str | None,
    ) -> Linked:
        compiled: list[CompiledModule] = []
        for (name, part), known in zip(parts, looked, strict=True):
            compiled.append(CompiledModule(name, known.info, await self._plain(part, PLAIN, known.digest, plugin)))
        imported = imports_of(known.info for known in looked)
        wrapped = kernel.wrapped(functions, imported)
        module: w.Module | None = None
        if wrapped or any(namespace == kernel.ENV for namespace, _ in imported):
            text = kernel.source([(function.parameters, function.result) for function in wrapped], merged=False)
            module = await self._plain(bytes(w.wat2wasm(text)), KERNEL, None, plugin)
        return Linked(self._on_demand.engine, compiled, module, functions)

    async def _plain(self, wasm: bytes, plan: Plan, digest: str | None, plugin: str | None) -> w.Module:
        module = (await self.compilation.load(wasm, plan, self._engines[:1], digest=digest, plugin=plugin))[0]
        assert module is not None
        return module

    async def _look(
        self, wasm: bytes, available: Mapping[tuple[str, str], Signature], modules: Sequence[str], plugin: str | None
    ) -> Known:
        def work() -> Known:
            found = look(wasm, plugin=plugin, size_limit=self.bounds.module_size)
            admission.resolve(found.info, available, modules, plugin)
            return found

        found = remembered(wasm) if len(wasm) <= min(_SMALL, self.bounds.module_size) else None
        if found is not None and len(found.info.imports) <= _FEW:
            admission.resolve(found.info, available, modules, plugin)
        else:
            # Reading a hostile file's sections may take half a second.
            found = await trio.to_thread.run_sync(work)
        return found

    async def rest(self) -> None:
        """Stops the ticker when nothing runs; runs for as long as the engine is open."""
        self.loop_budget.mark()
        with self._open:
            while True:
                await trio.sleep(WATCH)
                self._rest()
                self.loop_budget.mark()
                now = time.perf_counter()
                for known in list(self.steps.values()):
                    clock = known()
                    if clock is not None:
                        clock.look(now)
                self.spares.drop(older_than=time.monotonic() - AGE)

    async def stock(self) -> None:
        """Starts spare guests, for as long as the engine is open."""
        try:
            with self._stocking:
                await self.spares.run()
        finally:
            self._stocked.set()

    async def aclose(self) -> None:
        """Stops the workers; what still runs there is freed."""
        self.closed = True
        self._open.cancel()
        self._stocking.cancel()
        # Each of them happens, though Ctrl-C arrives in one before it.
        with trio.CancelScope(shield=True):
            async with AsyncExitStack() as closing:
                closing.callback(self._rest)
                closing.push_async_callback(self.compilation.aclose)
                closing.push_async_callback(trio.to_thread.run_sync, self.workers.close)
                await self._stocked.wait()

    def _rest(self) -> None:
        for spot in {self._on_demand.engine: self._on_demand, self._pooled.engine: self._pooled}.values():
            spot.ticker.rest(running=bool(callbacks.running))


_forked = False
_engines: weakref.WeakSet[FiberEngine] = weakref.WeakSet()


def _after_fork() -> None:
    # The parent's workers and its ticker are not here: what it opened is closed for its child.  The child gets an
    # engine of its own, which compiles on one thread: the compiler's pool of threads is not here either.
    global _forked
    _forked = True
    _wasmtime.cache_clear()
    _pool.cache_clear()
    # Another thread of the parent's may have held it.
    _lock.cache_clear()
    for engine in list(_engines):
        engine.closed = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

_COMPILED = 32
"""Compiled modules that are kept for whoever loads the same bytes again."""

_SMALL, _FEW = 4 * MIB, 1000
"""Bytes that may be compared and imports that may be looked up on trio's thread."""


@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def open_engine(bounds: Bounds | None = None, *, cache: Path | None = None) -> AsyncIterator[FiberEngine]:
    """An engine for as long as the block runs, on the trio run of its caller.

    Args:
        bounds: host-wide bounds; the defaults where None.
        cache: folder of compiled modules (`compilation.place.cache_folder`); None for none.

    Example:
        async with open_engine() as engine:
            program = await engine.load(wasm)
            result = await program.call("count_vowels", b"hello", CallOptions())
    """
    engine = FiberEngine(bounds or Bounds(), cache)
    trio.lowlevel.add_instrument(engine.loop_budget)
    # Not a nursery of ours: it would wrap what the block raises in a group.
    trio.lowlevel.spawn_system_task(engine.rest)
    trio.lowlevel.spawn_system_task(engine.stock)
    try:
        yield engine
    finally:
        trio.lowlevel.remove_instrument(engine.loop_budget)
        await engine.aclose()
