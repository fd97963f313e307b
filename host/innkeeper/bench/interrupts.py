"""Row: how soon a run ends that somebody cancels, whatever its guests do."""

from __future__ import annotations

from typing import Any

import trio
import wasmtime as w

from innkeeper.bench import queued, stream_guests
from innkeeper.bench.measured import INNKEEPER, Figure, Measured
from innkeeper.bench.stream_guests import SLOT
from innkeeper.bench.timing import rounds_within
from innkeeper.bench.workspace import Workspace

_GOING = 0.2
"""Seconds after which all guests are at what they do."""

_GUEST = """(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "loop") (result i32) (loop (br 0)) (unreachable))
  (func (export "sleep") (result i32)
    (i64.store (i32.const 24) (i64.const 3600000000000))
    (loop (drop (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 96))) (br 0))
    (unreachable)))"""

_MANIFEST = f"""id = "idle"
version = "1.0.0"
codec = "msgpack"
[[nodes]]
type = "Loop"
function = "loop"
displayName = "Loop"
category = "bench"
outputs.{SLOT} = {{dataFlowType = "WILDCARD", isStream = true}}
[[nodes]]
type = "Sleep"
function = "sleep"
displayName = "Sleep"
category = "bench"
"""

_ENDLESS = 1 << 30


def measure(name: str, workspace: Workspace) -> Measured:
    """Milliseconds from the wish to end a run until its end is in the database, all of its guests gone. They compute,
    sleep, write a stream, read one, and wait in the bridge for what never comes."""
    plugins = workspace.home / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    (plugins / "idle.wasm").write_bytes(bytes(w.wat2wasm(_GUEST)))
    (plugins / "idle.toml").write_text(_MANIFEST, "utf-8")
    stream_guests.install(workspace.home, "floods", stream_guests.writer(["a word"], _ENDLESS), writes=True)
    stream_guests.install(workspace.home, "reads", stream_guests.reader(16), writes=False)
    return trio.run(_measure, workspace)


async def _measure(workspace: Workspace) -> Measured:
    took: list[float] = []
    async with queued.opened(workspace) as queue:
        for _ in rounds_within(20, 10.0 * workspace.patience):
            took.append(await queue.cancelled(_WORKFLOW, _GOING))
    return Measured({INNKEEPER: Figure.of(took, 1e3)}, {"longest_ms": max(took) * 1e3})


def _edge(source: str, target: str) -> dict[str, Any]:
    ends = {"sourceNodeId": source, "sourceHandle": SLOT, "targetNodeId": target, "targetHandle": SLOT}
    return {"id": f"{source} {target}", **ends}


_WORKFLOW = {
    "nodes": [
        {"id": "loop", "fullType": "idle:Loop"},
        {"id": "waits", "fullType": "reads:Reads"},
        {"id": "sleep", "fullType": "idle:Sleep"},
        {"id": "floods", "fullType": "floods:Floods"},
        {"id": "one", "fullType": "reads:Reads"},
        {"id": "two", "fullType": "reads:Reads"},
    ],
    # The loop never writes: who reads that waits in the bridge.
    "edges": [_edge("loop", "waits"), _edge("floods", "one"), _edge("floods", "two")],
}
