"""A request to a model, ready to be sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import trio

from innkeeper.bridge.inference.budget import estimate
from innkeeper.bridge.inference.endpoints import Model
from innkeeper.bridge.inference.messages import MOST_TEXT, as_json
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.sandbox.limits import KIB

SMALL: Final = 8 * KIB
"""Bytes that are coded on trio's thread: some 0.1 ms."""

_MOST_BODY: Final = 2 * MOST_TEXT


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        body: JSON.
        prompt: tokens of it, about.
        digest: tells it from every other.
    """

    body: bytes
    prompt: int
    digest: bytes


async def chat_question(
    model: Model,
    messages: Sequence[Mapping[str, Any]],
    max_tokens: int,
    chosen: Mapping[str, Any],
    *,
    stream: bool = False,
) -> Question:
    """A question to be answered.

    Args:
        model: who is asked.
        messages: checked.
        max_tokens: of the answer.
        chosen: what else the guest said, by the API's names; None: it did not.
        stream: whether the answer is to come in pieces.

    Raises:
        ServiceError: it is too long, or cannot be written as JSON.
    """
    size = sum(len((message.get("content") or "").encode()) for message in messages)
    if size > MOST_TEXT:
        raise ServiceError(Refusal.INVALID, f"llm: the messages have {size:,} bytes, the most is {MOST_TEXT:,}")
    asked: dict[str, Any] = {"model": model.remote, "messages": messages, model.answer_limit: max_tokens}
    asked |= {key: value for key, value in chosen.items() if value is not None}
    if stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    plain = all("tool_calls" not in message for message in messages)
    if plain and size + 100 * len(messages) <= SMALL and not {"tools", "response_format"} & asked.keys():
        return _question(asked, len(messages))
    return await trio.to_thread.run_sync(_question, asked, len(messages))


def _question(asked: Mapping[str, Any], messages: int) -> Question:
    body = as_json(asked, _MOST_BODY)
    return Question(body, estimate([len(body), *[0] * messages]), hashlib.sha256(body).digest())
