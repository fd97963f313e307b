"""A chat as its file has it. Fields that are not known here survive every change."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints
from pydantic.alias_generators import to_camel

from innkeeper.server.chats import bounds
from innkeeper.server.chats.names import NodeId

Role = Literal["user", "assistant", "system"]
Status = Literal["generating", "complete", "error"]
SessionType = Literal["chat", "roleplay", "task", "other"]
Content = Annotated[str, StringConstraints(max_length=bounds.MOST_CONTENT)]
Title = Annotated[str, StringConstraints(max_length=bounds.MOST_TITLE)]
Description = Annotated[str, StringConstraints(max_length=bounds.MOST_DESCRIPTION)]
Tags = Annotated[
    list[Annotated[str, StringConstraints(max_length=bounds.MOST_TAG)]], Field(max_length=bounds.MOST_TAGS)
]
Time = str | int | float
"""A date as ISO 8601; milliseconds since 1970 are left as they are."""


_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')


class FilePart(BaseModel):
    """A part of the file. Strict: what was read is what is written again. Frozen: trees share their parts."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, alias_generator=to_camel)


@dataclass(frozen=True, slots=True)
class Written:
    """A message as its file has it.

    Attributes:
        of: identity of the message whose text it is.
        text: JSON in UTF-8.
        values: in it, containers and keys included.
    """

    of: int
    text: bytes
    values: int


class ChatMessageNode(FilePart):
    """A message of the tree.

    Attributes:
        id: of no other message of its tree.
        parent_id: the message that it answers, None for the first of a chat.
        role: who says it.
        content: what they say.
        status: whether it is still being written.
        is_enabled: whether it counts for what follows.
        created_at, updated_at: dates.
        metadata, error, attachments: of whoever wrote it; plain data.
        children: ids of the answers to it, the oldest first.
    """

    id: NodeId
    parent_id: NodeId | None = None
    role: Role
    content: Content
    status: Status | None = None
    is_enabled: bool = True
    created_at: Time | None = None
    updated_at: Time | None = None
    metadata: dict[str, Any] | None = None
    children: Annotated[list[NodeId], Field(max_length=bounds.MOST_NODES)] = Field(default_factory=list)
    error: Any = None
    attachments: Annotated[list[Any], Field(max_length=1_000)] | None = None
    _written: Written | None = PrivateAttr(None)

    def written(self) -> Written:
        """It as JSON, which is made once. It computes, and blocks."""
        found = self._written
        # A copy with other fields takes the private ones along: it is no more the one whose text that is.
        if found is None or found.of != id(self):
            text = self.model_dump_json(by_alias=True, exclude_unset=True).encode()
            found = self._written = Written(id(self), text, _values(text))
        return found


class TreeMetadata(FilePart):
    """What is known of a session.

    Attributes:
        title, description: for people.
        created_at, updated_at: dates.
        token_count: tokens of the chat, as its client counted them.
        tags: for people.
        settings: of its client; plain data.
        type: what kind of chat it is.
    """

    title: str | None = None
    description: str | None = None
    created_at: Time | None = None
    updated_at: Time | None = None
    token_count: int | float | None = None
    tags: list[Any] | None = None
    settings: Any = None
    type: str | None = None


class ChatHistoryTree(FilePart):
    """All messages of a session, with every branch.

    Attributes:
        session_id: the session.
        version: grows by one with each change.
        nodes: messages by id.
        root_node_ids: ids of the messages that answer nothing.
        active_leaf_id: the message at which the chat goes on, or None.
        metadata: of the session.
        assets: of its client; plain data.
    """

    session_id: str
    version: Annotated[int, Field(ge=0, le=2**53 - 2)]
    nodes: dict[NodeId, ChatMessageNode]
    root_node_ids: Annotated[list[NodeId], Field(max_length=bounds.MOST_NODES)]
    active_leaf_id: NodeId | None = None
    metadata: TreeMetadata = Field(default_factory=TreeMetadata)
    assets: Any = None


def _values(text: bytes) -> int:
    """How many values JSON has: each follows a bracket, a comma or a colon, or is the outermost."""
    marks = _STRING.sub(b"", text)
    return 1 + sum(marks.count(mark) for mark in (b"[", b"{", b",", b":"))
