"""Projects and shared workflows of a server, for whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from innkeeper.server.answers import AnswerError
from innkeeper.server.files.logical import LogicalPath
from innkeeper.server.files.names import shown
from innkeeper.server.files.problems import FileError
from innkeeper.server.files.roots import SHARED_WORKFLOWS
from innkeeper.server.files.store import Files
from innkeeper.server.identity import Identity
from innkeeper.server.projects.index import Index
from innkeeper.server.projects.projects import Projects
from innkeeper.server.projects.templates import SHARED, Templates
from innkeeper.server.projects.workflows import Workflows
from innkeeper.workflow.formats.bundle import bundle
from innkeeper.workflow.formats.payload import PAYLOAD_BOUNDS, WorkflowPayload


class ProjectDesk:
    """One for a server."""

    def __init__(self, files: Files) -> None:
        """Args:
        files: of the server.
        """
        self.files = files
        self._index = Index()

    def of(self, uid: str) -> Projects:
        """The projects of a user, whose methods block."""
        return Projects(self.files.user(uid), self.templates(), self._index)

    def templates(self) -> Templates:
        """What projects begin with, whose methods block."""
        return Templates(self.files.tree("", SHARED))

    def shared_workflows(self) -> Workflows:
        """The workflows of `shared://library/workflows`, whose methods block."""
        return Workflows(self.files.tree("", SHARED_WORKFLOWS), SHARED_WORKFLOWS, self._index)

    async def bundled(self, identity: Identity, project: str, payload: WorkflowPayload) -> WorkflowPayload:
        """A payload with those workflows of a project that its groups and loops refer to, and those that they refer to.

        Args:
            identity: whose project it is.
            project: its id.
            payload: the workflow; it is not changed.

        Raises:
            AnswerError: 404: there is no such project, or it is somebody else's; 409: several workflows have one id;
                413: they are too large together.
            UsageError: there are more workflows than a payload can bring.
        """
        try:
            return await self.files.run_large(self._bundled, identity.uid, project, payload)
        except FileError as problem:
            raise AnswerError(problem.status, problem.message, problem.details) from None

    async def folder(self, uid: str, project: str) -> Path:
        """The folder of a project on the disk, where its knowledge bases are.

        Raises:
            FileError: there is no such project.
        """
        return await self.files.run_large(self.of(uid).path, project)

    def _bundled(self, uid: str, project: str, payload: WorkflowPayload) -> WorkflowPayload:
        return bundle(payload, _Source(self.of(uid).workflows(project)))


class _Source:
    """The workflows of a project, for groups and loops."""

    def __init__(self, workflows: Workflows) -> None:
        self._workflows = workflows
        self._found: dict[str, list[LogicalPath]] | None = None
        # As many as a workflow that somebody sends may bring: a few small ones must not name many large ones.
        self._left = PAYLOAD_BOUNDS.size

    def find(self, id: str) -> Mapping[str, Any] | None:
        """As `WorkflowSource.find`."""
        if self._found is None:
            self._found = {}
            for path, summary in self._workflows.summaries():
                self._found.setdefault(summary.id, []).append(path)
        paths = self._found.get(id, [])
        if len(paths) > 1:
            raise FileError("taken", f"several files have the workflow {shown(id)}: {paths[0]} and {paths[1]}")
        if not paths:
            return None
        found = self._workflows.read(paths[0])
        self._left -= len(found.data)
        if self._left < 0:
            raise FileError(
                "large", f"the workflows that a run brings along have more than {PAYLOAD_BOUNDS.size:,} bytes"
            )
        return found.value
