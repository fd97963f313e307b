"""Rows: what a node of a large workflow takes beside its guest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgpack
import trio

from innkeeper.bench import graphs, queued
from innkeeper.bench.measured import INNKEEPER, Figure, Measured
from innkeeper.bench.queued import Queue
from innkeeper.bench.timing import rounds_within
from innkeeper.bench.workspace import Workspace

_SHAPES: dict[str, Callable[[str], dict[str, Any]]] = {"chain": graphs.chain, "fan": graphs.fan}


def measure(name: str, workspace: Workspace) -> Measured:
    """Microseconds for each of a thousand nodes, from submission to the end in the database, without what the same
    guests take where they are called directly, one after the other."""
    return trio.run(_measure, _SHAPES[name], workspace)


async def _measure(shape: Callable[[str], dict[str, Any]], workspace: Workspace) -> Measured:
    direct: list[float] = []
    whole: list[float] = []
    used: list[float] = []
    async with queued.opened(workspace) as queue:
        await _called(queue, shape("warm"))
        await queue.run(shape("warm up"))
        for number, _ in enumerate(rounds_within(20, 10.0 * workspace.patience)):
            # No two rounds have a call in common: nothing that is remembered shortens one.
            started = time.process_time()
            direct.append(await _called(queue, shape(f"direct {number}")))
            guests = time.process_time() - started
            begun, started = time.perf_counter(), time.process_time()
            await queue.run(shape(f"queued {number}"))
            whole.append(time.perf_counter() - begun)
            used.append(time.process_time() - started - guests)
    beyond = [each - guests for each, guests in zip(whole, direct, strict=True)]
    extra = {
        "whole_ms": Figure.of(whole, 1e3).median,
        "guests_ms": Figure.of(direct, 1e3).median,
        # Of all threads, the database's included: what does not depend on who else wants the cores.
        "cpu_us": Figure.of(used, 1e6 / graphs.NODES).median,
    }
    return Measured({INNKEEPER: Figure.of(beyond, 1e6 / graphs.NODES)}, extra)


async def _called(queue: Queue, workflow: Mapping[str, Any]) -> float:
    """Seconds that as many calls of the nodes' guest take as the workflow has nodes."""
    plugin, definition = queue.host.node(graphs.TYPE)
    inputs = [{graphs.IN: ["text"], **node["inputs"]} for node in workflow["nodes"]]
    data = [msgpack.packb({"inputs": each, "config": {}, "run": {"id": "", "node": ""}}) for each in inputs]
    begun = time.perf_counter()
    for each in data:
        await plugin.call(definition.function, each)
    return time.perf_counter() - begun
