"""Tables of whatever notation, made plain and bounded before anybody looks at them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from innkeeper.plugins.tables import MAX_BYTES, TableError, shown, visible

_MAX_NESTING = 64
_MAX_ELEMENTS = 100_000
_MAX_DEPTH = 32


def tree_of(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy of a table in which everything stands in one place; a key whose value is None is left out.

    Args:
        table: tables are mappings, arrays are lists or tuples; it may be a cycle, or have parts in many places at once.
        where: the file's name, for messages.

    Raises:
        TableError: it is too large, or nested too deeply; or a key is no text.
    """
    return _Copy(where).table(table, 1)


class _Copy:
    """Makes a tree of a table. What its notation lets stand in many places at once is counted in each of them, so a few
    hundred bytes of YAML cannot become a billion values."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._elements = 0
        self._text = 0

    def table(self, table: Mapping[str, Any], depth: int) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        for key, value in table.items():
            if not isinstance(key, str):
                raise self._error(f"has the key {shown(key)}: keys are text")
            self._count(key)
            if value is not None:
                copy[key] = self._value(value, depth)
        return copy

    def _value(self, value: Any, depth: int) -> Any:
        self._count(value if isinstance(value, str) else "")
        if not isinstance(value, Mapping | list | tuple):
            return value
        if depth == _MAX_NESTING:
            raise self._error(f"has more than {_MAX_NESTING} tables and lists inside of each other")
        if isinstance(value, Mapping):
            return self.table(value, depth + 1)
        return [self._value(item, depth + 1) for item in value]

    def _count(self, text: str) -> None:
        self._elements += 1
        self._text += len(text)
        if self._elements > _MAX_ELEMENTS:
            raise self._error(f"has more than {_MAX_ELEMENTS:,} values")
        if self._text > MAX_BYTES:
            raise self._error(f"has more than {MAX_BYTES:,} characters of text")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise self._error(f"has the text {visible(text, 60)!r}: half of a surrogate pair is no character")

    def _error(self, sentence: str) -> TableError:
        return TableError([f"{self._where}: {sentence}"])


def not_plain(value: Any, key: str = "", depth: int = 0) -> str | None:
    """Where a value first holds what JSON has no word for (dates, NaN) or is nested too deeply; None if nowhere."""
    if isinstance(value, dict | list):
        if depth == _MAX_DEPTH:
            return key
        items = value.items() if isinstance(value, dict) else enumerate(value)
        found = (not_plain(item, f"{key}.{name}" if key else str(name), depth + 1) for name, item in items)
        return next((odd for odd in found if odd is not None), None)
    if isinstance(value, bool | str):
        return None
    if isinstance(value, int):
        return None if -(1 << 63) <= value < 1 << 64 else key
    if isinstance(value, float):
        return None if math.isfinite(value) else key
    return key
