"""Rows: a guest calls the host with 64 bytes each way, in one guest that stays."""

from __future__ import annotations

import trio

import innkeeper
from innkeeper.bench import peer_extism, peer_innkeeper, samples
from innkeeper.bench.measured import EXTISM, INNKEEPER, WASMTIME, Measured
from innkeeper.bench.peer_wasmtime import Wasmtime
from innkeeper.bench.timing import Batch, in_turns
from innkeeper.bench.workspace import Workspace


def measure(name: str, workspace: Workspace) -> Measured:
    """Microseconds for one host call."""
    return trio.run(_measure, name == "host-await", workspace)


async def _measure(awaits: bool, workspace: Workspace) -> Measured:
    wasm, times = samples.bytes_of(samples.SMALL), samples.number(samples.HOST_CALLS)
    async with innkeeper.open_host(workspace.home, catalogue=False) as host:
        plugin = await host.load(
            samples.path_of(samples.SMALL), functions=peer_innkeeper.functions(awaits=awaits), instance="shared"
        )
        batches: dict[str, Batch] = {INNKEEPER: peer_innkeeper.calls(plugin, "hosts", times)}
        if peer_extism.installed():
            batches[EXTISM] = peer_extism.Extism(wasm).warm("hosts", times)
        batches[WASMTIME] = Wasmtime(wasm).number("plain_hosts", samples.HOST_CALLS)
        return Measured(
            await in_turns(batches, rounds=60, seconds=4.0 * workspace.patience, scale=1e6 / samples.HOST_CALLS)
        )
