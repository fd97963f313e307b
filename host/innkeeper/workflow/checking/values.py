"""Which values fit which slots, what an input gets when nothing is given, and how numbers become text.

Between nodes a value is its msgpack encoding; its first byte tells its kind.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

import msgpack

from innkeeper.plugins.nodes import InputDefinition, Slot

_ANYTHING = frozenset({"WILDCARD", "CONVERTIBLE_ANY"})
_ANY_CATEGORY = "BehaviorWildcard"
_TO_TEXT = frozenset({"INTEGER", "FLOAT", "BOOLEAN"})

_KINDS = {
    "STRING": "text",
    "INTEGER": "an integer",
    "FLOAT": "a number",
    "BOOLEAN": "true or false",
    "OBJECT": "an object",
    "ARRAY": "an array",
    "BINARY": "bytes (base64 text in JSON)",
}


def compatible(source: Slot, target: Slot) -> bool:
    """Whether an edge may lead from an output of the one kind to an input of the other (streams apart).

    A category in common or "BehaviorWildcard" connects slots of any types; else the types decide: equal, anything
    with WILDCARD or CONVERTIBLE_ANY, INTEGER to FLOAT, and INTEGER, FLOAT or BOOLEAN to STRING.
    """
    # A workflow may have a hundred thousand edges, nearly all of which connect equal types.
    given, wanted = source.data_flow_type, target.data_flow_type
    if given == wanted or given in _ANYTHING or wanted in _ANYTHING:
        return True
    if (given == "INTEGER" and wanted == "FLOAT") or (given in _TO_TEXT and wanted == "STRING"):
        return True
    categories, others = set(source.match_categories), set(target.match_categories)
    return _ANY_CATEGORY in categories | others or bool(categories & others)


def misfit(value: Any, slot: Slot) -> str | None:
    """What is wrong with a value for a slot, as the end of a sentence, or None if it fits.

    None fits everything: it is no value. A float without a fraction fits INTEGER, since JSON and JavaScript do not
    tell the two apart.
    """
    wanted = slot.data_flow_type
    if value is None or _takes_anything(slot):
        return None
    if _FITS[wanted](value):
        return None
    return f"the slot is {wanted} and takes {_KINDS[wanted]}, not {kind(value)}"


def _takes_anything(slot: Slot) -> bool:
    return slot.data_flow_type in _ANYTHING or _ANY_CATEGORY in slot.match_categories


def from_json(value: Any, data_flow_type: str) -> Any:
    """A value that came out of JSON for a slot: base64 text for a BINARY slot becomes bytes, an integer for a FLOAT
    slot the float, since JavaScript writes 4.0 as 4; the rest stays."""
    if data_flow_type == "BINARY" and isinstance(value, str):
        data = _from_base64(value)
        return value if data is None else data
    if data_flow_type == "FLOAT":
        return [_float(each) for each in value] if isinstance(value, list) else _float(value)
    return value


def _float(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _from_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


def _is_integer(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


_FITS: dict[str, Callable[[Any], bool]] = {
    "STRING": lambda value: isinstance(value, str),
    "INTEGER": _is_integer,
    "FLOAT": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "BOOLEAN": lambda value: isinstance(value, bool),
    "OBJECT": lambda value: isinstance(value, dict),
    "ARRAY": lambda value: isinstance(value, list),
    # Read only where the slot takes it: any other text may be long, too.
    "BINARY": lambda value: isinstance(value, bytes) or (isinstance(value, str) and _from_base64(value) is not None),
}


def kind(value: Any) -> str:
    """The kind of a value in the words of messages (str): "text", "a number", "an object"."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, bytes):
        return "bytes"
    return "an array" if isinstance(value, list) else "an object"


def default_of(slot: InputDefinition) -> Any:
    """What an input that is not required gets when nothing is given; None is no value at all.

    `config["default"]`, else the first suggestion, else what is empty for the type; nothing where any type will do.
    """
    if slot.is_stream:
        return None
    if slot.config.get("default") is not None:
        return slot.config["default"]
    suggestions = slot.config.get("suggestions")
    if isinstance(suggestions, list) and suggestions:
        first = suggestions[0]
        return first.get("value") if isinstance(first, dict) else first
    if slot.multi:
        return []
    if _takes_anything(slot):
        return None
    empty: dict[str, Any] = {"STRING": "", "INTEGER": 0, "FLOAT": 0.0, "BOOLEAN": False, "OBJECT": {}, "ARRAY": []}
    return empty.get(slot.data_flow_type)


def as_text_if_scalar(data: bytes) -> bytes:
    """A number or a boolean (msgpack) as text (msgpack), written as JavaScript writes it; other values unchanged.

    This is what an input of type STRING gets through an edge. Integers keep all their digits, also where JavaScript's
    numbers would round them.
    """
    first = data[0]
    if first < 0x80 or first >= 0xE0 or first in (0xC2, 0xC3) or 0xCA <= first <= 0xD3:
        text: bytes = msgpack.packb(javascript_text(msgpack.unpackb(data)))
        return text
    return data


def as_float_if_integer(data: bytes) -> bytes:
    """An integer (msgpack) as the float (msgpack) that is nearest; other values unchanged. This is what an input of
    type FLOAT gets through an edge."""
    first = data[0]
    if first < 0x80 or first >= 0xE0 or 0xCC <= first <= 0xD3:
        number: bytes = msgpack.packb(float(msgpack.unpackb(data)))
        return number
    return data


def converted(data: bytes, data_flow_type: str) -> bytes:
    """What a slot of a type gets through an edge (bytes), where `data` (msgpack) comes along it."""
    if data_flow_type == "STRING":
        return as_text_if_scalar(data)
    if data_flow_type == "FLOAT":
        return as_float_if_integer(data)
    return data


def javascript_text(value: bool | int | float) -> str:
    """A number or boolean as JavaScript's String() writes it (str): 1.0 is "1", 1e21 is "1e+21"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    # repr gives the shortest digits that read back as the same number, as JavaScript does; only the layout differs.
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0)
    if whole.strip("0") == "":
        point -= len(whole) + len(fraction) - len(digits)
    digits = digits.rstrip("0")
    sign = "-" if value < 0 else ""
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"
