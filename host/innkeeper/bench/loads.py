"""Rows: a cached load in a new process, and the load of the same bytes again in one host."""

from __future__ import annotations

import trio
import wasmtime as w

import innkeeper
from innkeeper.bench import peer_extism, peer_innkeeper, samples
from innkeeper.bench.load_once import artifact
from innkeeper.bench.measured import EXTISM, INNKEEPER, WASMTIME, Figure, Measured
from innkeeper.bench.processes import run
from innkeeper.bench.timing import Batch, in_turns, looped, rounds_within
from innkeeper.bench.workspace import Workspace

GUEST = samples.LARGE

_ROUNDS = 15
_SECONDS = 12.0


def measure(name: str, workspace: Workspace) -> Measured:
    """Milliseconds in a new process, or microseconds in one host."""
    engine = w.Engine()
    artifact(workspace).write_bytes(w.Module(engine, samples.bytes_of(GUEST)).serialize())
    if name == "load-again":
        return trio.run(_again, workspace, engine)
    return _in_new_processes(workspace)


def _in_new_processes(workspace: Workspace) -> Measured:
    peers = [INNKEEPER, *([EXTISM] if peer_extism.installed() else []), WASMTIME]
    folder = str(workspace.folder)
    for peer in peers:
        # Fills the caches.
        run("load_once", peer, GUEST, folder)
    samples_of: dict[str, dict[str, list[float]]] = {peer: {} for peer in peers}
    for _ in rounds_within(_ROUNDS, _SECONDS * workspace.patience):
        for peer in peers:
            for what, seconds in run("load_once", peer, GUEST, folder).items():
                samples_of[peer].setdefault(what, []).append(seconds)
    ours = samples_of[INNKEEPER]
    extra = {
        "with_open_host": Figure.of(ours["with_host"], 1e3).median,
        "first_call": Figure.of(ours["first_call"], 1e3).median,
    }
    if EXTISM in samples_of:
        extra["extism_first_call"] = Figure.of(samples_of[EXTISM]["first_call"], 1e3).median
    return Measured({peer: Figure.of(found["load"], 1e3) for peer, found in samples_of.items()}, extra)


async def _again(workspace: Workspace, engine: w.Engine) -> Measured:
    wasm, file, functions = samples.bytes_of(GUEST), str(artifact(workspace)), peer_innkeeper.functions()
    async with innkeeper.open_host(workspace.home, catalogue=False) as host:
        first = await host.load(wasm, functions=functions)

        async def ours(count: int) -> object:
            for _ in range(count):
                plugin = await host.load(wasm, functions=functions)
                await plugin.aclose()
            return True

        batches: dict[str, Batch] = {INNKEEPER: ours}
        if peer_extism.installed():
            batches[EXTISM] = looped(lambda: peer_extism.Extism(wasm) is not None)
        batches[WASMTIME] = looped(lambda: w.Module.deserialize_file(engine, file) is not None)
        figures = await in_turns(batches, rounds=60, seconds=8.0 * workspace.patience, scale=1e6)
        # Closing the others left the first one as it was.
        data = samples.data(64)
        assert (await first.call("echo", data)).output == data
    return Measured(figures)
