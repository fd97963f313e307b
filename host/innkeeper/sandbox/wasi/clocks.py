"""The two kinds of time that a guest can live in."""

from __future__ import annotations

import time
from enum import IntEnum
from typing import Protocol

import trio


class ClockId(IntEnum):
    """`clockid`."""

    REALTIME = 0
    MONOTONIC = 1
    PROCESS_CPUTIME = 2
    THREAD_CPUTIME = 3


RESOLUTION = 1_000
"""Nanoseconds. Finer clocks tell a cache hit from a miss, which is what a guest needs in order to read, by
speculation, memory that it cannot address; no plugin needs them."""

START_OF_STANDING_TIME = 1_735_689_600_000_000_000
"""2025-01-01T00:00:00Z in nanoseconds: where the real-time clock of a guest without the right stands."""

_MONOTONIC_START = 1_000_000_000
"""Nanoseconds that monotonic clocks show at the guest's start. Go's runtime gives up on a clock that shows 0."""


class Clock(Protocol):
    """Time of one guest, in nanoseconds (int, 0 or more)."""

    def now(self, clock: ClockId) -> int:
        """What `clock` shows; the two CPU-time clocks show the monotonic one."""
        ...

    async def sleep(self, duration: int) -> None:
        """Waits; a checkpoint even where `duration` is 0."""
        ...


class StandingClock:
    """Time that only sleeping moves, by exactly what was asked for: the same in each run of the same guest."""

    __slots__ = ("_slept",)

    def __init__(self) -> None:
        self._slept = 0

    def now(self, clock: ClockId) -> int:
        return self._slept + (START_OF_STANDING_TIME if clock is ClockId.REALTIME else _MONOTONIC_START)

    async def sleep(self, duration: int) -> None:
        await trio.sleep(duration / 1e9)
        self._slept += duration


class RealClock:
    """The host's time, to RESOLUTION."""

    __slots__ = ("_start",)

    def __init__(self) -> None:
        self._start = time.monotonic_ns() - _MONOTONIC_START

    def now(self, clock: ClockId) -> int:
        exact = time.time_ns() if clock is ClockId.REALTIME else time.monotonic_ns() - self._start
        return exact - exact % RESOLUTION

    async def sleep(self, duration: int) -> None:
        await trio.sleep(duration / 1e9)
