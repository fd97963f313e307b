"""wasmtime-py's plain API. It has no guest ABI: the host writes into the guest's memory and reads from it."""

from __future__ import annotations

import time
from typing import Any

import wasmtime as w

from innkeeper.bench.samples import PAUSE
from innkeeper.bench.timing import Batch, looped


def _exchange(caller: Any, at: int) -> int:
    memory = caller["memory"]
    memory.write(caller, bytes(memory.read(caller, at, at + 64)), at + 64)
    return at + 64


def _pause() -> None:
    time.sleep(PAUSE)


class Wasmtime:
    """A module compiled by wasmtime-py, without interruption and without limits."""

    def __init__(self, wasm: bytes) -> None:
        self.engine = w.Engine()
        self.module = w.Module(self.engine, wasm)
        self._linker = w.Linker(self.engine)
        i64 = w.ValType.i64()
        space = "extism:host/user"
        self._linker.define_func(space, "exchange", w.FuncType([i64], [i64]), _exchange, access_caller=True)
        self._linker.define_func(space, "pause", w.FuncType([], []), _pause)
        # The ABI's own functions are linked, and not called by what is measured here.
        self._linker.define_unknown_imports_as_traps(self.module)

    def start(self) -> tuple[w.Store, Any]:
        """A guest: its store and its exports."""
        store = w.Store(self.engine)
        return store, self._linker.instantiate(store, self.module).exports(store)

    def fresh(self, data: bytes) -> Batch:
        """A batch of echoes, each of a guest of its own."""
        begin, pages = self._room(2 * len(data))

        def call() -> bytes:
            store, exports = self.start()
            if pages:
                exports["memory"].grow(store, pages)
            return _echo(store, exports["memory"], exports["plain_echo"], begin, data)

        return looped(call)

    def warm(self, data: bytes) -> Batch:
        """A batch of echoes of one guest."""
        begin, pages = self._room(2 * len(data))
        store, exports = self.start()
        memory, echo = exports["memory"], exports["plain_echo"]
        memory.grow(store, pages)
        return looped(lambda: _echo(store, memory, echo, begin, data))

    def _room(self, length: int) -> tuple[int, int]:
        """Where a guest of this module has room for so many bytes, and by how many pages its memory must grow."""
        store, exports = self.start()
        before = exports["memory"].size(store)
        begin = exports["plain_room"](store, length)
        return begin, exports["memory"].size(store) - before

    def number(self, function: str, value: int) -> Batch:
        """A batch of calls of one guest, of a function that takes a number and gives one, 8 bytes as the ABI has it."""
        store, exports = self.start()
        run = exports[function]
        return looped(lambda: (run(store, value) & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little"))


def _echo(store: w.Store, memory: Any, echo: Any, begin: int, data: bytes) -> bytes:
    length = len(data)
    memory.write(store, data, begin)
    echo(store, begin, begin + length, length)
    return bytes(memory.read(store, begin + length, begin + 2 * length))
