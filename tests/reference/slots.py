"""Slots: which connect, what is empty, and what a value becomes on its way in."""

from __future__ import annotations

import base64
from typing import Any

from innkeeper.plugins.nodes import InputDefinition, Slot

_ANY = ("WILDCARD", "CONVERTIBLE_ANY")


def compatible(source: Slot, target: Slot) -> bool:
    """Whether an output may be connected with an input."""
    if source.is_stream != target.is_stream:
        return False
    shared = set(source.match_categories) & set(target.match_categories)
    if shared or "BehaviorWildcard" in (*source.match_categories, *target.match_categories):
        return True
    one, other = source.data_flow_type, target.data_flow_type
    if one == other or one in _ANY or other in _ANY:
        return True
    return (one, other) == ("INTEGER", "FLOAT") or (other == "STRING" and one in ("INTEGER", "FLOAT", "BOOLEAN"))


def empty(data_flow_type: str) -> Any:
    """What is empty for a type."""
    made: dict[str, Any] = {"STRING": "", "INTEGER": 0, "FLOAT": 0.0, "BOOLEAN": False, "ARRAY": [], "OBJECT": {}}
    return made.get(data_flow_type)


def default(slot: InputDefinition) -> Any:
    """What an input has that nobody gave anything, and that is not required."""
    if slot.is_stream:
        return None
    if slot.multi:
        return slot.config.get("default", [])
    if slot.config.get("default") is not None:
        return slot.config["default"]
    suggestions = slot.config.get("suggestions")
    if suggestions:
        return suggestions[0]["value"]
    return empty(slot.data_flow_type)


def from_json(value: Any, data_flow_type: str) -> Any:
    """A preset or a default as the value that it stands for: bytes are written as base64 text."""
    if data_flow_type == "BINARY":
        return [base64.b64decode(each) for each in value] if isinstance(value, list) else base64.b64decode(value)
    if data_flow_type == "FLOAT":
        return [as_input(each, "FLOAT") for each in value] if isinstance(value, list) else as_input(value, "FLOAT")
    return value


def as_input(value: Any, data_flow_type: str) -> Any:
    """What an input of a type gets of a value."""
    if data_flow_type == "FLOAT" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if data_flow_type == "STRING" and isinstance(value, bool | int | float):
        return as_text(value)
    return value


def as_text(value: bool | int | float) -> str:
    """A number or boolean as JavaScript's String() writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    # ECMAScript, Number::toString: value = 0.DIGITS times ten to the power of POINT.
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + ("" if fraction == "0" else fraction)
    point = len(whole) + int(exponent or 0)
    point -= len(digits) - len(digits.lstrip("0"))
    digits = digits.lstrip("0").rstrip("0") if "." in mantissa or exponent else digits.lstrip("0")
    digits = digits or "0"
    length = len(digits)
    if length <= point <= 21:
        return sign + digits + "0" * (point - length)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = f"e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return sign + digits[0] + (f".{digits[1:]}" if length > 1 else "") + power
