"""Functions that tasks of trio hand to threads, in order, and wait for."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import outcome
import trio
from sqlalchemy import Connection

from innkeeper.errors import UsageError

T = TypeVar("T")


class Job:
    """One function and the task that waits for it."""

    __slots__ = ("abandoned", "function", "result", "task", "token")

    def __init__(self, function: Callable[[Connection], Any]) -> None:
        self.function = function
        self.task = trio.lowlevel.current_task()
        self.token = trio.lowlevel.current_trio_token()
        self.result: outcome.Outcome[Any] | None = None
        self.abandoned = False
        """Whether the interpreter threw the task away: then nobody may wake it."""


class Jobs:
    """A queue with a bound.

    Guarantees: jobs begin in the order in which they came. A caller that is cancelled before its job began gets
    `trio.Cancelled`, and the job never begins; one that is cancelled later waits for the end, and gets the result.
    So `Cancelled` means that nothing happened. After `close` no job comes in, and the first `bound` of those that
    wait are still done.
    """

    def __init__(self, bound: int, name: str) -> None:
        """Args:
        bound: how many are queued (int); further callers wait outside.
        name: of the database, for messages.
        """
        self._bound = bound
        self._name = name
        # Ordered, and a job that is withdrawn leaves nothing behind. Those after the first `bound` wait outside.
        self._waiting: OrderedDict[Job, None] = OrderedDict()
        # Reentrant: the garbage collector may run anything inside of it.
        self._changed = threading.Condition(threading.RLock())
        self._closed = False

    # Ctrl-C between the two halves of `run` would leave a job that wakes a task which does not sleep.
    @trio.lowlevel.enable_ki_protection
    async def run(self, function: Callable[[Connection], T]) -> T:
        """Waits for its turn and gives what the function returns, or raises what it raises."""
        await trio.lowlevel.checkpoint_if_cancelled()
        job = Job(function)
        with self._changed:
            if self._closed:
                raise self._refusal()
            self._waiting[job] = None
            self._changed.notify()

        def abort(_: object) -> trio.lowlevel.Abort:
            with self._changed:
                if job not in self._waiting:
                    return trio.lowlevel.Abort.FAILED
                del self._waiting[job]
                return trio.lowlevel.Abort.SUCCEEDED

        try:
            return cast(T, await trio.lowlevel.wait_task_rescheduled(abort))
        except GeneratorExit:
            job.abandoned = True
            raise

    def wait(self) -> bool:
        """Waits, on a thread, until there is a job to take (True), or there will be none any more (False)."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            return bool(self._waiting)

    def take(self) -> Job | None:
        """The next job, which has now begun and which the thread will `finish`; None if there is none."""
        with self._changed:
            while self._waiting:
                job, _ = self._waiting.popitem(last=False)
                if not job.abandoned:
                    return job
            return None

    def close(self) -> None:
        """No further job; those that wait outside of the queue are refused."""
        with self._changed:
            self._closed = True
            refused = [self._waiting.popitem()[0] for _ in range(len(self._waiting) - self._bound)]
            self._changed.notify_all()
        for job in refused:
            job.result = outcome.Error(self._refusal())
        finish(refused)

    def _refusal(self) -> UsageError:
        return UsageError(f"the database {self._name!r} is closed: the block of `open_database` has ended")


def finish(jobs: Iterable[Job]) -> None:
    """Wakes the tasks of jobs that have a result: once for each loop of trio. From any thread."""
    loops: dict[trio.lowlevel.TrioToken, list[Job]] = {}
    for job in jobs:
        loops.setdefault(job.token, []).append(job)
    for token, group in loops.items():
        # A loop that has ended has nobody left to be told.
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(_wake, group)


def _wake(jobs: list[Job]) -> None:
    for job in jobs:
        if not job.abandoned and job.result is not None:
            trio.lowlevel.reschedule(job.task, job.result)
