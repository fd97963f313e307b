"""The same calls through the extism SDK and through wasmtime-py's own API."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import wasmtime as w

from . import guests

Benches = dict[str, tuple[Callable[[], None], int]]
"""By "fresh", "warm" and "host": what to time, and how many operations one call of it is."""


def have_extism() -> bool:
    """Whether the extism SDK is installed."""
    return importlib.util.find_spec("extism") is not None


def available(data: bytes, host_calls: int) -> dict[str, Benches]:
    """The peers that are installed."""
    peers = {"wasmtime-py": _wasmtime(data, host_calls)}
    if have_extism():
        peers = {"extism SDK": _extism(data, host_calls), **peers}
    return peers


def _extism(data: bytes, host_calls: int) -> Benches:
    import extism
    from extism.extism import CompiledPlugin

    i64 = [extism.ValType.I64]

    def answer(_plugin: object, inputs: Any, outputs: Any, *_: object) -> None:
        outputs[0].value = inputs[0].value

    function = extism.host_fn(name="host", namespace="extism:host/user", signature=(i64, i64))(answer)

    compiled = CompiledPlugin(guests.echo(), functions=[])
    plugin = extism.Plugin(compiled)
    caller = extism.Plugin(guests.host_caller(host_calls), functions=[function])

    def fresh() -> None:
        assert bytes(extism.Plugin(compiled).call("echo", data)) == data

    def warm() -> None:
        assert bytes(plugin.call("echo", data)) == data

    def host() -> None:
        caller.call("run", b"")

    return {"fresh": (fresh, 1), "warm": (warm, 1), "host": (host, host_calls)}


_PLAIN_ECHO = """(module (memory (export "memory") 1)
  (func (export "echo") (param $length i32) (result i32)
    (memory.copy (i32.const 1024) (i32.const 0) (local.get $length)) (i32.const 1024)))"""


def _wasmtime(data: bytes, host_calls: int) -> Benches:
    # No Extism ABI there: the host writes into the guest's memory and reads from it.
    engine = w.Engine()
    linker = w.Linker(engine)
    linker.define_func("extism:host/user", "host", w.FuncType([w.ValType.i64()], [w.ValType.i64()]), lambda x: x)
    module = w.Module(engine, guests.assemble(_PLAIN_ECHO))
    caller_store = w.Store(engine)
    caller = linker.instantiate(caller_store, w.Module(engine, guests.host_caller(host_calls)))
    run = caller.exports(caller_store)["run"]
    assert isinstance(run, w.Func)

    def start() -> tuple[w.Store, w.Memory, w.Func]:
        store = w.Store(engine)
        exports = linker.instantiate(store, module).exports(store)
        memory, echo = exports["memory"], exports["echo"]
        assert isinstance(memory, w.Memory)
        assert isinstance(echo, w.Func)
        return store, memory, echo

    def call(store: w.Store, memory: w.Memory, echo: w.Func) -> None:
        memory.write(store, data, 0)
        at = echo(store, len(data))
        assert bytes(memory.read(store, at, at + len(data))) == data

    kept = start()

    def fresh() -> None:
        call(*start())

    def warm() -> None:
        call(*kept)

    def host() -> None:
        run(caller_store)

    return {"fresh": (fresh, 1), "warm": (warm, 1), "host": (host, host_calls)}
