"""What a guest says to a model, checked part by part: an endpoint gets nothing that could make it act by itself, such
as a tool of its own or the address of an image."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.sandbox.limits import KIB

MOST_MESSAGES: Final = 256
"""Messages of one request."""

MOST_TEXT: Final = 256 * KIB
"""Bytes of all that is said in them, tools included: a few times what most models read at once."""

MOST_TOOLS: Final = 64
"""Tools of one request, and calls of tools of one message."""

_ROLES = ("system", "developer", "user", "assistant", "tool")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ID = re.compile(r"[!-~]{1,128}")


def check_messages(given: Sequence[object]) -> None:
    """Raises ValueError where one of the messages is none; the text says which and why."""
    for at, message in enumerate(given):
        where = f"message {at}"
        found = _map(message, where, ("role", "content", "name", "tool_calls", "tool_call_id"))
        role, content, calls = found.get("role"), found.get("content"), found.get("tool_calls")
        if role not in _ROLES:
            raise ValueError(f"{where}: role must be one of {', '.join(_ROLES)}")
        if not isinstance(content, str) and not (content is None and role == "assistant" and calls):
            raise ValueError(f"{where}: content must be text")
        _check_text(found.get("name"), _NAME, f"{where}: name")
        _check_text(found.get("tool_call_id"), _ID, f"{where}: tool_call_id")
        if calls is not None:
            if role != "assistant" or not isinstance(calls, list) or len(calls) > MOST_TOOLS:
                raise ValueError(
                    f"{where}: tool_calls must be a list, of at most {MOST_TOOLS}, that the assistant said"
                )
            for call in calls:
                _check_call(call, f"{where}: a tool call")


def check_tools(given: Sequence[object]) -> None:
    """Raises ValueError where one of the tools is not a function of the guest's own; the text says why."""
    for at, tool in enumerate(given):
        where = f"tool {at}"
        found = _map(tool, where, ("type", "function"))
        if found.get("type") != "function":
            raise ValueError(f"{where}: type must be 'function'")
        function = _map(found.get("function"), f"{where}: function", ("name", "description", "parameters", "strict"))
        name, described = function.get("name"), function.get("description")
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise ValueError(f"{where}: the function's name must be of A-Z a-z 0-9 _ . -")
        if not isinstance(described, str | None) or not isinstance(function.get("strict"), bool | None):
            raise ValueError(f"{where}: description must be text, and strict a bool")
        if not isinstance(function.get("parameters"), dict | None):
            raise ValueError(f"{where}: parameters must be a map, a JSON schema")


def check_format(given: Mapping[str, object]) -> None:
    """Raises ValueError where a format of answers is none; the text says why."""
    found = _map(given, "response_format", ("type", "json_schema"))
    schema = found.get("json_schema")
    if found.get("type") not in ("text", "json_object", "json_schema"):
        raise ValueError("response_format: type must be one of text, json_object, json_schema")
    if isinstance(schema, dict) != (found.get("type") == "json_schema") or not isinstance(schema, dict | None):
        raise ValueError("response_format: json_schema must be a map, where type is json_schema and only there")


def as_json(value: Mapping[str, Any], most: int) -> bytes:
    """The body of a request. May take some milliseconds.

    Raises:
        ServiceError: it holds bytes or a number that is not finite, or is longer than `most` bytes.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_refuse)
    except ValueError:
        raise ServiceError(Refusal.INVALID, "llm: numbers must be finite, and there must be no bytes") from None
    data = text.encode()
    if len(data) > most:
        raise ServiceError(Refusal.INVALID, f"llm: the request has {len(data):,} bytes, the most is {most:,}")
    return data


def _refuse(value: object) -> object:
    raise ValueError("not plain")


def _map(given: object, where: str, keys: Collection[str]) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise ValueError(f"{where}: must be a map")
    unknown = [key for key in given if key not in keys]
    if unknown:
        raise ValueError(f"{where}: has {unknown[0][:40]!r}; it may have {', '.join(keys)}")
    return given


def _check_text(given: object, pattern: re.Pattern[str], where: str) -> None:
    if given is not None and (not isinstance(given, str) or pattern.fullmatch(given) is None):
        raise ValueError(f"{where} is not one")


def _check_call(given: object, where: str) -> None:
    found = _map(given, where, ("id", "type", "function"))
    _check_text(found.get("id"), _ID, f"{where}: id")
    function = _map(found.get("function"), f"{where}: function", ("name", "arguments"))
    if found.get("type") != "function" or not isinstance(found.get("id"), str):
        raise ValueError(f"{where}: must have an id and the type 'function'")
    if not isinstance(function.get("name"), str) or not isinstance(function.get("arguments"), str):
        raise ValueError(f"{where}: its function must have a name and arguments, both text")
