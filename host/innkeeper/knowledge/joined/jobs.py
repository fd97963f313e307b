"""Work that may take longer than a guest's call: it goes on whoever waits for it, and whoever waits too long is told to
come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, TypeVar

import trio

from innkeeper.errors import BusyError

PATIENCE: Final = 6.0
"""Seconds that a guest waits: less than a host function may take."""

BOUND: Final = "knowledge"
"""The bound that `BusyError` names."""

T = TypeVar("T")


class _Job:
    def __init__(self, key: Hashable, work: Callable[[], Awaitable[Any]]) -> None:
        self.key = key
        self.work = work
        self.done = trio.Event()
        self.value: Any = None
        self.error: Exception | None = None


class Jobs:
    """Does work in the background of a host, each piece once however many wait for it."""

    def __init__(self, served: bool) -> None:
        """Args:
        served: whether somebody runs `serve`; without, work is done where it is wanted.
        """
        self._served = served
        self._jobs: dict[Hashable, _Job] = {}
        self._new: list[_Job] = []
        self._wake = trio.Event()

    async def done(self, key: Hashable, work: Callable[[], Awaitable[T]], what: str) -> T:
        """What work gives.

        Args:
            key: equal for equal work.
            work: is done.
            what: the subject of the sentence that says that it is not done yet.

        Raises:
            BusyError: it takes longer than `PATIENCE`, and goes on.
            Exception: what the work raises.
        """
        if not self._served:
            return await work()
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _Job(key, work)
            self._new.append(job)
            self._wake.set()
        with trio.move_on_after(PATIENCE):
            await job.done.wait()
        if not job.done.is_set():
            raise BusyError(f"{what} is being made ready: ask again in a moment", bound=BOUND)
        if job.error is not None:
            raise job.error
        value: T = job.value
        return value

    async def serve(self) -> None:
        """Does it, until it is cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                for job in self._new:
                    nursery.start_soon(self._run, job)
                self._new = []

    async def _run(self, job: _Job) -> None:
        try:
            job.value = await job.work()
        except Exception as error:
            job.error = error
        finally:
            # Whoever comes when it is over begins anew.
            del self._jobs[job.key]
        # Not where it was cancelled: it gave nothing.
        job.done.set()
