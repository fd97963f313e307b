"""Row: what it costs that a guest which computes can be interrupted at any point."""

from __future__ import annotations

import trio

import innkeeper
from innkeeper.bench import peer_extism, peer_innkeeper, samples
from innkeeper.bench.measured import EXTISM, INNKEEPER, WASMTIME, Measured
from innkeeper.bench.peer_wasmtime import Wasmtime
from innkeeper.bench.timing import Batch, in_turns
from innkeeper.bench.workspace import Workspace

_TIMES = 1000
"""Rounds of the guest's loops over 16 KiB: some tens of milliseconds."""


def measure(name: str, workspace: Workspace) -> Measured:
    """Milliseconds for one call."""
    return trio.run(_measure, workspace)


async def _measure(workspace: Workspace) -> Measured:
    wasm, times = samples.bytes_of(samples.SMALL), samples.number(_TIMES)
    async with innkeeper.open_host(workspace.home, catalogue=False) as host:
        plugin = await host.load(wasm, functions=peer_innkeeper.functions(), instance="shared")
        batches: dict[str, Batch] = {INNKEEPER: peer_innkeeper.calls(plugin, "work", times)}
        if peer_extism.installed():
            batches[EXTISM] = peer_extism.Extism(wasm).warm("work", times)
        batches[WASMTIME] = Wasmtime(wasm).number("plain_work", _TIMES)
        figures = await in_turns(batches, rounds=25, seconds=5.0 * workspace.patience, scale=1e3)
    return Measured(figures, {"ratio_to_wasmtime_py": figures[INNKEEPER].median / figures[WASMTIME].median})
