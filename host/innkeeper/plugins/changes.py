"""What a running host says of the files that it picks up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from innkeeper.printable import printable

logger = logging.getLogger("innkeeper")

Kind = Literal["added", "changed", "removed", "problem", "paused", "resumed"]
Part = Literal["file", "manifest", "grant"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a running host noticed. When it is said, it is in force.

    Attributes:
        kind: "added", "changed" or "removed" for a plugin; "problem" for a file that cannot be used; "paused" for a
            plugin that failed too often, and "resumed" where that is over.
        plugin: id of the plugin, or None where a problem is not one plugin's.
        text: a sentence for people; it names the file.
        parts: of a changed plugin, what is another: "file", "manifest", "grant".
    """

    kind: Kind
    plugin: str | None
    text: str
    parts: tuple[Part, ...] = ()


Listener = Callable[[Change], object]


def say(change: Change, listener: Listener | None) -> None:
    """Logs a change under the name "innkeeper" and hands it to whoever asked for it.

    What a listener raises is logged and goes no further: a slip in it must not stop the plugins from following
    their files.
    """
    # Files are called what somebody likes, and lines of a log end on terminals.
    logger.log(logging.WARNING if change.kind in ("problem", "paused") else logging.INFO, "%s", printable(change.text))
    if listener is not None:
        try:
            listener(change)
        except Exception:
            logger.exception("on_change failed")
