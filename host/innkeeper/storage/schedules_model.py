"""What is said of submitted runs and schedules by whoever keeps them and whoever asks: light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

RunStatus = Literal["queued", "running", "complete", "error", "cancelled", "interrupted"]

MOST_RUNS: Final = 16
"""Runs of one plugin and owner that are queued or running."""

MOST_SCHEDULES: Final = 32
"""Schedules of one plugin and owner."""

KEPT: Final = 86400.0
"""Seconds for which a run that has ended is kept."""

MOST_KEPT: Final = 100
"""Runs of one plugin and owner that have ended and are kept: the newest."""

MOST_KEPT_BYTES: Final = 16 << 20
"""Bytes of their outputs together; the newest are kept."""

MOST_OUTPUTS: Final = 1 << 20
"""Bytes of one run's outputs as msgpack."""

MOST_LISTED: Final = 100
"""Runs that one `list` gives."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whose runs and schedules.

    Attributes:
        owner: whose data it is.
        plugin: id of the plugin.
    """

    owner: str
    plugin: str


@dataclass(frozen=True, slots=True)
class SubmittedRun:
    """A run that a plugin submitted, or that one of its schedules fired.

    Attributes:
        number: grows from run to run; never given twice.
        id: its id.
        account: whose it is.
        name: what the plugin calls it; may be empty.
        status: how it stands.
        generation: how many runs it descends from, itself included: 1 where no run submitted it.
        schedule: id of the schedule that it comes from, or "".
        submitted, started, ended: seconds since 1970; None where it has not begun, or not ended.
    """

    number: int
    id: str
    account: Account
    name: str
    status: RunStatus
    generation: int
    schedule: str
    submitted: float
    started: float | None
    ended: float | None


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a run.

    Attributes:
        run: the run.
        outputs: a msgpack map, or None.
        error: why it failed, as JSON, or None.
    """

    run: SubmittedRun
    outputs: bytes | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a workflow is to run.

    Attributes:
        id: its id.
        account: whose it is.
        name: what the plugin calls it; may be empty.
        expression: when, as cron has it; "" where it fires once.
        timezone: of the expression, such as "Europe/Berlin"; "" where it fires once.
        generation: of the runs that it fires.
        created: seconds since 1970.
        due: when it fires next.
        last: when it last fired, or None.
    """

    id: str
    account: Account
    name: str
    expression: str
    timezone: str
    generation: int
    created: float
    due: float
    last: float | None


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
