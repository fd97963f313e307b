"""How macros read texts as numbers and as yes or no."""

from __future__ import annotations

import math

_FALSE = frozenset({"", "false", "0", "off", "no"})


def truthy(text: str) -> bool:
    """Whether a condition holds: everything but "", false, 0, off and no."""
    return text.strip().lower() not in _FALSE


def number(text: str) -> float | None:
    """A text as a number, or None; nothing at all is 0."""
    text = text.strip()
    if not text:
        return 0.0
    if len(text) > 40 or not text.isascii() or "_" in text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def shown(value: float) -> str:
    """A number as a text: whole ones without a point."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
