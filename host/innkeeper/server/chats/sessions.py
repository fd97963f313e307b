"""What a list of sessions shows of each."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from innkeeper.server.chats.model import ChatHistoryTree, Time


class ChatSession(BaseModel):
    """A session, as a list shows it.

    Attributes:
        id: of the session.
        project_id: its project.
        title, description, tags, settings, created_at, updated_at: of its metadata.
        type: what kind of chat it is.
        message_count: its messages.
        branch_count: messages without an answer.
        token_count: tokens, as its client counted them.
        version: of its tree; null where it cannot be read.
        active_leaf_id: the message at which it goes on.
        error: why it cannot be read.
    """

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    id: str
    project_id: str
    title: str
    description: str | None = None
    created_at: Time | None = None
    updated_at: Time | None = None
    message_count: int = 0
    branch_count: int = 0
    token_count: int = 0
    type: str = "chat"
    tags: list[Any] = []
    settings: Any = None
    version: int | None = None
    active_leaf_id: str | None = None
    error: str | None = None


def summary(project: str, tree: ChatHistoryTree, session: str) -> ChatSession:
    """What is shown of a tree."""
    metadata = tree.metadata
    return ChatSession(
        id=session,
        project_id=project,
        title=metadata.title or session,
        description=metadata.description,
        created_at=metadata.created_at,
        updated_at=metadata.updated_at,
        message_count=len(tree.nodes),
        branch_count=sum(not node.children for node in tree.nodes.values()),
        token_count=int(metadata.token_count or 0),
        type=metadata.type or "chat",
        tags=(metadata.tags or [])[:100],
        settings=metadata.settings,
        version=tree.version,
        active_leaf_id=tree.active_leaf_id,
    )
