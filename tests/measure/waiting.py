"""Thousands of guests that wait in a host function at the same time: what each takes, and what the next one gets."""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from innkeeper.errors import BusyError
from innkeeper.sandbox.bounds import Bounds, default_live_guests
from innkeeper.sandbox.engine import FiberEngine, open_engine
from innkeeper.sandbox.interface import CallOptions, Program
from innkeeper.sandbox.kernel import FIRST_PAGES
from innkeeper.sandbox.limits import MIB, Limits

from . import guests
from .machine import KB, Memory
from .table import show

GUESTS = 5000
PROMISE = 60 * KB
"""Bytes of one waiting guest, page tables counted in."""
PAGES = 2
WARM_UP = 100
PATIENCE = 0.5
"""Seconds that a call which finds no place waits for one."""

_LONG = Limits(wall=3600.0, host_call=3600.0)


class Crowd:
    """Guests that wait in a host function until they are let go.

    Attributes:
        waiting: how many do.
        calls: how many calls have not ended.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self.calls = 0
        self.gone = trio.Event()
        self.release = trio.Event()
        self._target = 0
        self._reached = trio.Event()

    async def handler(self, value: int) -> int:
        """The host function."""
        self.waiting += 1
        if self.waiting >= self._target:
            self._reached.set()
        try:
            await self.release.wait()
        finally:
            self.waiting -= 1
        return value

    async def until(self, count: int) -> None:
        """Waits until so many wait."""
        self._target, self._reached = count, trio.Event()
        if self.waiting < count:
            await self._reached.wait()


@dataclass(frozen=True, slots=True)
class Room:
    """A program whose calls wait, and the nursery that they are started in."""

    engine: FiberEngine
    program: Program
    crowd: Crowd
    nursery: trio.Nursery

    async def _one(self) -> None:
        await self.program.call("run", b"", CallOptions(limits=_LONG))
        self.crowd.calls -= 1
        if not self.crowd.calls:
            self.crowd.gone.set()

    async def fill(self, count: int) -> None:
        """Starts guests until `count` of them wait."""
        for _ in range(count - self.crowd.waiting):
            self.crowd.calls += 1
            self.nursery.start_soon(self._one)
        await self.crowd.until(count)

    async def empty(self) -> None:
        """Lets all of them go."""
        crowd = self.crowd
        crowd.release.set()
        await crowd.gone.wait()
        crowd.release, crowd.gone = trio.Event(), trio.Event()


@asynccontextmanager
async def open_room(live_guests: int, pages: int) -> AsyncIterator[Room]:
    """A host that takes so many guests, whose guests have a memory of so many pages."""
    crowd = Crowd()
    memory = live_guests * (pages + FIRST_PAGES) * guests.PAGE + 128 * MIB
    async with (
        open_engine(Bounds(live_guests=live_guests, guest_memory=memory)) as engine,
        trio.open_nursery() as nursery,
    ):
        program = await engine.load(guests.waiter(pages), functions=[guests.host(crowd.handler)])
        yield Room(engine, program, crowd, nursery)
        crowd.release.set()


@dataclass(frozen=True, slots=True)
class Share:
    """What one waiting guest takes: bytes, but for its number of mappings."""

    resident: float
    proportional: float
    private: float
    page_tables: float
    mappings: float
    seconds: float

    @property
    def total(self) -> float:
        """Resident memory and page tables."""
        return self.resident + self.page_tables


async def share(room: Room, count: int) -> Share:
    """Starts guests until `count` wait, and divides by that what the process has grown by."""
    await room.fill(WARM_UP)
    await room.empty()
    gc.collect()
    before = Memory.now()
    began = time.perf_counter()
    await room.fill(count)
    seconds = time.perf_counter() - began
    gc.collect()
    after = Memory.now()
    return Share(
        (after.resident - before.resident) / count,
        (after.proportional - before.proportional) / count,
        (after.private - before.private) / count,
        (after.page_tables - before.page_tables) / count,
        (after.mappings - before.mappings) / count,
        seconds,
    )


async def one_too_many(room: Room) -> tuple[BusyError | None, float]:
    """Calls once more, with `PATIENCE` to wait. What it ended with, and after how many seconds."""
    began = time.perf_counter()
    error: BusyError | None = None
    try:
        await room.program.call("run", b"", CallOptions(limits=Limits(wall=PATIENCE)))
    except BusyError as caught:
        error = caught
    return error, time.perf_counter() - began


async def _measure() -> tuple[Share, str, bool]:
    live = max(default_live_guests(), GUESTS)
    async with open_room(live, PAGES) as room:
        measured = await share(room, GUESTS)
        await room.fill(live)
        full = Memory.now()
        error, seconds = await one_too_many(room)
        ended = f"{type(error).__name__}, bound {error.bound!r}" if error else "NOT refused"
        await room.empty()
        text = f"{live:,} guests ({full.mappings:,} mappings); the next: {ended}, after {seconds:.2f} s of {PATIENCE}"
        return measured, text, error is not None and error.bound == "live guests" and seconds >= PATIENCE


def main() -> bool:
    """Prints the table. Returns whether the promises were met."""
    one, text, refused = trio.run(_measure)
    kept = one.total <= PROMISE
    verdict = "met" if kept else f"MISSED by {(one.total - PROMISE) / KB:.1f} KB"
    kilobytes = (f"{v / KB:.1f}" for v in (one.resident, one.proportional, one.private, one.page_tables, one.total))
    show(
        f"{GUESTS:,} guests with a kernel and {PAGES} pages of memory wait in a host function: KB for each "
        f"(promise: at most {PROMISE / KB:g} with page tables)",
        ["Rss", "Pss", "private", "page tables", "Rss + tables", "mappings", "all started in", "promise"],
        [[*kilobytes, f"{one.mappings:.1f}", f"{one.seconds:.1f} s", verdict]],
    )
    print(text, flush=True)
    return kept and refused
