"""What a worker needs from whatever executes workflows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from innkeeper.bridge.runner import Report
from innkeeper.storage.run_model import StoredRun
from innkeeper.storage.run_reading import Known
from innkeeper.workflow.engine.events import EventSink


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be executed.

    Attributes:
        run: the run.
        job: as it was submitted: msgpack, {"workflow": ..., "inputs": ...}.
        most_outputs: bytes of the outputs; beyond, it fails.
        known: what earlier attempts left; `known.seq` is the number of the last event.
    """

    run: StoredRun
    job: bytes
    most_outputs: int
    known: Known = field(default_factory=Known)


class Executor(Protocol):
    """Executes workflows."""

    async def execute(self, task: Task, sink: EventSink) -> Report:
        """Executes one. The nodes' plugins have their own rights.

        Args:
            task: what.
            sink: takes its events, which begin with the number after `task.known.seq`.

        Raises:
            ProblemsError: it does not check (any more).
            InnkeeperError: it came to nothing for another reason.
            trio.Cancelled: it was cancelled, and its guests have ended.
        """
        ...
