"""What texts are to JavaScript, where Python sees them differently and world info depends on it."""

from __future__ import annotations

import math
from typing import Final

SPACES: Final = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""What `trim` takes away and `\\s` matches."""

_SPACES = frozenset(SPACES)
_WORD = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


def trim(text: str) -> str:
    """As `String.prototype.trim`."""
    return text.strip(SPACES)


def has_space(text: str) -> bool:
    """Whether `\\s` matches anywhere."""
    return not _SPACES.isdisjoint(text)


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether neither neighbour of what lies between two positions is a `\\w`, which is ASCII."""
    return (start == 0 or text[start - 1] not in _WORD) and (end == len(text) or text[end] not in _WORD)


def rounded(number: float) -> int:
    """As `Math.round`: halves go up."""
    return math.floor(number + 0.5)
