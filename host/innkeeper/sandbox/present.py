"""The call that a host function works for, and its log: the way from a service to the guest that asked it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass

from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.usage import Usage

_LINE_COST = 16
"""Bytes that even an empty line is counted as: a flood of them must end, too."""

_OTHERS = 4
"""What plugins that a call calls write takes at most this part of its log: they must not silence the one that they
work for."""


@dataclass(frozen=True, slots=True)
class Logged:
    """What a host function added to the log of its call.

    Attributes:
        lines: level and text of each.
        dropped: bytes beyond the limits.
        room: bytes by which the limit `log` is nearer.
    """

    lines: tuple[tuple[str, str], ...]
    dropped: int
    room: int


class PresentCall(ABC):
    """What host functions may see of the call that they work for. The engines' calls are made of it.

    Attributes:
        options: what the caller decided.
        limits: `options.limits`.
        usage: what it has used so far.
        token: not None from its first host function on, to its end.
    """

    __slots__ = ("_log_left", "_others", "limits", "options", "token", "usage")

    def __init__(self, options: CallOptions, size: int) -> None:
        """Args:
        options: what the caller decided.
        size: bytes of its input.
        """
        self.options = options
        self.limits = options.limits
        self.usage = Usage(bytes_in=size)
        self.token: Token[PresentCall | None] | None = None
        self._log_left = options.limits.log
        self._others = 0

    @property
    @abstractmethod
    def left(self) -> float:
        """Seconds that a host function which begins now may take, at most."""

    # --- whose host functions run -----------------------------------------------------------------------------------

    def enter(self) -> None:
        """From now on host functions that this task runs work for this call. To be called where `token` is None."""
        self.token = _present.set(self)

    def leave(self) -> None:
        """The call is over. Harmless when repeated."""
        token, self.token = self.token, None
        if token is not None:
            # One that was thrown away is closed wherever the collector runs: its task is gone, and the context with it.
            with suppress(ValueError):
                _present.reset(token)

    # --- its log ----------------------------------------------------------------------------------------------------

    def log_room(self) -> int:
        """Bytes worth reading of a message to be logged: what is beyond them would be dropped anyway."""
        return max(0, self._log_left)

    def log(self, level: str, data: bytes) -> None:
        """Keeps the lines of `data` within the limits on lines and on the whole; counts what it drops."""
        for line in data.split(b"\n"):
            if self._log_left <= 0:
                self.usage.log_dropped += len(line)
                continue
            kept = line[: min(self.limits.log_line, self._log_left)]
            self.usage.log_dropped += len(line) - len(kept)
            self._log_left -= max(len(kept), _LINE_COST)
            self.usage.log.append((level, kept.decode("utf-8", "replace")))

    def log_of(self, plugin: str, usage: Usage) -> None:
        """Keeps what another plugin logged while it worked for this call, each line under its id, within a part of
        this call's log."""
        self.usage.log_dropped += usage.log_dropped
        for level, text in usage.log:
            data = text.encode("utf-8", "replace")
            if self._others * _OTHERS >= self.limits.log:
                self.usage.log_dropped += len(data)
                continue
            before = self._log_left
            self.log(level, f"{plugin}: ".encode() + data)
            self._others += before - self._log_left

    # --- where it is recorded, or run again -------------------------------------------------------------------------

    def log_mark(self) -> tuple[int, int, int]:
        """How much is logged by now, for `logged_since`."""
        return len(self.usage.log), self.usage.log_dropped, self._log_left

    def logged_since(self, mark: tuple[int, int, int]) -> Logged | None:
        """What was logged since, or None."""
        if mark == self.log_mark():
            return None
        lines, dropped, left = mark
        return Logged(tuple(self.usage.log[lines:]), self.usage.log_dropped - dropped, left - self._log_left)

    def log_again(self, logged: Logged) -> None:
        """Logs it as it was, whatever the limits are."""
        self.usage.log += logged.lines
        self.usage.log_dropped += logged.dropped
        self._log_left -= logged.room


_present: ContextVar[PresentCall | None] = ContextVar("innkeeper_present_call", default=None)


def present_call() -> PresentCall | None:
    """The call that the present host function works for; None outside of one, and in a task that outlived it."""
    found = _present.get()
    return None if found is None or found.token is None else found
