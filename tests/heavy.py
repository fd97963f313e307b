"""What tests of compiling share: tiny modules, small ones that a compiler takes long over, and waiting."""

from __future__ import annotations

import time
from collections.abc import Callable

import wasmtime as w

from innkeeper.sandbox.leb import leb


def numbered(number: int) -> bytes:
    """A module whose "f" gives the number."""
    return bytes(w.wat2wasm(f'(module (func (export "f") (result i32) (i32.const {number})))'))


def value_of(module: w.Module, engine: w.Engine) -> int:
    """What "f" of a module of the engine gives."""
    store = w.Store(engine)
    store.set_epoch_deadline(1 << 40)
    function = w.Instance(store, module, []).exports(store)["f"]
    assert isinstance(function, w.Func)
    return int(function(store))


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it becomes true within 20 s; for what other threads and processes do and tell nobody. Blocks."""
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def heavy_module(values: int = 2000, branches: int = 2000) -> bytes:
    """A module of one function: thousands of values that are all alive in a loop of many branches. With the defaults:
    63 kB, 4 s of processor time, 700 MB of memory.

    Args:
        values: locals that are alive everywhere.
        branches: jumps back to the loop's beginning.
    """
    local = [leb(1 + i) for i in range(values)]
    first = b"".join(b"\x20\x00\x28\x02" + leb(4 * i) + b"\x21" + local[i] for i in range(values))
    changes = b""
    for i in range(branches):
        condition, source, target = (local[i * step % values] for step in (1, 7, 13))
        changes += b"\x20" + condition + b"\x04\x40\x20" + source + b"\x21" + target + b"\x0c\x01\x0b"
    last = b"".join(b"\x20\x00\x20" + local[i] + b"\x36\x02" + leb(4 * i) for i in range(values))
    body = b"\x01" + leb(values) + b"\x7f" + first + b"\x03\x40" + changes + b"\x0b" + last + b"\x0b"
    code = b"\x01" + leb(len(body)) + body
    head = b"\0asm\1\0\0\0\x01\x05\x01\x60\x01\x7f\x00\x03\x02\x01\x00\x05\x03\x01\x00\x01"
    return head + b"\x0a" + leb(len(code)) + code
