"""How fast calls are, beside the extism SDK and wasmtime-py in the same run. No promise is made yet."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable

import trio

from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.engine import FiberEngine, open_engine
from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.limits import Limits

from . import guests, speed_peers
from .machine import Others
from .table import show

DATA = b"0123456789abcdef" * 4
"""64 bytes."""
HOST_CALLS = 1000
"""Calls of the host in one call of a guest."""
_LIMITS = CallOptions(limits=Limits(cpu=60.0, wall=600.0))

FRESH = "fresh guest and one call, 64 bytes in and out"
WARM = "call of a warm guest, 64 bytes in and out"
HOST = "guest calls the host, nothing awaited"
AWAIT = "guest calls the host, a real await (one checkpoint)"

Bench = Callable[[], Awaitable[None]]


async def _ours(engine: FiberEngine) -> dict[str, tuple[Bench, int]]:
    # What to time for each row, and how many operations one call of it is.
    program = await engine.load(guests.echo())
    session = await program.open(_LIMITS)
    at_once = await (await engine.load(guests.host_caller(HOST_CALLS), functions=[guests.host(guests.at_once)])).open(
        _LIMITS
    )
    awaiting = await (
        await engine.load(guests.host_caller(HOST_CALLS), functions=[guests.host(guests.after_a_checkpoint)])
    ).open(_LIMITS)

    async def fresh() -> None:
        assert (await program.call("echo", DATA, _LIMITS)).output == DATA

    async def warm() -> None:
        assert (await session.call("echo", DATA, _LIMITS)).output == DATA

    async def host() -> None:
        await at_once.call("run", b"", _LIMITS)

    async def host_awaits() -> None:
        await awaiting.call("run", b"", _LIMITS)

    return {FRESH: (fresh, 1), WARM: (warm, 1), HOST: (host, HOST_CALLS), AWAIT: (host_awaits, HOST_CALLS)}


def _as_async(function: Callable[[], None]) -> Bench:
    async def run() -> None:
        function()

    return run


async def _time(bench: Bench, operations: int, seconds: float) -> float:
    # Seconds for one operation: the median of single calls during so many seconds.
    await bench()
    single: list[float] = []
    end = time.perf_counter() + seconds
    while (before := time.perf_counter()) < end or len(single) < 3:
        await bench()
        single.append(time.perf_counter() - before)
    return statistics.median(single) / operations


async def measure(rounds: int, seconds: float) -> dict[str, dict[str, list[float]]]:
    """Seconds for one operation in each round, by row and by who ran it."""
    found: dict[str, dict[str, list[float]]] = {}
    async with open_engine(Bounds()) as engine:
        peers = {"innkeeper": await _ours(engine)}
        for name, benches in speed_peers.available(DATA, HOST_CALLS).items():
            keys = dict(zip(("fresh", "warm", "host"), (FRESH, WARM, HOST), strict=True))
            peers[name] = {keys[key]: (_as_async(bench), n) for key, (bench, n) in benches.items()}
        for _ in range(rounds):
            for name, rows in peers.items():
                for row, (bench, operations) in rows.items():
                    found.setdefault(row, {}).setdefault(name, []).append(await _time(bench, operations, seconds))
    return found


def main(rounds: int = 7, seconds: float = 0.5) -> bool:
    """Prints the table."""
    others = Others()
    found = trio.run(measure, rounds, seconds)
    rows = []
    for row, by_name in found.items():
        own = statistics.median(by_name["innkeeper"])
        for name, times in by_name.items():
            middle = statistics.median(times)
            rows.append(
                [row, name, *(f"{v * 1e6:.1f}" for v in (middle, min(times), max(times))), f"{middle / own:.1f}"]
            )
    show(
        f"Microseconds for one operation: median of {rounds} rounds of {seconds:g} s, each the median of its calls",
        ["what", "run by", "median", "best round", "worst round", "ratio to innkeeper"],
        rows,
    )
    if not speed_peers.have_extism():
        print("The extism SDK is not installed: pip install '.[measure]' adds it to this table.")
    print(f"All other processes used {others.cores():.2f} cores meanwhile.", flush=True)
    return True
