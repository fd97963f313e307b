"""Engines that targets compare, and what a call is reduced to for that.

The plain engine is wasmtime's own Python API, with no rewriting, and the Extism ABI in a few lines of Python. It is
slow and obvious: what the host's engine makes of a module must be the same.
"""

from __future__ import annotations

import math
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
import wasmtime
from fuzz.generator import LOGS, SUPPORT
from fuzz.modules import LINKED

from innkeeper.errors import GuestError, InnkeeperError, LimitError, RejectedError, UsageError
from innkeeper.sandbox import capi, proposals
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.engine import STACK, FiberEngine, open_engine
from innkeeper.sandbox.interface import CallOptions, HostFunction, Program, Session, Value
from innkeeper.sandbox.limits import KIB, MIB, Limits
from innkeeper.sandbox.wasm import parse

LIMITS = Limits(
    memory=16 * MIB,
    kernel_memory=2 * MIB,
    cpu=0.05,
    wall=5.0,
    host_call=0.5,
    input=MIB,
    output=MIB,
    host_calls=2000,
    system_calls=2000,
    variables=64 * KIB,
)
"""Tight ones, so that an input is over soon."""

_FUEL = 3_000_000
_ENV = "extism:host/env"


@dataclass(slots=True)
class Ending:
    """How a call ended.

    Attributes:
        what: "returned", "trap", "rejected", "limit", "usage" or another kind of error.
        detail: the output, the trap's name, the limit's name.
        logged: numbers that the guest logged, as bytes with their type before.
    """

    what: str
    detail: object = None
    logged: list[bytes] = field(default_factory=list)


def logged(type_: str, value: float) -> bytes:
    """A logged number, so that equal ones are equal bytes: a NaN is one NaN."""
    if type_ in ("f32", "f64"):
        return type_.encode() + (b"nan" if math.isnan(value) else struct.pack("<d", value))
    return type_.encode() + struct.pack("<q", int(value))


def plain_engine(*, fuel: bool = False) -> wasmtime.Engine:
    """An engine by wasmtime's plain API, with the host's own list of proposals.

    Args:
        fuel: whether its guests are counted in instructions, which ends an endless loop.
    """
    config = wasmtime.Config()
    proposals.apply(config)
    config.cranelift_nan_canonicalization = True
    config.consume_fuel = fuel
    config.max_wasm_stack = STACK
    # A signal handler of its own would be in the way of the engine under test.
    config.signals_based_traps = False
    config.memory_guard_size = 0
    config.memory_reservation = 0
    return wasmtime.Engine(config)


class _Kernel:
    """The Extism ABI as its description has it: blocks in a list, everything checked by Python."""

    def __init__(self, data: bytes) -> None:
        self.input = data
        self.memory = bytearray(16)
        self.blocks: dict[int, int] = {}
        self.output: tuple[int, int] = (0, 0)
        self.variables: dict[bytes, bytes] = {}

    def begin(self, data: bytes) -> None:
        """A call begins: what was allocated while the guest started is gone."""
        self.input, self.output = data, (0, 0)
        self.blocks.clear()
        self.memory[:] = bytes(len(self.memory))

    def alloc(self, size: int) -> int:
        if size == 0:
            return 0
        at = len(self.memory)
        self.memory += bytes((size + 31) & ~15)
        self.blocks[at] = size
        return at

    def bytes_of(self, block: int) -> bytes:
        return bytes(self.memory[block : block + self.blocks.get(block, 0)])

    def function(self, name: str) -> Any:
        load, store = struct.unpack_from, struct.pack_into
        u64 = (1 << 64) - 1
        return {
            "alloc": self.alloc,
            "free": lambda block: self.blocks.pop(block, None) and None,
            "length": lambda block: self.blocks.get(block, 0),
            "load_u8": lambda at: self.memory[at],
            "load_u64": lambda at: load("<q", self.memory, at)[0],
            "store_u8": lambda at, value: store("<B", self.memory, at, value & 255),
            "store_u64": lambda at, value: store("<Q", self.memory, at, value & u64),
            "input_length": lambda: len(self.input),
            "input_load_u8": lambda at: self.input[at] if 0 <= at < len(self.input) else 0,
            "input_load_u64": lambda at: load("<q", self.input, at)[0] if 0 <= at <= len(self.input) - 8 else 0,
            "output_set": self._set_output,
            "error_set": lambda block: None,
            "var_get": lambda key: self._give(self.variables.get(self.bytes_of(key))),
            "var_set": lambda key, value: self.variables.__setitem__(self.bytes_of(key), self.bytes_of(value)),
            "log_info": lambda block: None,
        }[name]

    def _set_output(self, at: int, size: int) -> None:
        self.output = (at, size)

    def _give(self, value: bytes | None) -> int:
        if not value:
            return 0
        block = self.alloc(len(value))
        self.memory[block : block + len(value)] = value
        return block

    def result(self) -> bytes:
        at, size = self.output
        return bytes(self.memory[at : at + size])


class Plain:
    """Calls modules through wasmtime's plain API."""

    def __init__(self) -> None:
        self._engine = plain_engine(fuel=True)
        self._linked = wasmtime.Module(self._engine, LINKED)

    def valid(self, wasm: bytes) -> bool:
        """Whether the engine's validator takes the module."""
        try:
            wasmtime.Module.validate(self._engine, wasm)
        except wasmtime.WasmtimeError:
            return False
        return True

    def call(self, wasm: bytes, function: str, data: bytes) -> Ending:
        """Calls a function without parameters in a fresh instance."""
        store = wasmtime.Store(self._engine)
        store.set_fuel(_FUEL)
        store.set_limits(memory_size=LIMITS.memory, table_elements=LIMITS.table_elements)
        linker = wasmtime.Linker(self._engine)
        found: list[bytes] = []
        # A guest that starts sees no input yet: it may have been started ahead.
        env = _Kernel(b"")
        for name, type_ in LOGS.items():
            kind = wasmtime.FuncType([getattr(wasmtime.ValType, type_)()], [])

            def log(value: Any, type_: str = type_) -> None:
                found.append(logged(type_, value))

            linker.define(store, "log", name, wasmtime.Func(store, kind, log))
        linker.define_instance(store, SUPPORT, linker.instantiate(store, self._linked))
        module = wasmtime.Module(self._engine, wasm)
        for wanted in module.imports:
            if wanted.module == _ENV and isinstance(wanted.type, wasmtime.FuncType):
                try:
                    linker.define(
                        store, _ENV, str(wanted.name), wasmtime.Func(store, wanted.type, env.function(str(wanted.name)))
                    )
                except (KeyError, wasmtime.WasmtimeError):
                    continue
        started = False
        try:
            instance = linker.instantiate(store, module)
            started = True
            env.begin(data)
            code = instance.exports(store)[function](store)  # type: ignore[operator]
        except wasmtime.Trap as trap:
            number = trap.trap_code
            if number is not None and number.value == capi.TRAP_STACK_OVERFLOW:
                return Ending("limit", "stack", found)
            if store.get_fuel() == 0:
                return Ending("limit", "cpu", found)
            words = capi.TRAP_NAMES.get(number.value) if number is not None else None
            return Ending("trap" if started else "rejected", words, found)
        except wasmtime.WasmtimeError as error:
            return Ending("rejected" if not started else "error", str(error)[:300], found)
        return Ending("returned", env.result() if not code else code & 0xFFFF_FFFF, found)


class Tested:
    """Calls modules through the host's own engine, which is looked over after each call.

    Attributes:
        engine: the engine.
        log: what guests logged since it was emptied.
    """

    def __init__(self, engine: FiberEngine) -> None:
        self.engine = engine
        self.log: list[bytes] = []
        self._linked = bytes(wasmtime.wat2wasm(LINKED))

    def _functions(self, namespace: str) -> list[HostFunction]:
        def handler(type_: str) -> Any:
            async def log(value: float) -> None:
                self.log.append(logged(type_, value))

            return log

        return [HostFunction(name, handler(t), [Value(t)], None, namespace) for name, t in LOGS.items()]

    async def load(self, wasm: bytes, *, linked: bool) -> Program:
        """Loads a module with the imports for logging.

        Args:
            linked: whether these are a module that is linked with it, and not host functions.
        """
        if linked:
            return await self.engine.load(wasm, functions=self._functions("log"), modules={SUPPORT: self._linked})
        return await self.engine.load(wasm, functions=self._functions(SUPPORT))

    async def call(self, program: Program, function: str, data: bytes) -> Ending:
        """Calls a function; whatever ends it is one of the closed list of errors."""
        self.log = []
        return await ending(program, function, data, self.log)

    async def nothing_is_held(self) -> None:
        """All that calls took was given back. Workers free large guests a little later."""
        budgets = (self.engine.live, self.engine.memory, self.engine.in_flight)
        with trio.move_on_after(5):
            while any(budget.taken for budget in budgets):  # noqa: ASYNC110 (workers tell nobody)
                await trio.sleep(0.001)
        held = {budget.name: (budget.taken, budget.waiting) for budget in budgets}
        assert set(held.values()) == {(0, 0)}, held


async def ending(
    program: Program | Session, function: str, data: bytes, found: list[bytes], limits: Limits = LIMITS
) -> Ending:
    """Calls a function and says how that ended, for any engine."""
    try:
        result = await program.call(function, data, CallOptions(limits=limits, plugin="fuzz"))
    except LimitError as error:
        return Ending("limit", error.limit, found)
    except GuestError as error:
        if error.code is not None:
            return Ending("returned", error.code & 0xFFFF_FFFF, found)
        return Ending("trap", error.message.removeprefix("the guest trapped: "), found)
    except RejectedError as error:
        return Ending("rejected", error.message, found)
    except UsageError as error:
        return Ending("usage", error.message, found)
    except InnkeeperError as error:
        return Ending(error.kind.value, error.message, found)
    return Ending("returned", result.output, found)


@asynccontextmanager
async def tested(bounds: Bounds | None = None) -> AsyncIterator[Tested]:
    """The host's engine, for the length of a block."""
    async with open_engine(bounds or Bounds(workers=2, live_guests=64)) as engine:
        yield Tested(engine)


def callable_functions(wasm: bytes) -> list[str]:
    """Names of the exported functions that can be called: without parameters, with an i32 or nothing as result."""
    return [name for name, export in parse(wasm).exports.items() if export.signature in (((), ()), ((), ("i32",)))]
