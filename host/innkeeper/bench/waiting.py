"""Row: a thousand calls that each wait 10 ms in a host function."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import trio

import innkeeper
from innkeeper.bench import peer_extism, peer_innkeeper, samples
from innkeeper.bench.machine import cores
from innkeeper.bench.measured import EXTISM, INNKEEPER, WASMTIME, Measured
from innkeeper.bench.peer_wasmtime import Wasmtime
from innkeeper.bench.timing import Batch, in_turns
from innkeeper.bench.workspace import Workspace
from innkeeper.errors import InternalError

CALLS = 1000
THREADS_BEYOND_CORES = 4
"""The default of Python's own thread pool: as many threads as cores, and four."""

_ANSWER = samples.number(1)


def measure(name: str, workspace: Workspace) -> Measured:
    """Milliseconds for all calls."""
    return trio.run(_measure, workspace)


async def _measure(workspace: Workspace) -> Measured:
    wasm = samples.bytes_of(samples.SMALL)
    async with innkeeper.open_host(workspace.home, catalogue=False) as host:
        plugin = await host.load(samples.path_of(samples.SMALL), functions=peer_innkeeper.functions())

        async def one() -> None:
            if (await plugin.call("wait")).output != _ANSWER:
                raise InternalError("a guest that waited gave a wrong answer")

        async def tasks(count: int) -> object:
            async with trio.open_nursery() as nursery:
                for _ in range(CALLS):
                    nursery.start_soon(one)
            return CALLS

        batches: dict[str, Batch] = {INNKEEPER: tasks}
        if peer_extism.installed():
            extism = peer_extism.Extism(wasm)
            batches[EXTISM] = _threads(lambda: bytes(extism.start().call("wait", b"")) == _ANSWER)
        plain = Wasmtime(wasm)

        def wait() -> bool:
            store, exports = plain.start()
            exports["plain_wait"](store)
            return True

        batches[WASMTIME] = _threads(wait)
        return Measured(await in_turns(batches, rounds=3, seconds=15.0 * workspace.patience, scale=1e3, rest=0.0))


def _threads(call: Callable[[], bool]) -> Batch:
    workers = cores() + THREADS_BEYOND_CORES

    async def batch(count: int) -> object:
        with ThreadPoolExecutor(workers) as pool:
            return sum(pool.map(lambda _: call(), range(CALLS)))

    return batch
