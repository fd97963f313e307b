"""Keeps searches quick while the host runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Final

import trio

from innkeeper.knowledge.retrieval.retriever import Retriever

EVERY: Final = 1.0
"""Seconds between two looks."""


async def serve(
    retrievers: Callable[[], Iterable[Retriever]], limiter: trio.CapacityLimiter, *, every: float = EVERY
) -> None:
    """Does the upkeep of searches that want it, in a thread, one after the other, until it is cancelled.

    Args:
        retrievers: that are in use now.
        limiter: of the thread.
        every: seconds between two looks.
    """
    stop = threading.Event()
    try:
        while True:
            await trio.sleep(every)
            for each in list(retrievers()):
                if each.wants_upkeep:
                    # It stops soon after it is told to, and touches nothing that anybody closes.
                    await trio.to_thread.run_sync(each.upkeep, stop, limiter=limiter, abandon_on_cancel=True)
    finally:
        stop.set()
