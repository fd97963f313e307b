"""Which runs this process executes, and how to end them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from innkeeper.workflow.scheduling.seams import Lease, Reason


@dataclass(slots=True)
class Executing:
    """A run that is executed.

    Attributes:
        lease: the right to do so.
        scope: ends it.
        reason: why it was ended from outside, or None.
    """

    lease: Lease
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    reason: Reason | None = None


class Directory:
    """Implements `seams.RunDirectory`. From trio's thread alone."""

    def __init__(self) -> None:
        self._executing: dict[str, Executing] = {}

    @property
    def leases(self) -> list[Lease]:
        """Of all runs that are executed (list of Lease)."""
        return [each.lease for each in self._executing.values()]

    @asynccontextmanager
    async def executing(self, lease: Lease) -> AsyncIterator[Executing]:
        """As `RunDirectory.executing`."""
        execution = self._executing[lease.run] = Executing(lease)
        try:
            with execution.scope:
                yield execution
        finally:
            # A later attempt of the same run may have begun here meanwhile.
            if self._executing.get(lease.run) is execution:
                del self._executing[lease.run]

    def cancel(self, run: str) -> bool:
        """As `RunDirectory.cancel`."""
        return self._end(run, "cancelled")

    def lose(self, run: str, attempt: int | None = None) -> None:
        """As `RunDirectory.lose`.

        Args:
            run: its id.
            attempt: the one that is lost; None: whichever it is.
        """
        found = self._executing.get(run)
        if found is not None and attempt in (None, found.lease.attempt):
            # Stronger than a wish to end it: nothing more may be written.
            found.reason = "lost"
            found.scope.cancel()

    def _end(self, run: str, reason: Reason) -> bool:
        found = self._executing.get(run)
        if found is None:
            return False
        if found.reason is None:
            found.reason = reason
        found.scope.cancel()
        return True
