"""Plain data of guests as JSON has it: bytes, and floats that JSON has no words for, come back as they were."""

from __future__ import annotations

import base64
import math
from typing import Any, Final

_BYTES: Final = "$bytes"
_FLOAT: Final = "$float"
_MAP: Final = "$map"
_MARKS: Final = frozenset({_BYTES, _FLOAT, _MAP})


def to_json(value: Any) -> Any:
    """A value that `json.dumps` takes.

    Args:
        value: None, a bool, a number, text, bytes, or lists and dicts of such, with text as keys; bounded in depth.
    """
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: repr(value)}
    if isinstance(value, list | tuple):
        return [to_json(each) for each in value]
    if isinstance(value, dict):
        made = {key: to_json(each) for key, each in value.items()}
        # What only looks like a mark is wrapped, so that nobody can write one.
        return {_MAP: made} if len(made) == 1 and not _MARKS.isdisjoint(made) else made
    return value


def from_json(value: Any) -> Any:
    """What `to_json` was given. What somebody else wrote in its place comes back as it stands."""
    if isinstance(value, list):
        return [from_json(each) for each in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((mark, inner),) = value.items()
        if mark == _MAP and isinstance(inner, dict):
            return {key: from_json(each) for key, each in inner.items()}
        if mark == _FLOAT and inner in ("nan", "inf", "-inf"):
            return float(inner)
        if mark == _BYTES and isinstance(inner, str):
            try:
                return base64.b64decode(inner, validate=True)
            except ValueError:
                return value
    return {key: from_json(each) for key, each in value.items()}
