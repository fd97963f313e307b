"""What an endpoint answered, read strictly: of all that it says only what is known gets on, each part of its type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from innkeeper.bridge.codec import parse_json
from innkeeper.bridge.inference.faults import unusable
from innkeeper.bridge.inference.messages import MOST_TOOLS
from innkeeper.bridge.scan import DataBounds, MalformedError
from innkeeper.bridge.secret_placing import Placing
from innkeeper.sandbox.limits import KIB, MIB

MOST_CHAT: Final = 2 * MIB
"""Bytes of an answer: some 128,000 tokens, however they are written."""

MOST_EVENT: Final = 256 * KIB
"""Bytes of one event of an answer that comes in pieces."""

_CHAT = DataBounds(size=MOST_CHAT, depth=32, elements=20_000)
_EVENT = DataBounds(size=MOST_EVENT, depth=32, elements=2_000)
_MOST_COUNT: Final = 100_000_000
_REASON = re.compile(r"[a-z_]{1,32}")


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one request.

    Attributes:
        prompt: of what was asked.
        completion: of what was answered.
        estimated: whether the endpoint did not report them.
    """

    prompt: int
    completion: int = 0
    estimated: bool = False

    @property
    def total(self) -> int:
        return self.prompt + self.completion

    def as_value(self) -> dict[str, Any]:
        """What the guest gets."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "estimated": self.estimated,
        }


@dataclass(frozen=True, slots=True)
class Chat:
    """An answer.

    Attributes:
        message: role, content and, where there are, tool_calls.
        finish_reason: why it ends, or None.
        usage: as it was reported, or None.
    """

    message: dict[str, Any]
    finish_reason: str | None
    usage: TokenUsage | None

    @property
    def size(self) -> int:
        """Bytes of the answer, about (int)."""
        calls = self.message.get("tool_calls", ())
        said = len((self.message["content"] or "").encode())
        return said + sum(len(call["function"]["arguments"].encode()) + 100 for call in calls)


@dataclass(frozen=True, slots=True)
class Piece:
    """One event of an answer that comes in pieces.

    Attributes:
        text: what comes next of the content.
        calls: parts of calls of tools, by their number.
        finish_reason: why the answer ends, once it does.
        usage: as it was reported, or None.
    """

    text: str = ""
    calls: tuple[tuple[int, dict[str, str]], ...] = ()
    finish_reason: str | None = None
    usage: TokenUsage | None = None


def read_chat(body: bytes | bytearray, placing: Placing) -> Chat:
    """An answer as a whole. May take some milliseconds.

    Raises:
        EndpointError: it is none.
        WebError: a secret stands in it.
    """
    data = parsed(bytes(body), _CHAT)
    choice = _first(data)
    if choice is None:
        raise unusable("the answer has no choice")
    said = choice.get("message")
    if not isinstance(said, dict):
        raise unusable("the answer has no message")
    content = said.get("content")
    if not isinstance(content, str | None):
        raise unusable("the content of its message is no text")
    message: dict[str, Any] = {"role": "assistant", "content": content}
    calls = said.get("tool_calls")
    if calls:
        if not isinstance(calls, list) or len(calls) > MOST_TOOLS:
            raise unusable("its calls of tools are no list, or too many")
        message["tool_calls"] = [_call(each) for each in calls]
    check_message(message, placing)
    return Chat(message, _reason(choice), usage_of(data))


def read_piece(data: bytes) -> Piece:
    """One event of an answer that comes in pieces.

    Raises:
        EndpointError: it is none, or says that the endpoint failed.
    """
    event = parsed(data, _EVENT)
    if event.get("error"):
        raise unusable("it failed in the midst of the answer")
    choice = _first(event)
    if choice is None:
        return Piece(usage=usage_of(event))
    delta = choice.get("delta")
    if not isinstance(delta, dict | None):
        raise unusable("a piece of the answer is not one")
    content = (delta or {}).get("content")
    if not isinstance(content, str | None):
        raise unusable("a piece of the answer is no text")
    calls = (delta or {}).get("tool_calls") or []
    if not isinstance(calls, list):
        raise unusable("its calls of tools are no list")
    return Piece(content or "", tuple(map(_part, calls)), _reason(choice), usage_of(event))


def check_message(message: Mapping[str, Any], placing: Placing) -> None:
    """Raises WebError where a secret stands in a message."""
    placing.check_text(message["content"] or "")
    for call in message.get("tool_calls", ()):
        placing.check_text(call["function"]["arguments"])
        placing.check_text(f"{call['id']} {call['function']['name']}")


def usage_of(data: Mapping[str, Any], *, answers: bool = True) -> TokenUsage | None:
    """The tokens that an answer reports, or None where it reports none that can be.

    Args:
        data: what the endpoint said.
        answers: whether it wrote something, and must say how much: what is not said is no 0.
    """
    usage = data.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens", None if answers else 0)
    if not (_count(prompt) and _count(completion)):
        return None
    assert isinstance(prompt, int)
    assert isinstance(completion, int)
    return TokenUsage(prompt, completion)


def parsed(data: bytes, bounds: DataBounds) -> dict[str, Any]:
    """The object that an endpoint said.

    Raises:
        EndpointError: it is none, or beyond the bounds.
    """
    try:
        found = parse_json(data, bounds)
    except (MalformedError, RecursionError):
        raise unusable("what it says is not JSON, or too much of it") from None
    if not isinstance(found, dict):
        raise unusable("what it says is no JSON object")
    return found


def _first(data: Mapping[str, Any]) -> dict[str, Any] | None:
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        return None
    if not isinstance(choices[0], dict):
        raise unusable("its choice is none")
    return choices[0]


def _reason(choice: Mapping[str, Any]) -> str | None:
    reason = choice.get("finish_reason")
    if reason is None:
        return None
    return reason if isinstance(reason, str) and _REASON.fullmatch(reason) is not None else "other"


def _call(given: object) -> dict[str, Any]:
    function = given.get("function") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(function, dict):
        raise unusable("one of its calls of tools is none")
    id, name, arguments = given.get("id") or "", function.get("name"), function.get("arguments") or ""
    if not (isinstance(id, str) and isinstance(name, str) and isinstance(arguments, str)):
        raise unusable("one of its calls of tools is none")
    return made_call(id, name, arguments)


def made_call(id: str, name: str, arguments: str) -> dict[str, Any]:
    """A call of a tool as guests get it, and may give it back in a message."""
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _part(given: object) -> tuple[int, dict[str, str]]:
    if not isinstance(given, dict):
        raise unusable("one of its calls of tools is none")
    index, function = given.get("index", 0), given.get("function") or {}
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < MOST_TOOLS:
        raise unusable("its calls of tools are too many")
    if not isinstance(function, dict):
        raise unusable("one of its calls of tools is none")
    found = {"id": given.get("id"), "name": function.get("name"), "arguments": function.get("arguments")}
    if not all(isinstance(each, str | None) for each in found.values()):
        raise unusable("one of its calls of tools is none")
    return index, {key: each for key, each in found.items() if each is not None}


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_COUNT
