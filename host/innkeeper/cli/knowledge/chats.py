"""Chats that a user names: a JSON array of messages, SillyTavern's JSONL, or lines of "Name: text"."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from innkeeper.knowledge.model.problems import KnowledgeError, Problem

if TYPE_CHECKING:
    from innkeeper.knowledge.activation.interface import Message

MOST_FILE: Final = 64 << 20
"""Bytes of a chat."""

MOST_MESSAGES: Final = 100_000
"""Messages of a chat."""

_ROLES = frozenset({"system", "user", "assistant"})
_LINE = re.compile(r"([^\s:：][^:：\n]{0,63})[:：]\s*(.*)")


def read_chat(data: bytes, source: str, *, character: str = "") -> list[Message]:
    """The messages of a chat, the newest last. Computes up to a second.

    Args:
        data: the file, UTF-8.
        source: its name, for messages.
        character: whose lines are the assistant's, where roles are not said; "assistant" is one always.

    Raises:
        KnowledgeError: it is none of the three, with each line that is wrong.
    """
    if len(data) > MOST_FILE:
        raise KnowledgeError(f"has {len(data):,} bytes; a chat may have {MOST_FILE:,}", source=source)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise KnowledgeError(f"is not UTF-8 (byte {error.start:,})", source=source) from None
    start = text.lstrip()[:1]
    if start == "[":
        found = _read_array(text, source)
    elif start == "{":
        found = _read_lines_of_json(text, source)
    else:
        found = _read_plain(text, character)
    if len(found) > MOST_MESSAGES:
        raise KnowledgeError(f"has {len(found):,} messages; a chat may have {MOST_MESSAGES:,}", source=source)
    return found


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _read_array(text: str, source: str) -> list[Message]:
    values = _parsed(text)
    if not isinstance(values, list):
        raise KnowledgeError("begins like a JSON array of messages, and is no JSON", source=source)
    messages, problems = [], []
    for number, value in enumerate(values):
        message = _message(value)
        if isinstance(message, str):
            problems.append(Problem(f"[{number}]", message))
        else:
            messages.append(message)
    if problems:
        raise KnowledgeError(problems, source=source)
    return messages


def _message(value: Any) -> Message | str:
    """A message of an array, or what is wrong with it."""
    from innkeeper.knowledge.activation.interface import Message

    if not isinstance(value, dict):
        return "is no object with role, name and content"
    role, name, content = value.get("role", "user"), value.get("name", ""), value.get("content")
    if not isinstance(content, str):
        return "has no text as its content"
    if role not in _ROLES:
        return f"its role must be one of {', '.join(sorted(_ROLES))}"
    return Message(content, role, name if isinstance(name, str) else "")


def _read_lines_of_json(text: str, source: str) -> list[Message]:
    from innkeeper.knowledge.activation.interface import Message

    messages, problems = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        value = _parsed(line)
        if not isinstance(value, dict):
            problems.append(Problem("", "is no JSON object", line=number))
        elif "mes" not in value and number == 1:
            continue  # Of the chat itself: who talks, since when.
        elif "mes" not in value and isinstance(message := _message(value), Message):
            messages.append(message)
        elif not isinstance(value.get("mes"), str):
            problems.append(Problem("mes", "is no text", line=number))
        elif not value.get("is_system"):  # Hidden from the prompt.
            name = value.get("name")
            role = "user" if value.get("is_user") else "assistant"
            messages.append(Message(value["mes"], role, name if isinstance(name, str) else ""))
    if problems:
        raise KnowledgeError(problems, source=source)
    return messages


def _read_plain(text: str, character: str) -> list[Message]:
    from innkeeper.knowledge.activation.interface import Message

    spoken: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        said = _LINE.fullmatch(line.strip())
        if said is not None:
            spoken.append((said[1].strip(), [said[2]]))
        elif spoken:
            spoken[-1][1].append(line)
        elif line.strip():
            spoken.append(("", [line]))
    found = []
    for name, lines in spoken:
        role = name.lower() if name.lower() in _ROLES else "assistant" if name and name == character else "user"
        found.append(Message("\n".join(lines).strip(), role, "" if name.lower() in _ROLES else name))
    return found
