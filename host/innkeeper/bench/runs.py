"""Row: how late a timer is while a host executes as many workflows as it may."""

from __future__ import annotations

import time
from typing import Any

import msgpack
import trio
import wasmtime as w

from innkeeper.bench import queued
from innkeeper.bench.machine import CoreWait, cores
from innkeeper.bench.measured import INNKEEPER, Figure, Measured
from innkeeper.bench.stream_guests import wat_text
from innkeeper.bench.workspace import Workspace

PERIOD = 0.005
"""Seconds between two looks at the clock."""

_RUNS = 600
_NODES = 8
_TURNS = 3_000_000
"""Turns of a loop for each node: some milliseconds."""

_ANSWER: bytes = msgpack.packb({"outputs": {"done": True}})
_GUEST = f"""(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "{wat_text(_ANSWER)}")
  (func (export "busy") (result i32) (local $left i32) (local $block i64) (local $x i32)
    (local.set $left (i32.const {_TURNS}))
    (loop
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.store (i32.const 1024) (local.get $x))
    (local.set $block (call $alloc (i64.const {len(_ANSWER)})))
    (loop
      (call $store_u8 (i64.add (local.get $block) (i64.extend_i32_u (local.get $left)))
        (i32.load8_u (local.get $left)))
      (br_if 0 (i32.lt_u (local.tee $left (i32.add (local.get $left) (i32.const 1))) (i32.const {len(_ANSWER)}))))
    (call $output_set (local.get $block) (i64.const {len(_ANSWER)}))
    (i32.const 0)))"""
"""Computes for itself, then answers."""

_MANIFEST = """id = "busy"
version = "1.0.0"
codec = "msgpack"
[[nodes]]
type = "Busy"
function = "busy"
displayName = "Busy"
category = "bench"
inputs.after = {dataFlowType = "BOOLEAN"}
inputs.call = {dataFlowType = "STRING"}
outputs.done = {dataFlowType = "BOOLEAN"}
"""


def measure(name: str, workspace: Workspace) -> Measured:
    """Milliseconds by which a timer was late, 99 of 100 times; and how many cores were busy."""
    plugins = workspace.home / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    (plugins / "busy.wasm").write_bytes(bytes(w.wat2wasm(_GUEST)))
    (plugins / "busy.toml").write_text(_MANIFEST, "utf-8")
    return trio.run(_measure, workspace)


async def _measure(workspace: Workspace) -> Measured:
    count = max(2, int(_RUNS * workspace.patience))
    samples: list[tuple[float, float]] = []
    async with queued.opened(workspace) as queue:
        await queue.run(_workflow("warm up"))
        begun, used = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as timing:
            timing.start_soon(_watch, samples)
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(queue.run, _workflow(f"run {number}"))
            timing.cancel_scope.cancel()
        seconds = time.perf_counter() - begun
        busy = (time.process_time() - used) / seconds
    late = sorted(total for total, _ in samples)
    own = sorted(max(0.0, total - waited) for total, waited in samples)
    figure = Figure(_share(late, 0.99), _share(late, 0.5), _share(late, 1.0), len(late))
    extra = {
        "runs_a_second": count / seconds,
        "cores_busy": busy,
        "cores": float(cores()),
        # Without the time for which other processes had the cores.
        "own_p99_ms": _share(own, 0.99),
    }
    return Measured({INNKEEPER: figure}, extra)


def _share(late: list[float], share: float) -> float:
    """Milliseconds than which this share of sorted samples is not later."""
    return late[min(len(late) - 1, int(len(late) * share))] * 1e3


async def _watch(samples: list[tuple[float, float]]) -> None:
    """Collects by how many seconds a timer is late, and for how many of these the thread waited for a core."""
    core = CoreWait()
    while True:
        due, before = trio.current_time() + PERIOD, core.seconds()
        # At least one sample, however short the rest is.
        with trio.CancelScope(shield=not samples):
            await trio.sleep_until(due)
        samples.append((trio.current_time() - due, core.seconds() - before))


def _workflow(name: str) -> dict[str, Any]:
    """Two branches, each of nodes one behind the other; no two calls of any run are equal."""
    ids = [f"n{number}" for number in range(_NODES)]
    return {
        "nodes": [{"id": id, "fullType": "busy:Busy", "inputs": {"call": f"{name} {id}"}} for id in ids],
        "edges": [
            {
                "id": f"e{number}",
                "sourceNodeId": ids[number],
                "sourceHandle": "done",
                "targetNodeId": ids[number + 2],
                "targetHandle": "after",
            }
            for number in range(_NODES - 2)
        ],
    }
