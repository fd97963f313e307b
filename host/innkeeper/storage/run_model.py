"""What is said of runs by whoever keeps them and whoever asks: light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

RunStatus = Literal["queued", "running", "complete", "error", "cancelled", "interrupted"]
AfterCrash = Literal["interrupt", "again"]

USER: Final = "default_user"
"""The local user: whose data it is where a home has one user, and whose everything is that nobody's run or request asks
for."""

MOST_RUNS: Final = 16
"""Runs of one plugin and owner that are queued or running."""

KEPT: Final = 86400.0
"""Seconds for which a plugin's run that has ended is kept."""

MOST_KEPT: Final = 100
"""Runs of one plugin and owner that have ended and are kept: the newest."""

MOST_KEPT_BYTES: Final = 16 << 20
"""Bytes of their outputs together; the newest are kept."""

MOST_TRACED_BYTES: Final = 64 << 20
"""Bytes of their events and of their nodes' results together: of older runs these go, so that a plugin cannot push out
what users want to keep."""

MOST_OUTPUTS: Final = 1 << 20
"""Bytes of the outputs of a plugin's run as msgpack."""

MOST_LISTED: Final = 100
"""Runs that one `list` gives."""

MOST_CRASHES: Final = 3
"""Hosts that may end while they have a run: it is interrupted by then, whatever its policy says. A run that makes its
host end would otherwise end one after the other."""

MOST_PRIORITY: Final = 1000
"""A priority is between this and its negative."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whose runs and schedules.

    Attributes:
        owner: whose data it is.
        plugin: id of the plugin; "": they are the owner's own.
    """

    owner: str
    plugin: str = ""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that somebody wants.

    Attributes:
        id: nobody can guess it, and it is never used twice.
        account: whose it is.
        job: what is to run, as msgpack: {"workflow": ..., "inputs": ...}.
        name: what they call it; may be empty.
        priority: larger goes first among the runs of one account; -1,000 to 1,000.
        deadline: seconds since 1970 by which it must have ended, or None.
        after_crash: what is done where its host ended: "interrupt", or begin "again" with what is known.
        generation: how many runs it descends from, itself included: 1 where no run submitted it.
        schedule: id of the schedule that it comes from, or "".
    """

    id: str
    account: Account
    job: bytes
    name: str = ""
    priority: int = 0
    deadline: float | None = None
    after_crash: AfterCrash = "interrupt"
    generation: int = 1
    schedule: str = ""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as it stands.

    Attributes:
        number: grows from run to run; never given twice.
        id: its id.
        account: whose it is.
        name: what they call it; may be empty.
        status: how it stands.
        cancel: whether somebody wants it to end.
        priority, deadline, after_crash, generation, schedule: as `NewRun`.
        holder: id of the host that has it or had it last, or None.
        attempt: how often it was taken by a host.
        submitted, started, ended: seconds since 1970; None where it has not begun, or not ended.
        seq: number of its last event.
    """

    number: int
    id: str
    account: Account
    name: str
    status: RunStatus
    cancel: bool
    priority: int
    deadline: float | None
    after_crash: AfterCrash
    generation: int
    schedule: str
    holder: str | None
    attempt: int
    submitted: float
    started: float | None
    ended: float | None
    seq: int


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a run.

    Attributes:
        run: the run.
        outputs: a msgpack map, or None.
        error: why it failed, as JSON, or None.
    """

    run: StoredRun
    outputs: bytes | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Fence:
    """What every write about a run that runs carries: it is refused once another host has the run.

    Attributes:
        number: the run's.
        holder: id of the host.
        attempt: for which it took the run.
    """

    number: int
    holder: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A run that a host took.

    Attributes:
        run: as it stands since.
        job: what is to run; empty where it was taken and not loaded yet.
        left: seconds until its deadline, or None; may be negative.
    """

    run: StoredRun
    job: bytes
    left: float | None

    @property
    def fence(self) -> Fence:
        """What its writes carry."""
        return Fence(self.run.number, self.run.holder or "", self.run.attempt)


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """How many may wait.

    Attributes:
        user: runs of one owner that are queued.
        everybody: runs that are queued.
        plugin: runs of one plugin and owner that are queued or running.
    """

    user: int = 1000
    everybody: int = 10_000
    plugin: int = MOST_RUNS


@dataclass(frozen=True, slots=True)
class RunningBounds:
    """How many may run at the same time, over all hosts.

    Attributes:
        user: of one owner.
        plugins: of one owner, those that plugins submitted.
        plugin: of one plugin and owner.
    """

    user: int = 8
    plugins: int = 4
    plugin: int = 3


class TooManyError(Exception):
    """A quota would be exceeded; nothing was written.

    Attributes:
        quota: which (str): "runs" or "schedules".
        value: the quota (int).
    """

    def __init__(self, quota: str, value: int) -> None:
        what = "queued or running: wait for one to end, or cancel one" if quota == "runs" else "kept: remove one"
        super().__init__(f"the plugin's quota of {value} {quota} {what}")
        self.quota = quota
        self.value = value


class StaleError(Exception):
    """Another host has the run, or it has ended: nothing was written."""
