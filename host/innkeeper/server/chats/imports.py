"""A chat that somebody brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from innkeeper.server.answers import AnswerError
from innkeeper.server.chats.encoding import tree_of
from innkeeper.server.chats.model import ChatHistoryTree
from innkeeper.server.chats.names import is_session

_WRAPPED = ("tree", "data")
"""Fields in which a chat may lie, beside `projectId`."""


def brought(body: Any) -> tuple[str | None, str, Callable[[str], ChatHistoryTree]]:
    """What a body brings: the project that it names, the session's id in it ("" if it cannot be one here), and what
    makes the tree of an id.

    Everything but a session's id that is taken stays as it was written, version and unknown fields included.

    Raises:
        AnswerError: 422: it has no chat.
    """
    if not isinstance(body, dict):
        raise AnswerError(422, "the body should be a chat as it was exported as JSON")
    project = body.get("projectId") if "nodes" not in body else None
    if project is not None and not isinstance(project, str):
        raise AnswerError(422, "projectId should be text")
    inner = body if "nodes" in body else next((body[name] for name in _WRAPPED if name in body), None)
    if not isinstance(inner, dict):
        raise AnswerError(422, "the body should be a chat as it was exported as JSON, or have one in 'tree'")
    wanted = inner.get("sessionId")

    def made(session: str) -> ChatHistoryTree:
        # What is not read here is not lost: the tree is made of the same data.
        return tree_of({"version": 1, "rootNodeIds": [], **inner, "sessionId": session})

    return project, wanted if isinstance(wanted, str) and is_session(wanted) else "", made
