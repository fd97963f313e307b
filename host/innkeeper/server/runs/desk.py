"""What the routes of runs keep for the life of a server."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import trio

from innkeeper.server.identity import Identity
from innkeeper.workflow.formats.payload import WorkflowPayload


class ProjectWorkflows(Protocol):
    """Knows the workflows of projects."""

    async def bundled(self, identity: Identity, project: str, payload: WorkflowPayload) -> WorkflowPayload:
        """A payload with those workflows of a project (its id) that its groups and loops refer to.

        Raises:
            AnswerError: 404: there is no such project, or it is somebody else's.
            UsageError: it would be more than a payload may bring.
        """
        ...

    async def folder(self, uid: str, project: str) -> Path:
        """The folder of a user's project on the disk, where its knowledge bases are.

        Raises:
            FileError: there is no such project.
        """
        ...


@dataclass(frozen=True, slots=True)
class RunDesk:
    """One for a server.

    Attributes:
        projects: knows the workflows of projects; None: this server has no projects.
        checking: workflows that are read and checked at the same time, each in a thread: one may have 32 MiB and
            becomes ten times that.
        packing: values of runs that are made into answers at the same time, each in a thread.
        began: when the server began, by the monotonic clock.
    """

    projects: ProjectWorkflows | None = None
    checking: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(2))
    packing: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(2))
    began: float = field(default_factory=time.monotonic)
