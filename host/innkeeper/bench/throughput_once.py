"""Calls fresh guests for a while in this process: `python -m innkeeper.bench.throughput_once PEER FOLDER SECONDS`.

Writes a line when it is ready, begins at the end of its standard input, and writes how many calls a second it made.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import trio

import innkeeper
from innkeeper.bench import peer_extism, peer_innkeeper, samples
from innkeeper.bench.measured import EXTISM, INNKEEPER
from innkeeper.bench.peer_wasmtime import Wasmtime
from innkeeper.bench.timing import Batch
from innkeeper.bench.workspace import Workspace

_DATA = samples.data(64)
_AT_A_TIME = 50


async def _count(batch: Batch, seconds: float) -> float:
    await batch(2 * _AT_A_TIME)
    sys.stderr.write("ready\n")
    sys.stderr.flush()
    sys.stdin.buffer.read()
    begun = now = time.perf_counter()
    calls = 0
    while now - begun < seconds:
        assert await batch(_AT_A_TIME) == _DATA
        calls += _AT_A_TIME
        now = time.perf_counter()
    return calls / (now - begun)


async def _measure(peer: str, workspace: Workspace, seconds: float) -> float:
    wasm = samples.bytes_of(samples.SMALL)
    if peer == INNKEEPER:
        async with innkeeper.open_host(workspace.home, catalogue=False) as host:
            plugin = await host.load(wasm, functions=peer_innkeeper.functions())
            return await _count(peer_innkeeper.calls(plugin, "echo", _DATA), seconds)
    if peer == EXTISM:
        return await _count(peer_extism.Extism(wasm).fresh("echo", _DATA), seconds)
    return await _count(Wasmtime(wasm).fresh(_DATA), seconds)


def main() -> None:
    peer, folder, seconds = sys.argv[1:]
    sys.stdout.write(json.dumps(trio.run(_measure, peer, Workspace(Path(folder)), float(seconds))))


if __name__ == "__main__":
    main()
