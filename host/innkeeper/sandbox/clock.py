"""The wall clock of one call."""

from __future__ import annotations

import math
import time
import weakref
from types import TracebackType

import trio

from innkeeper.errors import BusyError, InnkeeperError, LimitError

WATCH = 0.1
"""Seconds between two looks at the steps that may be near their end."""


class WallClock:
    """Ends a call that takes too long.

    Entering a cancel scope costs trio 10 us, so it is done when the call first waits: `arm`.  Guarantees: the scope is
    entered and left by the call's own task, and whatever a host function opens while it runs lies inside of it.

    Attributes:
        due: when the call's time is over (`time.perf_counter`).
        bound: name of the bound that the call waits for, or None.
    """

    __slots__ = (
        "__weakref__",
        "_begun",
        "_end",
        "_limit",
        "_moved",
        "_reason",
        "_scope",
        "_step",
        "_step_due",
        "_step_limit",
        "_task",
        "_watch",
        "bound",
        "due",
    )

    def __init__(self, limit: float) -> None:
        self._begun = begun = time.perf_counter()
        self._limit = limit
        self.due = begun + limit
        self.bound: str | None = None
        self._moved = False
        # The rest is there when it is armed.
        self._scope: trio.CancelScope | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the call began."""
        return time.perf_counter() - self._begun

    def arm(self) -> None:
        """Makes sure that the call is cancelled at its deadline. To be called before each await."""
        if self._scope is None:
            self._end = trio.current_time() + max(0.0, self.due - time.perf_counter())
            self._step = ""
            self._step_limit = 0.0
            self._step_due = math.inf
            self._watch: Watch | None = None
            self._reason: BaseException | None = None
            scope = trio.CancelScope(deadline=self._end)
            scope.__enter__()
            self._scope = scope
            self._task = trio.lowlevel.current_task()

    def begin_step(self, name: str, seconds: float, watch: Watch) -> None:
        """Bounds the next step, one call of a host function, by a time of its own. The clock is armed.

        Args:
            name: of the host function.
            seconds: that it may take.
            watch: those for whom somebody calls `look` every `WATCH` seconds at least, until they are closed: trio
                takes a microsecond to move a deadline, and most steps end long before theirs.
        """
        self._step, self._step_limit = name, seconds
        self._step_due = time.perf_counter() + seconds
        if seconds < 3 * WATCH:
            self._move()
        elif self._watch is None:
            self._watch = watch
            watch[id(self)] = weakref.ref(self)

    def look(self, now: float) -> None:
        """Moves the deadline if the step's end is near. `now`: of `time.perf_counter`."""
        if not self._moved and self._step_due - now < 3 * WATCH:
            self._move()

    def _move(self) -> None:
        assert self._scope is not None
        end = trio.current_time() + max(0.0, self._step_due - time.perf_counter())
        if end < self._end:
            self._moved = True
            self._scope.deadline = end

    def end_step(self, now: float) -> None:
        """The step is over.

        Args:
            now: of `time.perf_counter`.

        Raises:
            LimitError: it was not in time, though it went on after it had been cancelled.
        """
        # Asking trio whether it has cancelled costs ten times what is asked first.
        if self._moved or self._reason is not None or now >= self.due:
            assert self._scope is not None
            if self._scope.cancel_called:
                raise self._reason or self.error()
            if self._moved:
                self._moved = False
                self._scope.deadline = self._end
        self._step_due = math.inf

    def cancel(self, reason: BaseException) -> None:
        """Cancels the call, which is armed; `reason` is what it then ends with."""
        assert self._scope is not None
        if self._reason is None:
            self._reason = reason
            self._scope.cancel()

    def close(self, error: BaseException | None) -> BaseException | None:
        """Leaves the scope. To be called exactly once, with what ended the call.

        Returns:
            What to raise instead of `error` if it was the clock that ended the call, else None.
        """
        scope, self._scope = self._scope, None
        if scope is None:
            return None
        if self._watch is not None:
            self._watch.pop(id(self), None)
        if not trio.lowlevel.in_trio_task() or trio.lowlevel.current_task() is not self._task:
            # The coroutine was thrown away and its task is gone: the scope goes with it.
            return None
        kind: type[BaseException] | None = type(error) if error is not None else None
        trace: TracebackType | None = error.__traceback__ if error is not None else None
        scope.__exit__(kind, error, trace)
        return (self._reason or self.error()) if scope.cancelled_caught else None

    def error(self) -> InnkeeperError:
        """What to say of a call that took too long."""
        if self.bound is not None:
            return BusyError(
                f"the host was busy: the bound on {self.bound} was not free before the call's deadline of "
                f"{self._limit:g} s; try again later, or raise that bound in innkeeper.toml",
                bound=self.bound,
            )
        if self._moved:
            return LimitError(
                f"a host function took longer than {self._step_limit:g} s (host function {self._step!r}); "
                "the limit is 'host_call'",
                limit="host_call",
                value=self._step_limit,
                used=self._step_limit,
            )
        return LimitError(
            f"the call took longer than {self._limit:g} s of wall-clock time; the limit is 'wall'",
            limit="wall",
            value=self._limit,
            used=self.elapsed,
        )


Watch = dict[int, weakref.ref[WallClock]]
"""The clocks whose steps may be near their end. Weak: a call whose coroutine is thrown away must not stay for this."""
