"""What is said of schedules by whoever keeps them and whoever asks: light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from innkeeper.storage.run_model import Account, AfterCrash

MOST_SCHEDULES: Final = 32
"""Schedules of one plugin and owner."""

MOST_OWN: Final = 1000
"""Schedules of one owner that no plugin made."""


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
        paused: whether it does not fire for now.
        priority, after_crash: of the runs that it fires.
        lasting: seconds from when it fires within which its run must have ended, or None.
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
    paused: bool = False
    priority: int = 0
    after_crash: AfterCrash = "interrupt"
    lasting: float | None = None
