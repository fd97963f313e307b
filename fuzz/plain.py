"""The engine that others are compared with: wasmtime's own Python API, with no rewriting, and the Extism ABI in a few
lines of Python. It is slow and obvious: what the host's engine makes of a module must be the same.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import wasmtime
from fuzz.engines import LIMITS, Ending, logged
from fuzz.generator import LOGS, SUPPORT
from fuzz.modules import LINKED

from innkeeper.sandbox import capi, proposals
from innkeeper.sandbox.compilation.settings import STACK
from innkeeper.sandbox.kernel import ENV

_FUEL = 3_000_000


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
            if wanted.module == ENV and isinstance(wanted.type, wasmtime.FuncType):
                name = str(wanted.name)
                with suppress(KeyError, wasmtime.WasmtimeError):
                    linker.define(store, ENV, name, wasmtime.Func(store, wanted.type, env.function(name)))
        started = False
        try:
            run = linker.instantiate(store, module).exports(store)[function]
            assert isinstance(run, wasmtime.Func)
            started = True
            env.begin(data)
            code = run(store)
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
