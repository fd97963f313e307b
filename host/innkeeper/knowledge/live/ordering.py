"""Putting many things in order beside other threads.

`sorted` of a hundred thousand texts keeps every other thread waiting for some twenty milliseconds: it is one step of
the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import merge
from typing import Any, TypeVar

T = TypeVar("T")

_PIECE = 2048


def in_order(items: Sequence[T], key: Callable[[T], Any]) -> list[T]:
    """As `sorted`, in steps of a fraction of a millisecond; takes twice as long.

    Args:
        items: in any order; equal ones stay in theirs.
        key: of each, as for `sorted`.
    """
    if len(items) <= _PIECE:
        return sorted(items, key=key)
    pieces = (sorted(items[at : at + _PIECE], key=key) for at in range(0, len(items), _PIECE))
    return list(merge(*pieces, key=key))
