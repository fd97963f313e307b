"""Callbacks need room on the caller's Python stack: one that cannot even be entered could not report it."""

from __future__ import annotations

import sys

_NEEDED = 64
"""Calls of Python and C inside each other that callbacks, WASI and cleaning up take: about 20 were measured."""


def check_depth() -> None:
    """To be called before anything is taken for a call.

    Raises:
        RecursionError: the caller's stack leaves too little. Costs 0.4 us on a shallow stack, 3 us on a deep one.
    """
    try:
        sys._getframe(sys.getrecursionlimit() // 4)
    except ValueError:
        return
    _descend(_NEEDED)


def _descend(calls: int) -> None:
    if calls:
        _descend(calls - 1)
