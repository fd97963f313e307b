"""What clients send about chats, and what they are answered."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final, Literal

from fastapi import Header, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from innkeeper.server.answers import AnswerError
from innkeeper.server.chats import bounds
from innkeeper.server.chats.exports import Format
from innkeeper.server.chats.model import ChatMessageNode, Content, Description, Role, SessionType, Status, Tags, Title
from innkeeper.server.chats.names import NodeId, ProjectId

Version = Annotated[int, Field(ge=0, le=2**53 - 1, strict=True)]
_MATCH: Final = re.compile(r'"(\d{1,16})(?:\.[0-9a-f.]{1,64})?"')


class Wire(BaseModel):
    """A body or an answer. Names are in camel case; a body's unknown fields are not looked at."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class Change(Wire):
    """A change.

    Attributes:
        version: of the tree from which it was made; else the header `If-Match` says it.
    """

    version: Version | None = None


class NewSession(Wire):
    """A session that is to be made."""

    project_id: ProjectId
    title: Title | None = None
    description: Description | None = None
    tags: Tags | None = None
    settings: dict[str, Any] | None = None
    type: SessionType | None = None


class SessionChange(Change):
    """What is to be another in the metadata of a session; `name` is what some clients call the title."""

    title: Title | None = None
    name: Title | None = None
    description: Description | None = None
    tags: Tags | None = None
    settings: dict[str, Any] | None = None
    type: SessionType | None = None
    token_count: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = None


class NewMessage(Change):
    """A message that is to be added. Without `parentId` it answers the active leaf; null makes it a root."""

    id: NodeId | None = None
    parent_id: NodeId | None = None
    role: Role
    content: Content
    status: Status | None = None
    is_enabled: bool = True
    metadata: dict[str, Any] | None = None
    attachments: Annotated[list[Any], Field(max_length=100)] | None = None


class TreeEdit(Change):
    """A change of the tree: `prune` takes messages out with all below them, `delete` without, `graft` moves
    `sourceNodeId` below `targetNodeId` (null or absent: to the roots), `enable` and `disable` make messages count or
    not. All but `graft` concern `nodeIds`, or else `sourceNodeId`."""

    type: Literal["prune", "graft", "enable", "disable", "delete"]
    source_node_id: NodeId | None = None
    target_node_id: NodeId | None = None
    node_ids: Annotated[list[NodeId], Field(min_length=1, max_length=bounds.MOST_NODES)] | None = None

    @property
    def named(self) -> list[str]:
        """The messages that it concerns.

        Raises:
            AnswerError: 422: it names none.
        """
        found = self.node_ids or ([self.source_node_id] if self.source_node_id is not None else [])
        if not found:
            raise AnswerError(422, f"{self.type!r} needs nodeIds or sourceNodeId")
        return found


class NodeChange(Change):
    """What is to be another in a message."""

    is_enabled: bool | None = None
    status: Status | None = None
    content: Content | None = None
    metadata: dict[str, Any] | None = None
    error: Any = None


class LeafChange(Change):
    """Where the chat is to go on; null: nowhere yet."""

    node_id: NodeId | None = None
    active_leaf_id: NodeId | None = None


class Changed(Wire):
    """What a change led to.

    Attributes:
        version: of the tree now; the next change is made from it.
        active_leaf_id: where the chat goes on.
        root_node_ids: messages that answer nothing.
        message_count: how many there are.
    """

    version: int
    active_leaf_id: str | None
    root_node_ids: list[str]
    message_count: int


class ChangedNode(Changed):
    """The same, with a message that was added or changed."""

    node: ChatMessageNode


class ExportAsked(Wire):
    """In which format a chat is wanted."""

    format: Format = "json"


ProjectAsked = Annotated[ProjectId | None, Query(alias="projectId", description="The session's project.")]
Match = Annotated[
    str | None,
    Header(alias="If-Match", max_length=200, description='The version of which the change is made: "12", or an ETag.'),
]


def version_of(change: Change | int | None, match: str | None) -> int:
    """The version from which a change was made.

    Raises:
        AnswerError: 428: it says none; 422: `If-Match` is none.
    """
    version = change.version if isinstance(change, Change) else change
    if version is not None:
        return version
    if match is None:
        raise AnswerError(428, "a change says the version from which it was made: 'version', or the header If-Match")
    found = _MATCH.fullmatch(match.strip())
    if found is None:
        raise AnswerError(422, "If-Match should be the ETag of a chat, or its version in quotation marks")
    return int(found[1])


def check_extra(*values: Any) -> None:
    """Makes sure of what a message or session carries beside its text.

    Raises:
        AnswerError: 413: it is longer than `MOST_EXTRA`.
    """
    size = sum(len(json.dumps(value, ensure_ascii=False).encode()) for value in values if value is not None)
    if size > bounds.MOST_EXTRA:
        raise AnswerError(413, f"metadata, settings and the like have at most {bounds.MOST_EXTRA:,} bytes as JSON")
