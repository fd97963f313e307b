"""Streams: many clients, one broadcast a second, the project's server beside plain hypercorn."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.load.stream_clients import EVENTS, MESSAGES, Clients
from tests.measure.machine import describe
from tests.measure.table import quantile, show

AIM_MS, AIM_BYTES = 50.0, 100e6
WARM = 2.0


@dataclass(frozen=True)
class Measured:
    """One server with its clients.

    Attributes:
        lost: connections.
        missed: messages.
        delays: milliseconds from broadcast to client.
        cpu: microseconds of the server's CPU for each message.
        memory: bytes that the server has for 1,000 connections.
    """

    lost: int
    missed: int
    delays: list[float]
    cpu: float
    memory: float


def measure(which: str, request: bytes, clients: int, seconds: float, warm: float = WARM) -> Measured:
    """Starts a server, connects clients, and counts for so long, after some seconds that do not count."""
    command = [sys.executable, "-m", "tests.load.stream_server", which]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": _path()}) as server:
        try:
            assert server.stdout is not None
            crowd = Clients(int(server.stdout.readline()), request)
            first = Clients(crowd.port, request)
            # What the first connection imports and makes is nobody's share.
            first.connect(1)
            before = _resident(server.pid)
            crowd.connect(clients)
            crowd.run(warm, count=False)
            began = _cpu(server.pid)
            crowd.run(seconds, count=True)
            cpu = _cpu(server.pid) - began
            memory = (_resident(server.pid) - before) / clients * 1000
            missed = crowd.missed()
            crowd.close()
            first.close()
        finally:
            server.kill()
    return Measured(crowd.lost, missed, crowd.delays, cpu / max(1, len(crowd.delays)) * 1e6, memory)


def _path() -> str:
    root = Path(__file__).parents[2]
    return os.pathsep.join([str(root / "host"), str(root)])


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not say what a process has")


def _row(name: str, found: Measured) -> list[str]:
    delays = [f"{quantile(found.delays, share):.1f}" for share in (0.5, 0.99, 1.0)] if found.delays else ["-"] * 3
    return [name, str(found.lost), str(found.missed), *delays, f"{found.cpu:.0f}", f"{found.memory / 1e6:.1f}"]


def _ratio(ours: Measured, plain: Measured) -> list[str]:
    def times(one: float, other: float) -> str:
        return f"{one / other:.1f} x" if other > 0 else "-"

    if not (ours.delays and plain.delays):
        return ["plain / ours", *["-"] * 7]
    delays = [times(quantile(plain.delays, share), quantile(ours.delays, share)) for share in (0.5, 0.99, 1.0)]
    return ["plain / ours", "", "", *delays, times(plain.cpu, ours.cpu), times(plain.memory, ours.memory)]


def main(arguments: list[str]) -> int:
    """Prints the tables. 1 where the project's server lost a connection or a message; on a busy machine what comes late
    is said, and is no failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.load streams")
    parser.add_argument("--seconds", type=float, default=60.0, help="for which is counted")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--alone", action="store_true", help="without plain hypercorn")
    chosen = parser.parse_args(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, chosen.clients + 512)), hard))
    print(f"## streams: {describe()}", flush=True)
    header = ["server", "lost", "missed", "p50 ms", "p99 ms", "max ms", "us CPU each", "MB per 1,000"]
    failed = False
    for title, request in (("Server-sent events", EVENTS), ("WebSockets", MESSAGES)):
        began = time.monotonic()
        ours = measure("wire", request, chosen.clients, chosen.seconds)
        rows = [_row("innkeeper", ours)]
        if not chosen.alone:
            plain = measure("plain", request, chosen.clients, chosen.seconds)
            rows += [_row("plain hypercorn", plain), _ratio(ours, plain)]
        show(f"{title}: {chosen.clients:,} clients, one broadcast a second for {chosen.seconds:g} s", header, rows)
        failed |= bool(ours.lost or ours.missed or not ours.delays)
        p99 = quantile(ours.delays, 0.99) if ours.delays else float("inf")
        print(
            f"Aims: none lost: {'met' if not ours.lost and not ours.missed else 'missed'}; "
            f"p99 at most {AIM_MS:g} ms: {'met' if p99 <= AIM_MS else 'missed'}; "
            f"under {AIM_BYTES / 1e6:g} MB per 1,000: {'met' if ours.memory < AIM_BYTES else 'missed'} "
            f"({time.monotonic() - began:.0f} s)",
            flush=True,
        )
    return int(failed)
