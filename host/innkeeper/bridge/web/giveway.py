"""Work in small steps on trio's thread: others get their turn by elapsed time, not by step."""

from __future__ import annotations

import time

import trio

_STRETCH = 0.001
"""Seconds of work in one go."""


class GiveWay:
    """Says when it is somebody else's turn."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def begin(self) -> None:
        """A stretch of work begins now: its task was waiting until here."""
        self._since = time.perf_counter()

    async def often(self) -> None:
        """To be called after each step: gives way once the stretch was long enough."""
        if time.perf_counter() - self._since > _STRETCH:
            await trio.lowlevel.checkpoint()
            self._since = time.perf_counter()
