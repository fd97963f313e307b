"""Row: calls a second of as many processes as fit on two cores, each call of a fresh guest."""

from __future__ import annotations

from innkeeper.bench import peer_extism, processes
from innkeeper.bench.measured import EXTISM, INNKEEPER, WASMTIME, Figure, Measured
from innkeeper.bench.timing import rounds_within
from innkeeper.bench.workspace import Workspace
from innkeeper.errors import InternalError

_PROCESSES = 2
_ROUNDS = 5
_EACH = 0.4
"""Seconds of calls in each round."""
_SECONDS = 12.0


def measure(name: str, workspace: Workspace) -> Measured:
    """Calls a second, of two processes together; beside it, of one."""
    peers = [INNKEEPER, *([EXTISM] if peer_extism.installed() else []), WASMTIME]
    found: dict[str, list[float]] = {peer: [] for peer in peers}
    alone: list[float] = []
    for _ in rounds_within(_ROUNDS, _SECONDS * workspace.patience):
        for peer in peers:
            found[peer].append(_together(peer, workspace, _PROCESSES))
        alone.append(_together(INNKEEPER, workspace, 1))
    return Measured({peer: Figure.of(rates) for peer, rates in found.items()}, {"one_process": Figure.of(alone).median})


def _together(peer: str, workspace: Workspace, count: int) -> float:
    started = [processes.start("throughput_once", peer, str(workspace.folder), str(_EACH)) for _ in range(count)]
    try:
        for process in started:
            assert process.stderr is not None
            if process.stderr.readline() != b"ready\n":
                raise InternalError(f"a process that calls {peer} did not start")
        for process in started:
            assert process.stdin is not None
            process.stdin.close()
            # `communicate` would try to write to it.
            process.stdin = None
        return sum(float(processes.finish(process)) for process in started)
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.communicate()
