"""The workers of an engine: how many there are, and which of them wait for another guest of their program."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from innkeeper.errors import BusyError, UsageError
from innkeeper.sandbox.oracle.process import Worker

WORKERS = "extism workers"
"""Name of the bound on worker processes."""

BUSY_PER_CORE = 4
"""Workers with a guest for each of the host's worker threads: most wait in host functions, and a plugin may call
another one from there."""


class Pool:
    """Guarantees: at most `places` workers have a guest and at most `spare` wait for one; a worker serves one program
    only, so what a guest may have broken in it is no other plugin's; when the pool is closed none is left.

    Args:
        cores: as many worker threads as the host may have.
    """

    def __init__(self, cores: int) -> None:
        self.places = cores * BUSY_PER_CORE
        self.spare = cores
        self._free = trio.Semaphore(self.places)
        self._limiter = trio.CapacityLimiter(self.places + self.spare)
        # The one that waits longest is first.
        self._idle: list[tuple[object, Worker]] = []
        self._busy: set[Worker] = set()
        self._dying: list[Worker] = []
        self._closed = False

    @property
    def workers(self) -> int:
        """Processes that live (int)."""
        return len(self._busy) + len(self._idle)

    def check_open(self) -> None:
        """Raises UsageError if it was closed."""
        if self._closed:
            raise UsageError("the engine is closed")

    async def place(self) -> None:
        """Waits for the right to have a worker: the next thing to do is `take`."""
        await self._free.acquire()
        if self._closed:
            self._free.release()
            self.check_open()

    async def take(self, program: object, prepare: Callable[[Worker], Awaitable[None]]) -> Worker:
        """A worker of this program, with the place that the caller has; if it fails, the place is given back.

        Args:
            prepare: makes it ready for a guest; it is a new one, or one that had guests of this program.

        Raises:
            BusyError: the system has no room for another process.
        """
        self._dying = [worker for worker in self._dying if not worker.reap()]
        try:
            worker = self._waiting(program) or Worker(self._limiter)
        except OSError as error:
            self._free.release()
            raise BusyError(f"the system starts no process for a guest: {error.strerror}", bound=WORKERS) from None
        self._busy.add(worker)
        try:
            await prepare(worker)
        except BaseException:
            await self.drop(worker)
            raise
        return worker

    def keep(self, program: object, worker: Worker) -> None:
        """A worker is ready for another guest of the program."""
        self._busy.discard(worker)
        self._free.release()
        if self._closed:
            self._end(worker)
            return
        self._idle.append((program, worker))
        if len(self._idle) > self.spare:
            self._end(self._idle.pop(0)[1])

    async def drop(self, worker: Worker) -> None:
        """A worker serves no more: it is killed and reaped."""
        worker.kill()
        await worker.wait()
        if worker in self._busy:
            self._busy.discard(worker)
            self._free.release()

    def forget(self, program: object) -> None:
        """No more guests of this program come."""
        for known, worker in self._idle:
            if known is program:
                self._end(worker)
        self._idle = [(known, worker) for known, worker in self._idle if known is not program]

    async def aclose(self) -> None:
        """Ends all workers."""
        self._closed = True
        workers = [*self._busy, *(worker for _, worker in self._idle), *self._dying]
        self._idle.clear()
        self._dying.clear()
        for worker in workers:
            worker.kill()
        for worker in workers:
            await worker.wait()

    def _waiting(self, program: object) -> Worker | None:
        for at in reversed(range(len(self._idle))):
            if self._idle[at][0] is program:
                worker = self._idle.pop(at)[1]
                if not worker.reap():
                    return worker
                # Not the guest's doing: the system ended it while it had none.
                worker.kill()
        return None

    def _end(self, worker: Worker) -> None:
        worker.kill()
        self._dying.append(worker)
