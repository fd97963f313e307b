"""Fields of a document, as the command line names them, and the lines on which they stand in a text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from innkeeper.errors import UsageError

_STEP: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^.\[\]"]+)|\[(\d{1,6})\]')
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder()
_MOST_STEPS: Final = 32


def parse_path(path: str) -> list[str | int]:
    """The steps of a path such as `usage_metadata.priority`, `key_groups[0].logic` or `extensions."a.b"`.

    Raises:
        UsageError: it is none.
    """
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        if steps and path[at] == "." and at + 1 < len(path):
            at += 1
        match = _STEP.match(path, at)
        if match is None or len(steps) >= _MOST_STEPS or (steps and path[at - 1] != "." and path[at] != "["):
            break
        if match[3] is not None:
            steps.append(int(match[3]))
        else:
            steps.append(match[2] if match[1] is None else _unquoted(match[1], path))
        at = match.end()
    if not steps or at < len(path):
        raise UsageError(
            f"{path[:100]!r} names no field: write names with dots between them, such as usage_metadata.priority"
        )
    return steps


def _unquoted(text: str, path: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        raise UsageError(f"{path[:100]!r}: what stands in quotes there is no text of JSON") from None


def parse_value(text: str) -> Any:
    """A value as JSON, or the text itself where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def set_field(document: dict[str, Any], path: str, value: Any) -> None:
    """Sets a field; objects on the way are made where they are missing.

    Raises:
        UsageError: something on the way is neither an object nor a list with such a place.
    """
    steps = parse_path(path)
    place: Any = document
    for number, step in enumerate(steps[:-1]):
        if isinstance(place, dict) and isinstance(step, str) and place.get(step) is None:
            place[step] = {}
        place = _child(place, step, steps[: number + 1])
    last = steps[-1]
    if isinstance(last, int) and isinstance(place, list) and last == len(place):
        place.append(value)
    elif isinstance(last, str) and isinstance(place, dict):
        place[last] = value
    else:
        _child(place, last, steps)
        place[last] = value


def remove_field(document: dict[str, Any], path: str) -> None:
    """Removes a field.

    Raises:
        UsageError: it is not there.
    """
    steps = parse_path(path)
    place: Any = document
    for number, step in enumerate(steps[:-1]):
        place = _child(place, step, steps[: number + 1])
    _child(place, steps[-1], steps)
    del place[steps[-1]]


def _child(place: Any, step: str | int, steps: Sequence[str | int]) -> Any:
    if isinstance(place, dict) and isinstance(step, str) and step in place:
        return place[step]
    if isinstance(place, list) and isinstance(step, int) and step < len(place):
        return place[step]
    shown = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in steps).lstrip(".")
    raise UsageError(f"there is no field {shown[:200]!r} in the entry")


def line_of(text: str, where: str) -> int:
    """The line (from 1) of a JSON text on which a field stands, or the nearest thing around it that is there; 0 where
    the text is no JSON.

    Args:
        text: a document.
        where: the field, as `parse_path` reads it; what it does not know there is left out.
    """
    try:
        steps = parse_path(where) if where else []
    except UsageError:
        steps = []
    try:
        at = _space(text, 0)
        for step in steps:
            found = _value_at(text, at, step)
            if found is None:
                break
            at = found
    except (ValueError, IndexError, RecursionError):
        return 0
    return text.count("\n", 0, at) + 1


def _value_at(text: str, at: int, step: str | int) -> int | None:
    """Where a member's value begins in an object or list that begins at `at`; None where there is none."""
    opening = text[at]
    if opening != ("{" if isinstance(step, str) else "["):
        return None
    at = _space(text, at + 1)
    number = 0
    while text[at] not in "}]":
        name: str | int = number
        if opening == "{":
            name, at = _DECODER.raw_decode(text, at)
            at = _space(text, at)
            at = _space(text, at + 1)
        if name == step:
            return at
        _, at = _DECODER.raw_decode(text, at)
        at = _space(text, at)
        if text[at] == ",":
            at = _space(text, at + 1)
        number += 1
    return None


def _space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
