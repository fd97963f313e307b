"""Wakes a task that waits for work, which may have come while it was busy."""

from __future__ import annotations

import trio


class Bell:
    """Rung any number of times, it wakes its one waiter once, now or as soon as it waits."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        """There is something to do. From trio's thread."""
        self._rung.set()

    async def wait(self, most: float) -> None:
        """Waits until it is rung or was rung since the last wait, `most` seconds at most."""
        with trio.move_on_after(most):
            await self._rung.wait()
        self._rung = trio.Event()
