"""How conditions compare the values of variables.

Variables come from chats, plugins and models, as often as text as not: a number and a text that reads as that number
are equal, like true and "true". Nothing else is converted; a comparison that makes no sense does not hold.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from typing import Any, Final

OPERATORS: Final[Mapping[str, str]] = {
    "equals": "is",
    "not_equals": "is not",
    "greater_than": "is greater than",
    "less_than": "is less than",
    "at_least": "is at least",
    "at_most": "is at most",
    "contains": "contains",
    "not_contains": "does not contain",
    "exists": "is set",
    "not_exists": "is not set",
    "in": "is one of",
    "matches": "matches",
}
"""What a condition's `operator` can be, each as a part of a sentence."""

UNARY: Final = frozenset({"exists", "not_exists"})
"""Those that need no value."""

_MOST_SAID = 80
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2


def said(value: Any, *, quoted: bool = True) -> str:
    """A value as text.

    Args:
        value: plain data; anything else is named by its type.
        quoted: whether it is for a sentence: a text in quotes, and cut where it is long.
    """
    if quoted and isinstance(value, str):
        return repr(value) if len(value) <= _MOST_SAID else repr(value[:_MOST_SAID]) + "..."
    if quoted and isinstance(value, list | tuple | dict):
        # A plugin's variables may be megabytes: a sentence about them must not cost that much.
        return _SHORT.repr(value)[: 2 * _MOST_SAID]
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return type(value).__name__


def number_of(value: Any) -> float | int | None:
    """The number that a value is, or that a text reads as; None where it is none. Booleans are none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str) and len(value) <= 64:
        try:
            found = float(value)
        except ValueError:
            return None
        return found if math.isfinite(found) else None
    return None


def equal(one: Any, other: Any) -> bool:
    """Whether two values are the same to an author."""
    if isinstance(one, bool) or isinstance(other, bool):
        return _truth(one) is not None and _truth(one) is _truth(other)
    if isinstance(one, str) and isinstance(other, str):
        return one == other
    first, second = number_of(one), number_of(other)
    if first is not None and second is not None:
        return first == second
    return type(one) is type(other) and bool(one == other)


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None


def cost_of(value: Any) -> int:
    """What comparing a value costs, in comparisons of short ones."""
    if isinstance(value, str):
        return 1 + len(value) // 1000
    return 1 + len(value) if isinstance(value, list | tuple | dict) else 1


def _contains(value: Any, wanted: Any) -> bool:
    if isinstance(value, str):
        return isinstance(wanted, str | int | float) and said(wanted, quoted=False) in value
    if isinstance(value, Mapping):
        return isinstance(wanted, str) and wanted in value
    return isinstance(value, list | tuple) and any(equal(each, wanted) for each in value)


def holds(operator: str, value: Any, there: bool, wanted: Any) -> bool:
    """Whether a variable compares as asked; `matches` is decided elsewhere.

    Args:
        operator: one of `OPERATORS`.
        value: of the variable.
        there: whether it is set.
        wanted: what the condition compares with.
    """
    if operator == "exists":
        return there
    if operator == "not_exists":
        return not there
    if operator == "not_equals":
        return not (there and equal(value, wanted))
    if operator == "not_contains":
        return not (there and _contains(value, wanted))
    if not there:
        return False
    if operator == "equals":
        return equal(value, wanted)
    if operator == "contains":
        return _contains(value, wanted)
    if operator == "in":
        return _contains(wanted, value)
    first, second = number_of(value), number_of(wanted)
    if first is None or second is None:
        return False
    if operator == "greater_than":
        return first > second
    if operator == "less_than":
        return first < second
    if operator == "at_least":
        return first >= second
    return operator == "at_most" and first <= second
