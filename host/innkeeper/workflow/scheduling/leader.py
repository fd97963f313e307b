"""Leadership in the database."""

from __future__ import annotations

import trio

from innkeeper.storage.leaders import LeaderStore


class SqlLeader:
    """Implements `seams.Leader`. A host that leads asks the database each third of the time for which it does."""

    def __init__(self, store: LeaderStore, name: str, holder: str, *, seconds: float) -> None:
        """Args:
        store: of leaderships.
        name: of what.
        holder: id of this host.
        seconds: for how long one leads without asking.
        """
        self._store = store
        self._name = name
        self._holder = holder
        self._seconds = seconds
        self._epoch: int | None = None
        self._asked = float("-inf")

    async def epoch(self) -> int | None:
        """As `Leader.epoch`."""
        now = trio.current_time()
        if self._epoch is None or now >= self._asked + self._seconds / 3:
            # From before the question: the database counts from later.
            self._asked = now
            self._epoch = None
            self._epoch = await self._store.lead(self._name, self._holder, self._seconds)
        return self._epoch

    async def resign(self) -> None:
        """Lets another host lead at once."""
        if self._epoch is not None:
            self._epoch = None
            await self._store.resign(self._name, self._holder)
