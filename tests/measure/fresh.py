"""Fresh guests by the thousand: nothing of them stays, however they end."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from innkeeper.errors import GuestError, LimitError
from innkeeper.sandbox.engine import open_engine
from innkeeper.sandbox.interface import CallOptions, Program
from innkeeper.sandbox.limits import Limits

from . import guests
from .machine import Memory
from .table import show

PROMISE = 5_000_000
"""Bytes that resident memory may be above what it was after the first guests."""
FIRST = 1000
"""Guests after which the comparison begins."""
COUNT = 100_000
COUNT_OF_BAD_ENDS = 20_000
_ROW = 10_000
_AT_ONCE = 4


class _HostError(Exception):
    """What the host function raises."""


_to_cancel: list[trio.CancelScope] = []


async def _handler(value: int) -> int:
    # Cancels the call that asked for it while it waits here; any other call meets an exception.
    if not _to_cancel:
        raise _HostError
    _to_cancel.pop().cancel()
    await trio.sleep_forever()
    return value


async def _well(program: Program) -> None:
    result = await program.call("ok", b"12345678", CallOptions())
    assert result.output == b"!" * 8


async def _trap(program: Program) -> None:
    try:
        await program.call("trap", b"", CallOptions())
    except GuestError:
        return
    raise AssertionError("no trap")


async def _host_exception(program: Program) -> None:
    try:
        await program.call("host", b"", CallOptions())
    except _HostError:
        return
    raise AssertionError("no exception")


async def _cancelled_while_waiting(program: Program) -> None:
    with trio.CancelScope() as scope:
        _to_cancel.append(scope)
        await program.call("host", b"", CallOptions())
    assert scope.cancelled_caught


async def _cancelled_while_spinning(program: Program) -> None:
    with trio.move_on_after(0.001) as scope:
        await program.call("spin", b"", CallOptions())
    assert scope.cancelled_caught


async def _limit(program: Program, function: str, limits: Limits, name: str) -> None:
    try:
        await program.call(function, b"", CallOptions(limits=limits))
    except LimitError as error:
        ended = error.limit
    else:
        ended = "a result"
    assert ended == name


async def _output_limit(program: Program) -> None:
    await _limit(program, "large", Limits(output=1024), "output")


async def _cpu_limit(program: Program) -> None:
    await _limit(program, "spin", Limits(cpu=0.0001), "cpu")


ENDS: dict[str, Callable[[Program], Awaitable[None]]] = {
    "a result": _well,
    "a trap": _trap,
    "an exception of a host function": _host_exception,
    "cancelled in a host function": _cancelled_while_waiting,
    "cancelled in an endless loop": _cancelled_while_spinning,
    "the limit on output": _output_limit,
    "the limit on processor time": _cpu_limit,
}
"""How a guest can end, and one call that ends so."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Resident memory, in bytes, after so many guests; the first row is what the others are compared with."""

    rows: list[tuple[int, int, float]]

    @property
    def bytes(self) -> int:
        """The most that it was above the first row."""
        return max(resident for _, resident, _ in self.rows) - self.rows[0][1]


async def growth(end: str, count: int, first: int = FIRST) -> Growth:
    """Runs `count` fresh guests that end as `end` says, a few at a time; looks after `first` and after each `_ROW`."""
    call = ENDS[end]
    rows: list[tuple[int, int, float]] = []
    began = time.perf_counter()
    async with open_engine() as engine:
        program = await engine.load(guests.every_end(), functions=[guests.host(_handler)])
        # The exception and the cancellation share a host function, which tells them apart by `_to_cancel`: one by one.
        at_once = 1 if call is _cancelled_while_waiting else _AT_ONCE

        async def some(number: int) -> None:
            for _ in range(number):
                await call(program)

        done = 0
        for target in sorted({first, count, *range(_ROW, count, _ROW)}):
            async with trio.open_nursery() as nursery:
                for part in range(at_once):
                    nursery.start_soon(some, (target - done + part) // at_once)
            done = target
            gc.collect()
            rows.append((done, Memory.now().resident, time.perf_counter() - began))
        assert not engine.live.taken
        assert not engine.memory.taken
        program.close()
    return Growth(rows)


def report(end: str, found: Growth) -> bool:
    """Prints what was found. Returns whether the promise was met."""
    first = found.rows[0][1]
    met = found.bytes <= PROMISE
    show(
        f"Fresh guests that end by {end}: resident memory "
        f"(promise: within {PROMISE / 1e6:g} MB of the first row; {'met' if met else 'MISSED'})",
        ["guests", "MB", "above the first row, MB", "seconds"],
        [[f"{n:,}", f"{rss / 1e6:.2f}", f"{(rss - first) / 1e6:+.2f}", f"{s:.1f}"] for n, rss, s in found.rows],
    )
    return met


def main() -> bool:
    """Prints the table of guests that end well. Returns whether the promise was met."""
    return report("a result", trio.run(growth, "a result", COUNT))
