"""Rows: a fresh guest and one call, and a call of a guest that stays."""

from __future__ import annotations

from dataclasses import dataclass

import trio

import innkeeper
from innkeeper.bench import peer_extism, peer_innkeeper, samples
from innkeeper.bench.measured import EXTISM, INNKEEPER, WASMTIME, Measured
from innkeeper.bench.peer_wasmtime import Wasmtime
from innkeeper.bench.timing import Batch, in_turns
from innkeeper.bench.workspace import Workspace
from innkeeper.sandbox.limits import KIB, MIB


@dataclass(frozen=True, slots=True)
class _Case:
    guest: str
    length: int
    shared: bool = False


_CASES = {
    "fresh-small": _Case(samples.SMALL, 64),
    "fresh-large": _Case(samples.LARGE, 64),
    "warm": _Case(samples.SMALL, 64, shared=True),
    "fresh-64k": _Case(samples.SMALL, 64 * KIB),
    "warm-1m": _Case(samples.SMALL, MIB, shared=True),
}


def measure(name: str, workspace: Workspace) -> Measured:
    """Microseconds for one call."""
    return trio.run(_measure, _CASES[name], workspace)


async def _measure(case: _Case, workspace: Workspace) -> Measured:
    wasm, data = samples.bytes_of(case.guest), samples.data(case.length)
    async with innkeeper.open_host(workspace.home, catalogue=False) as host:
        plugin = await host.load(
            samples.path_of(case.guest),
            functions=peer_innkeeper.functions(),
            instance="shared" if case.shared else "fresh",
        )
        batches: dict[str, Batch] = {INNKEEPER: peer_innkeeper.calls(plugin, "echo", data)}
        if peer_extism.installed():
            extism = peer_extism.Extism(wasm)
            batches[EXTISM] = extism.warm("echo", data) if case.shared else extism.fresh("echo", data)
        plain = Wasmtime(wasm)
        batches[WASMTIME] = plain.warm(data) if case.shared else plain.fresh(data)
        return Measured(await in_turns(batches, rounds=100, seconds=3.0 * workspace.patience, scale=1e6))
