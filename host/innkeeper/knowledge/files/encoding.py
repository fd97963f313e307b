"""Plain data as JSON that people can read and edit: two spaces, every character as itself, keys in their order.

The same text as `json.dumps(..., indent=2, ensure_ascii=False)` and a line's end gives, several times faster, and in
pieces, so that other threads get their turn while a large base is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from json.encoder import encode_basestring as _quoted
from typing import Any

_WORDS = {None: "null", True: "true", False: "false"}
_NUMBERS = json.JSONEncoder(allow_nan=False)

_KEY = "entries"
_AFTER = "kb_extensions"
"""Before which the entries stand if nobody said where."""


def pretty(value: Any, indent: str = "\n") -> str:
    """A value as JSON.

    Args:
        value: plain data: str, int, finite float, bool, None, lists and dicts with texts as keys.
        indent: a line's end and the spaces with which the value's last line begins.

    Raises:
        ValueError: a number is not finite.
    """
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        if not value:
            return "{}"
        inner = indent + "  "
        return (
            "{"
            + ",".join([f"{inner}{_quoted(key)}: {pretty(item, inner)}" for key, item in value.items()])
            + indent
            + "}"
        )
    if isinstance(value, list | tuple):
        if not value:
            return "[]"
        inner = indent + "  "
        return "[" + ",".join([inner + pretty(item, inner) for item in value]) + indent + "]"
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    return repr(value) if type(value) is int else _NUMBERS.encode(value)


def base_pieces(
    document: Mapping[str, Any] | None, entries: Sequence[Mapping[str, Any]], entries_at: int | None = None
) -> Iterator[bytes]:
    """The file of a base, piece by piece.

    Args:
        document: the top level without `entries`; None: the file is an array of entries and nothing else.
        entries: their documents.
        entries_at: how many keys stand before `entries`; None: all, or those before `kb_extensions`.
    """
    if document is None:
        yield from _array(entries, "\n")
        yield b"\n"
        return
    keys = list(document)
    if entries_at is None:
        entries_at = keys.index(_AFTER) if _AFTER in document else len(keys)
    comma = "{"
    for number, key in enumerate([*keys[:entries_at], _KEY, *keys[entries_at:]]):
        yield f"{comma}\n  {_quoted(key)}: ".encode()
        comma = ","
        if number == min(entries_at, len(keys)):
            yield from _array(entries, "\n  ")
        else:
            yield pretty(document[key], "\n  ").encode()
    yield b"\n}\n"


def _array(entries: Sequence[Mapping[str, Any]], indent: str) -> Iterator[bytes]:
    if not entries:
        yield b"[]"
        return
    inner = indent + "  "
    comma = "["
    for entry in entries:
        yield (comma + inner + pretty(entry, inner)).encode()
        comma = ","
    yield (indent + "]").encode()
