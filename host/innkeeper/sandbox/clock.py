"""The wall clock of one call."""

from __future__ import annotations

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
        stage: what the call waits for, for the message: the name of a bound, "host function" or "the guest".
    """

    __slots__ = (
        "__weakref__",
        "_begun",
        "_end",
        "_limit",
        "_moved",
        "_reason",
        "_scope",
        "_step_end",
        "_step_limit",
        "_task",
        "_watch",
        "stage",
        "waits_for_bound",
    )

    def __init__(self, limit: float) -> None:
        self._begun = time.perf_counter()
        self._limit = limit
        self._scope: trio.CancelScope | None = None
        self._task: trio.lowlevel.Task | None = None
        self._end = 0.0
        self._step_limit: float | None = None
        self._step_end = 0.0
        self._moved = False
        self._watch: Watch | None = None
        self._reason: BaseException | None = None
        self.stage = "the guest"
        self.waits_for_bound = False

    @property
    def elapsed(self) -> float:
        """Seconds since the call began."""
        return time.perf_counter() - self._begun

    def arm(self) -> None:
        """Makes sure that the call is cancelled at its deadline. To be called before each await."""
        if self._scope is None:
            self._end = trio.current_time() + max(0.0, self._limit - self.elapsed)
            scope = trio.CancelScope(deadline=self._end)
            scope.__enter__()
            self._scope = scope
            self._task = trio.lowlevel.current_task()

    def begin_step(self, seconds: float, watch: Watch) -> None:
        """Bounds the next step, one host call, by a time of its own. The clock is armed.

        Args:
            seconds: that it may take.
            watch: those for whom somebody calls `look` every `WATCH` seconds at least: trio takes a microsecond to
                move a deadline, and most steps end long before theirs.
        """
        self._step_limit = seconds
        self._step_end = time.perf_counter() + seconds
        if seconds < 3 * WATCH:
            self._move()
        else:
            self._watch = watch
            watch[id(self)] = weakref.ref(self)

    def look(self, now: float) -> None:
        """Moves the deadline if the step's end is near. `now`: of `time.perf_counter`."""
        if self._step_limit is not None and self._step_end - now < 3 * WATCH:
            self._move()

    def _move(self) -> None:
        assert self._scope is not None
        self._unwatch()
        end = trio.current_time() + max(0.0, self._step_end - time.perf_counter())
        if end < self._end:
            self._moved = True
            self._scope.deadline = end

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.pop(id(self), None)
            self._watch = None

    def end_step(self) -> None:
        """The step is over.

        Raises:
            LimitError: it was not in time, though it went on after it had been cancelled.
        """
        if self._step_limit is not None and self._scope is not None:
            self._unwatch()
            if self._scope.cancel_called:
                raise self._reason or self.error()
            self._step_limit = None
            if self._moved:
                self._moved = False
                self._scope.deadline = self._end

    def cancel(self, reason: BaseException) -> None:
        """Cancels the call, which is armed; `reason` is what it then ends with."""
        assert self._scope is not None
        if self._reason is None:
            self._reason = reason
            self._scope.cancel()

    def expired(self) -> bool:
        """Whether the limit has passed, for a call that did not need to wait yet."""
        return self.elapsed > self._limit

    def close(self, error: BaseException | None) -> BaseException | None:
        """Leaves the scope. To be called exactly once, with what ended the call.

        Returns:
            What to raise instead of `error` if it was the clock that ended the call, else None.
        """
        scope, self._scope = self._scope, None
        if scope is None:
            return None
        self._unwatch()
        if not trio.lowlevel.in_trio_task() or trio.lowlevel.current_task() is not self._task:
            # The coroutine was thrown away and its task is gone: the scope goes with it.
            return None
        kind: type[BaseException] | None = type(error) if error is not None else None
        trace: TracebackType | None = error.__traceback__ if error is not None else None
        scope.__exit__(kind, error, trace)
        return (self._reason or self.error()) if scope.cancelled_caught else None

    def error(self) -> InnkeeperError:
        """What to say of a call that took too long."""
        if self.waits_for_bound:
            return BusyError(
                f"the host was busy: the bound on {self.stage} was not free before the call's deadline of "
                f"{self._limit:g} s; try again later, or raise that bound in innkeeper.toml",
                bound=self.stage,
            )
        if self._step_limit is not None and self._moved:
            return LimitError(
                f"a host function took longer than {self._step_limit:g} s ({self.stage}); the limit is 'host_call'",
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
