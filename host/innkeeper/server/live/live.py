"""Runs as they go on: what a server keeps for those who watch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from innkeeper.server.identity import Identity
from innkeeper.server.live.board import Board
from innkeeper.server.live.feeds import Feeds


class Editing(Protocol):
    """What an editor asks for through its socket. Each method raises AnswerError where it cannot be done."""

    async def load(self, identity: Identity, project: str, workflow: str) -> dict[str, Any]:
        """A workflow (its id) of a project (its id), as it was stored."""
        ...

    async def save(self, identity: Identity, project: str, workflow: str | None, content: dict[str, Any]) -> Any:
        """Stores a workflow, a new one where `workflow` is None; what is known of it then."""
        ...

    async def listed(self, identity: Identity, project: str) -> list[Any]:
        """What is known of each workflow of a project."""
        ...

    async def definitions(self, identity: Identity) -> bytes:
        """The definitions of all nodes, as a list in JSON."""
        ...


@dataclass(slots=True)
class Live:
    """One for a server.

    Attributes:
        feeds: the events of runs.
        board: what every socket is told.
        editing: projects and nodes, for sockets; None: this server has none.
    """

    feeds: Feeds
    board: Board
    editing: Editing | None = None
