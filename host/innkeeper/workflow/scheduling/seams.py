"""What stands between runs and the hosts that execute them, so that these may be several.

Every implementation passes the conformance suite (tests/seams/). All of them deliver at least once: a host that was
paused wakes up and goes on, so whatever a host writes about a run carries its attempt, and is refused once another has
begun.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from innkeeper.errors import InnkeeperError, Kind
from innkeeper.workflow.engine.events import RunEvent

Answer = Literal["accepted", "known", "busy"]
"""What became of a submission: it is queued; it was before; there is no room for it, and it is not."""


class LeaseLostError(InnkeeperError):
    """Another host has the run now, or it has ended: nothing more that this attempt writes is kept."""

    kind = Kind.CANCELLED


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one host to execute a run for a while.

    Attributes:
        run: the run's id.
        number: the run's number in the database.
        holder: id of the host.
        attempt: 1 for the first; no two leases of a run have the same.
        seconds: for how long it counts, from when it was given or extended.
    """

    run: str
    number: int
    holder: str
    attempt: int
    seconds: float


class Dispatch(Protocol):
    """Hands ids of runs to hosts. What a run is and what became of it goes through storage, never through this."""

    async def submit(self, run: str) -> Answer:
        """Offers a run that is in storage. Doing it twice is harmless."""
        ...

    async def claim(self, slots: int, among: Collection[str] | None = None) -> list[Lease]:
        """Takes up to so many runs, the fairest first; empty where there is none.

        Args:
            slots: how many.
            among: ids of those that may be taken; None: all.
        """
        ...

    async def extend(self, leases: Sequence[Lease]) -> list[Lease]:
        """Makes leases count for their full time again; gives those that do. The others are lost."""
        ...

    async def finish(self, lease: Lease) -> None:
        """The run has ended, and is not offered again. Nothing happens where the lease is lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """Gives a run back that has not ended, for others to take at once."""
        ...

    async def wait(self, seconds: float) -> None:
        """Returns as soon as there may be something to claim, or after so many seconds."""
        ...


Reason = Literal["cancelled", "lost"]
"""Why an execution was ended from outside: somebody wanted so; another host has the run."""


class Execution(Protocol):
    """A run that this process executes."""

    @property
    def reason(self) -> Reason | None:
        """Why it was ended from outside, or None."""
        ...


class RunDirectory(Protocol):
    """Which runs this process executes, and how to end them."""

    def executing(self, lease: Lease) -> AbstractAsyncContextManager[Execution]:
        """Around the execution of a run: `cancel` and `lose` end the block from outside, which raises nothing."""
        ...

    def cancel(self, run: str) -> bool:
        """Ends a run because somebody wants so; whether it is one of this process."""
        ...

    def lose(self, run: str) -> None:
        """Ends a run whose lease is lost: nothing more is written of it."""
        ...


@dataclass(frozen=True, slots=True)
class Gone:
    """Events that are not kept any more.

    Attributes:
        first, last: numbers between which chunks of streams are missing.
    """

    first: int
    last: int


class Events(Protocol):
    """The events of runs. Whoever subscribes may be another process than whoever publishes."""

    async def publish(self, lease: Lease, events: Sequence[RunEvent]) -> None:
        """Keeps events, then gives them out.

        Raises:
            LeaseLostError: nothing was kept.
        """
        ...

    def subscribe(self, run: str, after: int = 0) -> AbstractAsyncContextManager[AsyncIterator[RunEvent | Gone]]:
        """The events of a run whose number is larger than `after`, in order, up to its last one. Each comes once."""
        ...


class Leader(Protocol):
    """Which of several hosts does what only one should do. It may be two for a moment: what they do carries the
    epoch, or is a row of which there is one only."""

    async def epoch(self) -> int | None:
        """A number that grows with each change of leader, where this host leads; else None."""
        ...
