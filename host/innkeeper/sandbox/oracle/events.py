"""What extism logs, in a worker: lines of guests, and the cause of a failure, which its error text leaves out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

FILTER = "extism::pdk=trace,extism::plugin=error"
"""All that guests log, and how calls failed."""

_EVENT = re.compile(r"\S+ +(\w+) extism::(\w+): (.*?)(?: plugin=\"[0-9a-f-]{36}\")?\n?", re.DOTALL)

_CAUSED = re.compile(r"\n\nCaused by:\n(.*)", re.DOTALL)
_NUMBERED = re.compile(r"^\s*\d+: ", re.MULTILINE)


@dataclass(slots=True)
class Events:
    """What was logged since it was last asked.

    Attributes:
        lines: (level, text) of the guest's own.
        cause: why the call failed, as wasmtime says it, or None.
        own: whether the guest failed with an error of its own.
    """

    lines: list[tuple[str, str]] = field(default_factory=list)
    cause: str | None = None
    own: bool = False

    def add(self, text: str, function: str) -> None:
        """Takes one event, while `function` is called. A guest's own line cannot pass for one of extism's: each event
        comes by itself, and its beginning is not the guest's."""
        found = _EVENT.fullmatch(text)
        if found is None:
            return
        level, source, message = found.groups()
        if source == "pdk":
            self.lines.append((level.lower(), message))
        elif message.startswith(f"call to {function} returned with error message:"):
            self.own = True
        elif caused := _CAUSED.search(message):
            # The innermost is last, numbered where there are several.
            self.cause = _NUMBERED.sub("", caused[1].strip().splitlines()[-1]).strip()


class EventLog:
    """Takes extism's log, of which a process has one.

    Args:
        extism: the package.
    """

    def __init__(self, extism: Any) -> None:
        self._events = Events()
        self._function = ""
        self._log = extism.set_log_custom(lambda text: self._events.add(text, self._function), FILTER)

    def take(self, function: str) -> Events:
        """What was logged while `function` was called, and forgets it."""
        self._function = function
        self._log.drain()
        events, self._events = self._events, Events()
        return events
