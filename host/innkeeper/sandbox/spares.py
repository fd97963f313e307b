"""Spare guests: started ahead, for modules that take long to start, and used once.

A guest of a Go plugin takes two milliseconds to become ready for its first call, and hundreds of times what the call
takes. So where starting was seen to be slow, some guests are started while nobody waits for them.

Guarantees: a spare guest serves one call, with the very limits and configuration that it was started with; what it used
while it started counts for that call; spare guests are few, go when they are old, and go first when anything that they
hold is wanted; none is made of a module whose start asks the host for anything, or for a call that may read a real
clock, real random numbers or files.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from innkeeper.errors import BusyError
from innkeeper.sandbox import starting
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.interface import CallOptions

if TYPE_CHECKING:
    from innkeeper.sandbox.guest import Guest
    from innkeeper.sandbox.program import FiberProgram

SLOW = 0.0003
"""Seconds of processor time for starting, from which on spare guests are worth what they hold."""

EACH = 2
"""Spare guests of one plugin."""

AGE = 30.0
"""Seconds after which one that nobody used is ended."""


class Stock:
    """The spare guests of one plugin."""

    __slots__ = ("_born", "_guests", "_options", "_program", "refused")

    def __init__(self, program: FiberProgram) -> None:
        self._program = program
        self._guests: deque[Guest] = deque()
        self._born: deque[float] = deque()
        self._options: CallOptions | None = None
        self.refused = False

    def __len__(self) -> int:
        return len(self._guests)

    @property
    def options(self) -> CallOptions | None:
        """What they were started with, or shall be; None: none are wanted."""
        return self._options

    @property
    def missing(self) -> bool:
        """Whether another one is wanted."""
        return self._options is not None and not self.refused and len(self._guests) < EACH

    def note(self, call: Call) -> None:
        """A guest has been started for `call`, and has done nothing else yet."""
        usage = call.usage
        if call.options.rights is not None:
            return
        if usage.host_calls:
            self.refused = True
        elif usage.cpu >= SLOW and not self.refused and self._options is None:
            # A copy, since a caller may change the mapping that it gave.
            self._options = replace(call.options, config=dict(call.options.config), tape=None)
            self._program.engine.spares.want(self)

    def take(self, call: Call) -> Guest | None:
        """One for this call, or None."""
        wanted = self._options
        if wanted is None:
            return None
        options = call.options
        if options.limits != wanted.limits or options.config != wanted.config or options.rights is not None:
            # How it starts with these is not known yet: the call's own guest will show it. A start may have read the
            # clock that stands still, so no guest that was started without rights serves a call that has some.
            self._options = None
            self.drop()
            return None
        self._program.engine.spares.want(self)
        if not self._guests:
            return None
        guest = self._guests.popleft()
        self._born.popleft()
        call.take_over(guest.call)
        guest.call = call
        return guest

    def keep(self, guest: Guest) -> None:
        """Another one is ready."""
        self._guests.append(guest)
        self._born.append(time.monotonic())

    def drop(self, older_than: float | None = None) -> None:
        """Ends them.

        Args:
            older_than: a time of `time.monotonic` before which they were made; None: all.
        """
        while self._guests and (older_than is None or self._born[0] < older_than):
            self._born.popleft()
            self._guests.popleft().close()

    def start_one(self) -> _Starting:
        """What it takes to start another one."""
        assert self._options is not None
        return _Starting(self, self._program, self._options)


class _Starting:
    """A spare guest on its way."""

    def __init__(self, stock: Stock, program: FiberProgram, options: CallOptions) -> None:
        self._stock, self._program, self._options = stock, program, options

    async def run(self) -> bool:
        """Starts it. False: there was no room for it, or it does not start."""
        program, options = self._program, self._options
        call = Call(starting.START, b"", options)
        call.ahead = True
        guest: Guest | None = None
        ready = False
        try:
            guest = program.spare_guest(call)
            if guest is None:
                return False
            ready = await starting.start(guest)
            if ready:
                # It may wait for long: what it has grown by is counted before.
                guest.check_memory()
            else:
                # It exits while it starts: there is nothing to be called.
                self._stock.refused = True
        except BusyError:
            # It did not fail by itself: there may be room another time.
            ready = False
        except BaseException as error:
            # The clock's own cancellation must not leave the clock's scope: nobody outside would catch it.
            if call.clock.close(error) is None and not isinstance(error, Exception):
                raise
            # A call that starts one for itself says what is wrong.
            self._stock.refused = True
        finally:
            call.clock.close(None)
            ready = ready and not self._stock.refused and self._stock.options is options
            if guest is not None:
                ready = ready and not program.closed and program.places.ample()
                if ready:
                    self._stock.keep(guest)
                else:
                    guest.close()
        return ready


class Spares:
    """Starts the spare guests of all plugins of one engine, one after the other."""

    def __init__(self, most: int) -> None:
        """Args:
        most: spare guests that there may be at once.
        """
        self._most = most
        self._wanting: deque[Stock] = deque()
        self._stocks: set[Stock] = set()
        self._wake: trio.lowlevel.Task | None = None

    def want(self, stock: Stock) -> None:
        """A plugin may need another one. On trio's thread."""
        if self._most and not stock.refused and stock not in self._wanting:
            self._stocks.add(stock)
            self._wanting.append(stock)
            task, self._wake = self._wake, None
            if task is not None:
                trio.lowlevel.reschedule(task)

    def forget(self, stock: Stock) -> None:
        """The plugin is closed."""
        stock.refused = True
        stock.drop()
        self._stocks.discard(stock)
        if stock in self._wanting:
            self._wanting.remove(stock)

    def drop(self, older_than: float | None = None) -> None:
        """Ends spare guests of all plugins; see `Stock.drop`. What is wanted again is asked for again."""
        for stock in self._stocks:
            stock.drop(older_than)

    async def run(self) -> None:
        """Starts what is wanted, for as long as the engine is open."""
        try:
            while True:
                if not self._wanting:
                    with self._sleeping():
                        await trio.lowlevel.wait_task_rescheduled(self._abort)
                    continue
                stock = self._wanting.popleft()
                while stock.missing and self._count() < self._most:
                    if not await stock.start_one().run():
                        break
        finally:
            self.drop()

    @contextmanager
    def _sleeping(self) -> Iterator[None]:
        self._wake = trio.lowlevel.current_task()
        try:
            yield
        finally:
            self._wake = None

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        # It is woken already: nobody else may do so until it runs.
        self._wake = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _count(self) -> int:
        return sum(len(stock) for stock in self._stocks)
