"""File calls, off trio's thread, few at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")

_FILE_CALLS = 8
"""File calls that run at once in one run of trio. More threads only queue at the disk."""

_slots: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("innkeeper.wasi.slots")
_threads: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("innkeeper.wasi.threads")


class OnThread(Protocol):
    """Runs blocking work in a thread and returns its result."""

    async def __call__(self, work: Callable[[], T]) -> T: ...


@asynccontextmanager
async def file_call() -> AsyncIterator[OnThread]:
    """One of the few file calls that run at once; the block gets what runs its work in a thread.

    Buffers that are made inside of the block exist at most as often as there are slots. Work that has started is
    waited for even when the call is cancelled: once a call has ended, nothing of it touches a file any more.
    """
    async with _limiter(_slots):
        yield _on_thread


async def _on_thread(work: Callable[[], T]) -> T:
    # Never waits for a free thread: there are as many as slots.
    return await trio.to_thread.run_sync(work, limiter=_limiter(_threads))


def _limiter(variable: trio.lowlevel.RunVar[trio.CapacityLimiter]) -> trio.CapacityLimiter:
    try:
        return variable.get()
    except LookupError:
        limiter = trio.CapacityLimiter(_FILE_CALLS)
        variable.set(limiter)
        return limiter


async def on_thread(work: Callable[[], T]) -> T:
    """Runs `work` as one file call that needs no buffer."""
    async with file_call() as run:
        return await run(work)
