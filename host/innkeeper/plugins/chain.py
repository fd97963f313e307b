"""Which plugin calls the present one is inside of: a host function may call another plugin, and that one another.

The chain is a context variable, so it follows a task into the host functions of its call and into tasks that these
start. Such a task can outlive the call; a frame that is over counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from innkeeper.errors import LimitError


class _Frame:
    __slots__ = ("active", "nesting", "owner")

    def __init__(self, owner: object, nesting: int) -> None:
        self.owner = owner
        self.nesting = nesting
        self.active = True


_chain: ContextVar[tuple[_Frame, ...]] = ContextVar("innkeeper_plugin_calls", default=())


def inside(owner: object) -> bool:
    """Whether the present task is inside of a call of `owner` (bool)."""
    return any(frame.active and frame.owner is owner for frame in _chain.get())


@contextmanager
def entered(owner: object, nesting: int) -> Iterator[None]:
    """One call of `owner`.

    Args:
        owner: whose call it is.
        nesting: calls that may be inside of it, one in the other.

    Raises:
        LimitError: a call that this one is inside of may not have that many inside.
    """
    frames = tuple(frame for frame in _chain.get() if frame.active)
    for position, frame in enumerate(frames):
        depth = len(frames) - position
        if depth > frame.nesting:
            raise LimitError(
                f"plugins call plugins {depth} deep, the limit is {frame.nesting}",
                limit="nesting",
                value=frame.nesting,
                used=depth,
            )
    frame = _Frame(owner, nesting)
    token = _chain.set((*frames, frame))
    try:
        yield
    finally:
        frame.active = False
        _chain.reset(token)
