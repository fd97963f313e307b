"""As many threads as cores, on which guests that run long take turns by tick."""

from __future__ import annotations

import atexit
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Protocol

import outcome
import trio

from innkeeper.errors import BusyError, UsageError


class Turn(Protocol):
    """What takes turns: a guest with a future.

    Attributes:
        lent: whether a worker has it. Only `Workers` sets it; while it is true nobody else touches the guest.
    """

    lent: bool

    def step(self) -> bool:
        """Polls once, without the GIL. True when trio's thread has to look at it. Never raises."""
        ...

    def abandon(self) -> None:
        """Nobody waits for it any more: frees everything, on the calling thread. Never raises."""
        ...


CLOSED = "the engine is closed: the block of `open_engine` or `open_host` has ended, and with it what it runs"


class _Job:
    __slots__ = ("abandoned", "stop", "task", "token", "turn")

    def __init__(self, turn: Turn, task: trio.lowlevel.Task, token: trio.lowlevel.TrioToken) -> None:
        self.turn = turn
        self.task = task
        self.token = token
        self.stop = False
        self.abandoned = False


class Workers:
    """Threads that poll guests.

    Guarantees: a guest is on one thread at a time; a call that is cancelled waits until its guest is handed back,
    which takes one tick, or the rest of one bulk instruction; a guest whose task is gone for good (the interpreter
    threw its coroutine away) is freed by the thread that has it; no thread is inside of wasmtime when the interpreter
    goes down.
    """

    def __init__(self, count: int) -> None:
        """Args:
        count: threads (int, at least 1); started when first needed.
        """
        self._count = count
        self._queue: queue.SimpleQueue[_Job | Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        # Reentrant: the garbage collector may run inside of it, and free a guest.
        self._lock = threading.RLock()
        self._closed = False
        _alive.add(self)

    async def run(self, turn: Turn) -> None:
        """Lets `turn` take turns until trio's thread has to look at it.

        Raises:
            trio.Cancelled: the call was cancelled; the guest is back and not on any thread.
            UsageError: the engine was closed.
            BusyError: the system starts no thread for it.
        """
        task = trio.lowlevel.current_task()
        job = _Job(turn, task, trio.lowlevel.current_trio_token())
        with self._lock:
            if self._closed:
                raise UsageError(CLOSED)
            self._start_thread()
            turn.lent = True
            self._queue.put(job)

        def abort(_: object) -> trio.lowlevel.Abort:
            job.stop = True
            return trio.lowlevel.Abort.FAILED

        try:
            await trio.lowlevel.wait_task_rescheduled(abort)
        except GeneratorExit:
            with self._lock:
                job.abandoned = turn.lent
            raise
        if job.stop:
            await trio.lowlevel.checkpoint_if_cancelled()
            if self._closed:
                raise UsageError(CLOSED)

    def submit(self, work: Callable[[], None]) -> None:
        """Queues a function of no arguments, which a thread calls once; it must not raise. Where there is no thread,
        it is called here."""
        with self._lock:
            queued = not self._closed and bool(self._threads)
            if queued:
                self._queue.put(work)
        if not queued:
            work()

    def _start_thread(self) -> None:
        # A thread that cannot be started is no error as long as there is one.
        if len(self._threads) >= self._count:
            return
        thread = threading.Thread(target=self._work, name=f"innkeeper worker {len(self._threads) + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not self._threads:
                raise BusyError(
                    f"the host was busy: the system starts no more threads ({error}); try again later",
                    bound="worker threads",
                ) from None
        else:
            self._threads.append(thread)

    def close(self) -> None:
        """Stops the threads and waits for them. Guests that are still queued are freed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        while not self._queue.empty():
            item = self._queue.get()
            if isinstance(item, _Job):
                item.stop = True
                self._hand_back(item)
            elif item is not None:
                item()
        _alive.discard(self)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            self._do(item)
            # A thread that waits for its next item must not keep the last guest alive.
            del item

    def _do(self, item: _Job | Callable[[], None]) -> None:
        if not isinstance(item, _Job):
            item()
            return
        while True:
            ready = item.turn.step()
            if ready or item.stop or item.abandoned:
                self._hand_back(item)
                return
            if not self._queue.empty():
                self._queue.put(item)
                return

    def _hand_back(self, job: _Job) -> None:
        with self._lock:
            job.turn.lent = False
            abandoned = job.abandoned
            if not abandoned:
                try:
                    job.token.run_sync_soon(trio.lowlevel.reschedule, job.task, outcome.Value(None))
                except (trio.RunFinishedError, OSError):
                    # The run is over; after a crash of trio itself its wake-up socket is closed.
                    abandoned = True
        if abandoned:
            job.turn.abandon()


_alive: weakref.WeakSet[Workers] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    # A daemon thread that wants the GIL back while the interpreter goes down is killed inside of a guest's fiber, and
    # the process aborts.  This runs before that.
    for workers in list(_alive):
        workers.close()
