"""Which plugin calls the present one is inside of: a host function may call another plugin, and that one another.

The chain is a context variable, so it follows a task into the host functions of its call and into tasks that these
start. Such a task can outlive the call; a frame that is over counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from innkeeper.errors import LimitError
from innkeeper.plugins.owner import enter, leave, present_owner

if TYPE_CHECKING:
    from innkeeper.plugins.runs import RunContext
    from innkeeper.plugins.version import Version


class Frame:
    """One call of `owner`, for as long as the block runs.

    Args:
        owner: whose call it is.
        nesting: calls that may be inside of it, one in the other.
        version: of the plugin that is called; may be set later, before the guest runs.
        run: what the call belongs to; by default what the call that this one is inside of belongs to.

    Attributes:
        user: whose data the call works on, once it is under way: the run's owner; without a run that of the call that
            this one is inside of, and of whoever makes it else (`owner.acting_for`).

    Raises:
        LimitError: on entry: a call that this one is inside of may not have that many inside.
    """

    __slots__ = ("_acting", "_endings", "_notes", "_token", "nesting", "owner", "run", "user", "version")

    def __init__(
        self, owner: object, nesting: int, version: Version | None = None, run: RunContext | None = None
    ) -> None:
        self.owner = owner
        self.nesting = nesting
        self.version = version
        self.run = run
        self.user = present_owner() if run is None else run.run.owner
        self._token: Token[tuple[Frame, ...]] | None = None
        self._acting: Token[str] | None = None
        self._notes: dict[object, Any] | None = None
        self._endings: list[Callable[[], None]] | None = None

    @property
    def notes(self) -> dict[object, Any]:
        """What host functions remember from one to the next of this call, by whatever they choose; gone with it."""
        if self._notes is None:
            self._notes = {}
        return self._notes

    def at_end(self, function: Callable[[], None]) -> None:
        """Has a function called when the call ends, however it ends: what host functions left open for it is closed
        then.

        Args:
            function: does not wait, and raises nothing.
        """
        if self._endings is None:
            self._endings = []
        self._endings.append(function)

    @property
    def active(self) -> bool:
        """Whether the call is under way (bool)."""
        return self._token is not None

    def __enter__(self) -> Frame:
        frames = _chain.get()
        if frames:
            frames = tuple(frame for frame in frames if frame.active)
            if frames and self.run is None:
                self.run = frames[-1].run
            for position, frame in enumerate(frames):
                depth = len(frames) - position
                if depth > frame.nesting:
                    raise LimitError(
                        f"plugins call plugins {depth} deep, the limit is {frame.nesting}",
                        limit="nesting",
                        value=frame.nesting,
                        used=depth,
                    )
        self._token = _chain.set((*frames, self))
        if self.user != present_owner():
            self._acting = enter(self.user)
        return self

    def __exit__(self, *_: object) -> None:
        token, self._token = self._token, None
        assert token is not None
        _chain.reset(token)
        if self._acting is not None:
            acting, self._acting = self._acting, None
            leave(acting)
        if self._endings is not None:
            endings, self._endings = self._endings, None
            for function in endings:
                function()


_chain: ContextVar[tuple[Frame, ...]] = ContextVar("innkeeper_plugin_calls", default=())


def inside(owner: object) -> bool:
    """Whether the present task is inside of a call of `owner` (bool)."""
    frames = _chain.get()
    return bool(frames) and any(frame.active and frame.owner is owner for frame in frames)


def calling() -> Frame | None:
    """The call whose guest the present task works for, with the version of the plugin that it began with; None outside
    of a call, and in a task that outlived its call."""
    frames = _chain.get()
    if not frames or not frames[-1].active or frames[-1].version is None:
        return None
    return frames[-1]
