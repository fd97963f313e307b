"""Rows: what a chunk of a stream takes on its way from guest to guest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgpack
import trio

import innkeeper
from innkeeper.bench import stream_guests
from innkeeper.bench.measured import INNKEEPER, Figure, Measured
from innkeeper.bench.stream_guests import SLOT
from innkeeper.bench.timing import rounds_within
from innkeeper.bench.workspace import Workspace
from innkeeper.bridge.bridge import Bridge, bridge_of
from innkeeper.bridge.pump import pump
from innkeeper.errors import InternalError
from innkeeper.plugins.host import Host
from innkeeper.plugins.runs import Run, RunContext
from innkeeper.sandbox.limits import Limits

CHUNK = "about ten"
"""One chunk: a word or two, as language models give them."""

LIMITS = Limits(cpu=60.0, wall=3600.0, host_call=600.0, host_calls=100_000)
_CALL = msgpack.packb({"inputs": {}, "config": {}, "run": {"id": "r", "node": "n"}})


@dataclass(frozen=True, slots=True)
class _Way:
    """How chunks go.

    Attributes:
        at_once: chunks in a call of the writer.
        calls: of the writer, in a round.
        limit: chunks in a call of the reader, at the most.
        rounds: so many that all calls together are fewer than a plugin's burst, beyond which it waits for its turn.
    """

    at_once: int
    calls: int
    limit: int
    rounds: int


_WAYS = {"chunk-single": _Way(1, 1000, 1, 15), "chunk-many": _Way(1000, 50, 1024, 40)}


def measure(name: str, workspace: Workspace) -> Measured:
    """Microseconds for each chunk that one guest writes and another reads."""
    way = _WAYS[name]
    wasm = stream_guests.writer([CHUNK] * way.at_once, way.calls, singly=way.at_once == 1)
    stream_guests.install(workspace.home, "writes", wasm, writes=True)
    stream_guests.install(workspace.home, "reads", stream_guests.reader(way.limit), writes=False)
    return trio.run(_measure, way, workspace)


async def _measure(way: _Way, workspace: Workspace) -> Measured:
    async with innkeeper.open_host(workspace.home, watch=False) as host:
        samples = []
        await flow(host, consumers=1)
        for _ in rounds_within(way.rounds, 2.0 * workspace.patience):
            begun = time.perf_counter()
            passed = await flow(host, consumers=1)
            samples.append((time.perf_counter() - begun) / passed)
            if passed != way.at_once * way.calls:
                raise InternalError(f"{passed} chunks of {way.at_once * way.calls} arrived")
    return Measured({INNKEEPER: Figure.of(samples, 1e6)})


async def flow(host: Host, consumers: int) -> int:
    """Runs the writer and so many readers of a home, with a pump between them; how many chunks passed."""
    bridge = bridge_of(host)
    run, passed = Run("bench"), 0

    def seen(items: Sequence[bytes]) -> None:
        nonlocal passed
        passed += len(items)

    source = bridge.streams.connect(run, writer=("source", SLOT))
    targets = [bridge.streams.connect(run, reader=(f"reader{number}", SLOT)) for number in range(consumers)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: pump(source, targets, seen=seen))
        nursery.start_soon(_call, host, bridge, run, "writes", "source")
        for number in range(consumers):
            nursery.start_soon(_call, host, bridge, run, "reads", f"reader{number}")
    bridge.streams.end(run)
    return passed


async def _call(host: Host, bridge: Bridge, run: Run, plugin: str, node: str) -> None:
    await host.plugins[plugin].call("flow", _CALL, run=RunContext(run, node), limits=LIMITS)
    bridge.streams.release(run, node)
