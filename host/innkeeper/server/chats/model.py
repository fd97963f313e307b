"""A chat as its file has it. Fields that are not known here survive every change."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
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


class FilePart(BaseModel):
    """A part of the file. Strict: what was read is what is written again."""

    model_config = ConfigDict(extra="allow", strict=True, alias_generator=to_camel)


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
