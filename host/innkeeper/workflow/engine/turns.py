"""Runs that begin at once take turns: checking a workflow and starting its nodes takes trio's thread some 0.1 ms."""

from __future__ import annotations

from typing import Final

import trio

AT_ONCE: Final = 8
"""Runs that begin in one pass of trio's loop: about a millisecond of them."""

_turns: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("innkeeper_turns_of_runs")


def turns() -> trio.CapacityLimiter:
    """What a run holds while it begins. Whoever gets it has given way to others first, so that a thousand runs that
    are started together delay no timer by all of their beginnings."""
    try:
        return _turns.get()
    except LookupError:
        made = trio.CapacityLimiter(AT_ONCE)
        _turns.set(made)
        return made
