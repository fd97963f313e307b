"""Running on trio's thread is earned: who was quick may be polled there, who was not goes to the workers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import trio

SHORT = 0.0005
"""Seconds. A slice below this is cheaper on trio's thread than the two hops to a worker are (about 0.1 ms), and a few
of them in one pass of the loop delay nobody."""

BRIEF = 0.0001
"""Seconds. Of who was below this `BRIEF_ENOUGH` times in a row the time that passes is taken for processor time, which
it never is less than: reading the thread's own clock is a call of the system, and there would be two for each slice."""

BRIEF_ENOUGH = 8

PASS = 0.002
"""Seconds of guests in one pass of trio's loop: a timer is late by at most this and the last slice."""

_PENALTY = 1024

_RATIO, _FORGIVEN, _LONGEST = 200, 60.0, 3600.0

_WOKEN = 64
"""Guests that are let in again in one pass: a fresh one and its call take some 30 us."""

_MORE = 4


class Habit:
    """What is known of one function's slices.

    A function that is not known starts on a worker.  Each long slice doubles the number of short ones that it takes to
    earn trio's thread again (to at most 1,024), so a guest gains nothing by alternating.

    Attributes:
        inline: whether its next slice may run on trio's thread.
        brief: how many of its slices in a row were far below SHORT (`BRIEF`).
    """

    __slots__ = ("_needed", "_streak", "brief", "inline")

    def __init__(self) -> None:
        self._streak = 0
        self._needed = 1
        self.inline = False
        self.brief = 0

    def record(self, seconds: float) -> None:
        """One slice took so long."""
        if seconds < BRIEF:
            self.brief += 1
            self._streak += 1
        elif seconds < SHORT:
            self.brief = min(self.brief, 0)
            self._streak += 1
        else:
            self.brief = min(self.brief, 0)
            self._streak = 0
            self._needed = min(self._needed * 2, _PENALTY)
        self.inline = self._streak >= self._needed

    def doubt(self, elapsed: float) -> None:
        """One slice without its thread's clock was not brief. How much of it was the guest's is not known; the next
        ones will be, and many of them after one that was long."""
        self.brief = 0 if elapsed < SHORT else -_PENALTY


class Lockout:
    """How long a plugin may not run on trio's thread after it was long there.

    A function may be quick a thousand times and then long on purpose.  What it takes, two hundred times as much passes
    before any function of its plugin is let in again, twice that the next time, and so on up to an hour; a minute
    without another slip forgives it.  So a timer's 99th percentile does not notice.

    Attributes:
        clean: whether it never was long there: then `barred` need not be asked.
    """

    __slots__ = ("_slips", "_until", "clean")

    def __init__(self) -> None:
        self._slips = 0
        self._until = 0.0
        self.clean = True

    def barred(self, now: float) -> bool:
        """Whether the plugin has to go to the workers. `now`: seconds of a monotonic clock."""
        return now < self._until

    def slip(self, seconds: float, now: float) -> None:
        """One slice on trio's thread took so long."""
        self.clean = False
        if now > self._until + _FORGIVEN:
            self._slips = 0
        self._until = now + min(seconds * _RATIO * 2**self._slips, _LONGEST)
        self._slips = min(self._slips + 1, 32)


class LoopBudget(trio.abc.Instrument):
    """The time that guests may still take in the current pass of trio's loop.

    Guarantees: who finds nothing left waits for a later pass, first in, first out, and costs those passes nothing.

    Attributes:
        left: seconds; below zero guests wait.
    """

    def __init__(self) -> None:
        self.left = PASS
        self._marked = 0.0
        self._waiting: deque[trio.lowlevel.Task] = deque()
        # How many are woken for one pass, and how many of them found something left.
        self._woken = _WOKEN
        self._served = 0

    def after_io_wait(self, timeout: float) -> None:
        """A pass begins."""
        self.left = PASS

    def mark(self) -> None:
        """Reads the thread's clock. To be called on trio's thread, now and then."""
        self._marked = time.thread_time()

    def since_mark(self) -> float:
        """Seconds of processor time that trio's thread has had since: no slice that ends now had more."""
        return time.thread_time() - self._marked

    @contextmanager
    def charged(self) -> Iterator[None]:
        """The block's time is a guest's: what is left is less by it."""
        before = time.perf_counter()
        try:
            yield
        finally:
            self.left -= time.perf_counter() - before

    async def wait(self) -> None:
        """Waits for a pass with time left. The caller's clock is armed."""
        task = trio.lowlevel.current_task()
        await self._park(task, first=False)
        while self.left <= 0:
            # Others of its pass were before it: it stays the first in line.
            await self._park(task, first=True)
        self._served += 1

    async def _park(self, task: trio.lowlevel.Task, *, first: bool) -> None:
        if first:
            self._waiting.appendleft(task)
        else:
            self._waiting.append(task)
        token = trio.lowlevel.current_trio_token()

        def wake() -> None:
            # In a pass of its own, which may be the next; those who are woken run in the one after it.  As many as
            # found something left the last time and a few more: to be woken in vain costs as much as to be served.
            self._woken = min(self._served + _MORE, _WOKEN)
            self._served = 0
            for _ in range(min(self._woken, len(self._waiting))):
                trio.lowlevel.reschedule(self._waiting.popleft())
            if self._waiting:
                token.run_sync_soon(wake)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        if len(self._waiting) == 1:
            token.run_sync_soon(wake)
        await trio.lowlevel.wait_task_rescheduled(abort)
