"""Much that stays: nobody searches it for garbage again and again.

The interpreter's collector looks at every object that could be part of a cycle, and all threads wait for it: of a base
of ten thousand entries that is a third of a second each time, and while such a base is made ready it happens again and
again. What is made here holds no cycles: counting references gives it back.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

WORTH = 1000
"""Entries of a base from which on this is worth it."""

_NEVER = 1 << 30

_lock = Lock()
_inside = 0
_before = (0, 0, 0)
_stays = False


@contextmanager
def unsearched(entries: int) -> Iterator[None]:
    """While any thread is in such a block, what is young is searched for garbage as ever, and what is old is not. For
    work whose objects are gone when it ends.

    Args:
        entries: that are worked on; of less than `WORTH` nothing is done.
    """
    if entries < WORTH:
        yield
        return
    _enter()
    try:
        yield
    finally:
        _leave(stays=False)


@contextmanager
def settled(entries: int) -> Iterator[None]:
    """As `unsearched`, and what is made in the block is out of the collector's sight afterwards.

    The collector knows no owners: garbage in cycles that became old during the block, whoever made it, stays with what
    is made. What was garbage before is given back first, for which all is searched that is not out of sight yet.

    Args:
        entries: of the base; of less than `WORTH` nothing is done.
    """
    if entries < WORTH:
        yield
        return
    _enter(collects=True)
    try:
        yield
    finally:
        _leave(stays=True)


def _enter(*, collects: bool = False) -> None:
    global _inside, _before
    with _lock:
        if _inside == 0:
            if collects:
                gc.collect()
            _before = gc.get_threshold()
            gc.set_threshold(_before[0], _before[1], _NEVER)
        _inside += 1


def _leave(*, stays: bool) -> None:
    global _inside, _stays
    with _lock:
        _inside -= 1
        _stays = _stays or stays
        if _inside:
            return
        # Whoever has set something else meanwhile meant it.
        if gc.get_threshold()[2] == _NEVER:
            gc.set_threshold(*_before)
        freeze, _stays = _stays, False
        if freeze:
            gc.collect(1)
            gc.freeze()
