"""Where a session is, and what it is at one time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from innkeeper.server.chats.folder import Stamp
from innkeeper.server.chats.model import ChatHistoryTree


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session is.

    Attributes:
        uid: whose.
        project, session: ids, checked.
    """

    uid: str
    project: str
    session: str

    @property
    def folder(self) -> tuple[str, ...]:
        """The folder of its project's sessions."""
        return ("projects", self.project, "chats")

    @property
    def file(self) -> tuple[str, ...]:
        """Its file."""
        return (*self.folder, f"{self.session}.json")

    @property
    def assets(self) -> tuple[str, ...]:
        """The folder of its assets."""
        return (*self.folder, f"{self.session}.assets")


@dataclass(frozen=True, slots=True)
class Kept:
    """A session as its file has it, shared by all who read it.

    Attributes:
        tree: never changed in place.
        data: the file's bytes.
        stamp: of the file.
    """

    tree: ChatHistoryTree
    data: bytes
    stamp: Stamp

    @property
    def etag(self) -> str:
        """Names this state (str): its version first, which is what a change may carry in `If-Match`."""
        return f'"{self.tree.version}.{self.stamp.inode:x}.{self.stamp.modified:x}"'


def now() -> str:
    """The time as ISO 8601 (str), in UTC, with milliseconds."""
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(math.modf(seconds)[0] * 1000):03d}Z"


def new_tree(session: str, metadata: dict[str, Any]) -> ChatHistoryTree:
    """A chat without messages.

    Args:
        session: its id.
        metadata: as `TreeMetadata` has it on the wire.
    """
    at = now()
    return ChatHistoryTree.model_validate(
        {
            "sessionId": session,
            "version": 1,
            "nodes": {},
            "rootNodeIds": [],
            "activeLeafId": None,
            "metadata": {**metadata, "createdAt": at, "updatedAt": at},
        }
    )
