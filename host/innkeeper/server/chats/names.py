"""Names of projects and sessions: parts of paths that clients choose."""

from __future__ import annotations

import re
import secrets
import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

from innkeeper.server.answers import AnswerError

_SESSION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MOST: Final = 200
"""Bytes of a project's id: with what stands behind it a name may have 255."""


def new_session() -> str:
    """The id (str) of a session: 128 random bits."""
    return secrets.token_hex(16)


def new_node() -> str:
    """The id (str) of a message."""
    return secrets.token_hex(12)


def is_session(text: str) -> bool:
    """Whether a text can be the id of a session (bool)."""
    return _SESSION.fullmatch(text) is not None


def is_project(text: str) -> bool:
    """Whether a text can be the id of a project, which is the name of its folder (bool)."""
    if not text or len(text) > _MOST or text[0] == "." or text[-1] in ". ":
        return False
    if any(character in "/\\" or unicodedata.category(character) in ("Cc", "Cs") for character in text):
        return False
    return len(text.encode()) <= _MOST


def session_checked(text: str) -> str:
    """The id of a session.

    Raises:
        AnswerError: 404: no session can have it.
    """
    if not is_session(text):
        raise AnswerError(404, "there is no such chat session")
    return text


def _project(text: str) -> str:
    if not is_project(text):
        raise ValueError("is no project's id: 1 to 200 bytes, no separators, no control characters, no dot at an end")
    return text


ProjectId = Annotated[str, StringConstraints(min_length=1, max_length=_MOST), AfterValidator(_project)]
"""The id of a project, as a client writes it."""

NodeId = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,128}$")]
"""The id of a message. Never a part of a path."""
