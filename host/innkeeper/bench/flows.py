"""Row: a workflow in which one node writes a stream that three others read."""

from __future__ import annotations

import gc
import time
from typing import Any

import trio

from innkeeper.bench import queued, stream_guests
from innkeeper.bench.chunks import CHUNK
from innkeeper.bench.machine import resident
from innkeeper.bench.measured import INNKEEPER, Figure, Measured
from innkeeper.bench.stream_guests import SLOT
from innkeeper.bench.workspace import Workspace
from innkeeper.sandbox.limits import MIB

READERS = 3
_AT_ONCE = 1000
_CALLS = 500
"""Half a million chunks: as many as make a growth of memory plain. `make soak` has ten million."""


def measure(name: str, workspace: Workspace) -> Measured:
    """Microseconds for each chunk, all events kept; and by how much memory grew from a run of a tenth to the end."""
    calls = max(1, int(_CALLS * workspace.patience))
    many = stream_guests.writer([CHUNK] * _AT_ONCE, calls)
    few = stream_guests.writer([CHUNK] * _AT_ONCE, max(1, calls // 10))
    stream_guests.install(workspace.home, "many", many, writes=True)
    stream_guests.install(workspace.home, "few", few, writes=True)
    stream_guests.install(workspace.home, "reads", stream_guests.reader(1024), writes=False)
    return trio.run(_measure, calls, workspace)


async def _measure(calls: int, workspace: Workspace) -> Measured:
    async with queued.opened(workspace) as queue:
        await queue.run(_workflow("few:Few"))
        gc.collect()
        before, begun = resident(), time.perf_counter()
        await queue.run(_workflow("many:Many"))
        seconds = time.perf_counter() - begun
        gc.collect()
        grown = resident() - before
    figure = Figure.of([seconds], 1e6 / (calls * _AT_ONCE))
    return Measured({INNKEEPER: figure}, {"chunks": float(calls * _AT_ONCE), "grown_mib": grown / MIB})


def _workflow(writer: str) -> dict[str, Any]:
    readers = [f"reader{number}" for number in range(READERS)]
    return {
        "nodes": [{"id": "writer", "fullType": writer}, *({"id": id, "fullType": "reads:Reads"} for id in readers)],
        "edges": [
            {"id": id, "sourceNodeId": "writer", "sourceHandle": SLOT, "targetNodeId": id, "targetHandle": SLOT}
            for id in readers
        ],
    }
