"""The one clock that pre-empts guests: it increments the engine's epoch each millisecond while guests run.

Ticks pre-empt; they do not measure.  On Linux a POSIX timer calls wasmtime directly, without Python and without the
GIL, so guests may be polled with the GIL held.  Elsewhere a thread of ours ticks; guests must then give the GIL away.
"""

from __future__ import annotations

import contextlib
import ctypes as c
import os
import struct
import sys
import threading
import time
from typing import Protocol

from innkeeper.sandbox import capi

TICK = 0.001
"""Seconds. Long enough that a guest gets work done in its turn, short enough that a turn is no delay."""

_IDLE = 0.05
"""Seconds after the last need at which the ticker stops."""

_CLOCK_MONOTONIC, _SIGEV_THREAD = 1, 2


class Ticker(Protocol):
    """Ticks while it is needed."""

    holds_gil: bool
    """Whether guests may be polled with the GIL held."""

    def need(self, now: float) -> None:
        """A guest is about to run.

        Args:
            now: `time.perf_counter()`, which the caller has read anyway.
        """
        ...

    def rest(self, *, running: bool) -> bool:
        """Stops ticking if no guest is running and none has begun to for a while. Returns whether it stands still.

        Whoever begins to run is counted as running first and calls `need` then, so that no guest runs without ticks.
        """
        ...


class TimerTicker:
    """A POSIX timer with SIGEV_THREAD on 64-bit Linux.

    The engine's address is used until the process ends: whoever makes a ticker keeps the engine for ever.
    """

    holds_gil = True

    def __init__(self, engine: int) -> None:
        # Keeps the GIL: a call takes a microsecond.
        self._libc = c.PyDLL(None, use_errno=True)
        self._needed = 0.0
        self._armed = False
        self._lock = threading.Lock()
        self._timer = c.c_void_p()
        function = c.cast(capi.free.wasmtime_engine_increment_epoch, c.c_void_p).value or 0
        event = struct.pack("<QiiQ40x", engine, 0, _SIGEV_THREAD, function)
        if self._libc.timer_create(_CLOCK_MONOTONIC, event, c.byref(self._timer)):
            raise OSError(c.get_errno(), "timer_create")

    def need(self, now: float) -> None:
        self._needed = now
        if not self._armed:
            with self._lock:
                if not self._armed:
                    self._set(int(TICK * 1e9))
                    self._armed = True

    def rest(self, *, running: bool) -> bool:
        if self._armed and not running and self._idle():
            with self._lock:
                # First of all: who needs ticks from now on waits for the lock and arms again.
                self._armed = False
                if self._idle():
                    self._set(0)
                else:
                    self._armed = True
        return not self._armed

    def _idle(self) -> bool:
        return time.perf_counter() - self._needed > _IDLE

    def _set(self, nanoseconds: int) -> None:
        interval = (c.c_long * 4)(0, nanoseconds, 0, nanoseconds)
        if self._libc.timer_settime(self._timer, 0, interval, None):
            raise OSError(c.get_errno(), "timer_settime")


class ThreadTicker:
    """A daemon thread that ticks: for systems without POSIX timers."""

    holds_gil = False

    def __init__(self, engine: int) -> None:
        self._engine = engine
        self._needed = 0.0
        self._wake = threading.Event()
        threading.Thread(target=self._run, name="innkeeper ticker", daemon=True).start()

    def need(self, now: float) -> None:
        self._needed = now
        if not self._wake.is_set():
            self._wake.set()

    def rest(self, *, running: bool) -> bool:
        if not running and self._idle():
            self._wake.clear()
            if not self._idle():
                self._wake.set()
        return not self._wake.is_set()

    def _idle(self) -> bool:
        return time.perf_counter() - self._needed > _IDLE

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(TICK)
            capi.engine_increment_epoch(self._engine)


_made: dict[int, Ticker] = {}
_forked = False


def ticker_of(engine: int) -> Ticker:
    """The one ticker of an engine that is never deleted, the best that this system has.

    Args:
        engine: its address.
    """
    ticker = _made.get(engine)
    if ticker is None:
        ticker = _made[engine] = _make(engine)
    return ticker


def _make(engine: int) -> Ticker:
    if sys.platform == "linux" and sys.maxsize > 2**32 and not _forked:
        with contextlib.suppress(OSError, AttributeError):
            return TimerTicker(engine)
    return ThreadTicker(engine)


def _after_fork() -> None:
    # A child inherits neither timer nor thread.  It must not make a timer either: another thread of its parent may
    # have held the C library's lock on timers at that moment, and then nobody in the child will ever release it.
    global _forked
    _forked = True
    _made.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
