"""Row: what the gate of the bridge adds to a host call."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import msgpack
import trio
import wasmtime as w
from pydantic import Field

import innkeeper
from innkeeper.bench import peer_innkeeper
from innkeeper.bench.measured import INNKEEPER, Figure, Measured
from innkeeper.bench.timing import in_turns
from innkeeper.bench.workspace import Workspace
from innkeeper.bridge.caller import Caller
from innkeeper.bridge.gate import Gate
from innkeeper.bridge.operation import operation, operations_of
from innkeeper.bridge.quota import Rate
from innkeeper.plugins.capabilities import parse_capability
from innkeeper.plugins.rights import Rights
from innkeeper.sandbox.interface import HostFunction, Value

_CALLS = 500
_GUEST = f"""(module
  (import "extism:host/env" "input_offset" (func $input_offset (result i64)))
  (import "extism:host/user" "exchange" (func $exchange (param i64) (result i64)))
  (func (export "ask") (local $left i32)
    (local.set $left (i32.const {_CALLS}))
    (loop
      (drop (call $exchange (call $input_offset)))
      (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"""
_DATA: bytes = msgpack.packb({"key": "a key of some length", "space": "default"})
_ANSWER: bytes = msgpack.packb({"ok": None})


_Name = Annotated[str, Field(max_length=64)]


class _Nothing:
    """A service that does nothing."""

    @operation("kv", use="space")
    async def get(self, caller: Caller, *, key: _Name, space: _Name = "default") -> None:
        """Does nothing.

        Args:
            key: not looked at.
            space: what the scope is about.
        """


async def _bare(data: bytes) -> bytes:
    return _ANSWER


def measure(name: str, workspace: Workspace) -> Measured:
    """Microseconds that one granted call costs beyond a host function that answers at once."""
    return trio.run(_measure, workspace)


async def _measure(workspace: Workspace) -> Measured:
    rights = Rights((parse_capability("kv:default"),))
    gate = Gate(lambda: Caller("bench", "local", rights))
    gated = gate.function(_Nothing(), operations_of(_Nothing, "kv")[0], Rate(1e9, 1 << 40))
    bare = HostFunction("exchange", _bare, (Value.BYTES,), Value.BYTES)
    wasm = bytes(w.wat2wasm(_GUEST))
    async with innkeeper.open_host(workspace.home, catalogue=False) as host:
        plugins = {
            "bare": await host.load(wasm, functions=[bare], instance="shared"),
            "gated": await host.load(wasm, functions=[replace(gated, name="exchange")], instance="shared"),
        }
        batches = {kind: peer_innkeeper.calls(plugin, "ask", _DATA) for kind, plugin in plugins.items()}
        figures = await in_turns(batches, rounds=60, seconds=2.0 * workspace.patience, scale=1e6 / _CALLS)
    one, other = figures["bare"], figures["gated"]
    added = Figure(other.median - one.median, other.low - one.low, other.high - one.high, other.rounds)
    return Measured({INNKEEPER: added}, {"bare": one.median, "gated": other.median})
