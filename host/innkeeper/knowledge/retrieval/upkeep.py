"""Keeps searches quick while the host runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Final
from weakref import WeakSet

import trio

from innkeeper.knowledge.retrieval.retriever import Retriever

logger = logging.getLogger("innkeeper.knowledge")

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
    failed: WeakSet[Retriever] = WeakSet()
    try:
        while True:
            await trio.sleep(every)
            for each in list(retrievers()):
                if each not in failed and each.wants_upkeep:
                    try:
                        # It stops soon after it is told to, and touches nothing that anybody closes.
                        await trio.to_thread.run_sync(each.upkeep, stop, limiter=limiter, abandon_on_cancel=True)
                    except Exception:
                        # Such as a lack of memory: the base is searched on as it is.
                        logger.exception("a search is slower than it could be: its upkeep failed")
                        failed.add(each)
    finally:
        stop.set()
