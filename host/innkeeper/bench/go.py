"""Row: a call of a plugin in Go, which takes milliseconds to start: ours of a fresh guest, theirs of one that stays."""

from __future__ import annotations

import trio

import innkeeper
from innkeeper.bench import peer_extism, peer_innkeeper, samples
from innkeeper.bench.measured import EXTISM, INNKEEPER, Figure, Measured
from innkeeper.bench.timing import Batch, in_turns
from innkeeper.bench.workspace import Workspace

ALLOWANCE = 50.0
"""Microseconds on top of their warm call: what a fresh guest may cost more than one that others have used."""

_REST = 0.010
"""Seconds between two calls: time to start the next spare guest. Peers rest alike."""


def measure(name: str, workspace: Workspace) -> Measured:
    """Microseconds for one call."""
    return trio.run(_measure, workspace)


async def _measure(workspace: Workspace) -> Measured:
    data = samples.data(64)
    async with innkeeper.open_host(workspace.home, catalogue=False) as host:
        plugin = await host.load(samples.path_of(samples.GO))
        calls = peer_innkeeper.calls(plugin, "echo", data)
        batches: dict[str, Batch] = {INNKEEPER: calls}
        if peer_extism.installed():
            batches[EXTISM] = peer_extism.Extism(samples.bytes_of(samples.GO), wasi=True).warm("echo", data)
        for batch in batches.values():
            await batch(3)
        figures: dict[str, Figure] = await in_turns(
            batches, rounds=150, seconds=4.0 * workspace.patience, scale=1e6, rest=_REST
        )
        flat_out = await in_turns({INNKEEPER: calls}, rounds=10, seconds=workspace.patience, scale=1e6)
    extra = {"without_pauses": flat_out[INNKEEPER].median}
    if EXTISM in figures:
        extra["extism_warm"] = figures[EXTISM].median
        figures[EXTISM] = figures[EXTISM].plus(ALLOWANCE)
    return Measured(figures, extra)
