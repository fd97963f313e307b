"""What nodes logged, as events of their run: for who watches it.

The lines of a call are told when it ends. They are kept as chunks of streams are: the oldest may go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgpack

from innkeeper.sandbox.usage import Usage

RUN_LOG: Final = 1 << 20
"""Bytes of log that a run tells: a quarter of the chunks that are kept of one, so that a plugin that logs much does not
push out what flows."""

CALL_LINES: Final = 256
"""Lines of one call that are told: what is behind them belongs into a journal."""

_LINE: Final = 64
"""Bytes that a line counts beside its text, so that empty lines count too."""


class RunLog:
    """How much of its nodes' logs a run has told."""

    __slots__ = ("_left", "_silent")

    def __init__(self, most: int = RUN_LOG) -> None:
        """Args:
        most: bytes that it tells.
        """
        self._left = most
        self._silent = False

    def chunks(self, usage: Usage) -> Iterator[bytes]:
        """What is told of the log of a call that ended: level and text of each line (msgpack). Where lines are left
        out, a last one says so; of the run's own bound it says so once."""
        told = 0
        for level, text in usage.log:
            size = len(text) + _LINE
            if told == CALL_LINES or size > self._left:
                break
            self._left -= size
            told += 1
            yield _packed(level, text)
        if told == CALL_LINES < len(usage.log):
            yield _packed("warn", f"{len(usage.log) - told:,} more lines of this call are not told")
        elif told < len(usage.log) and not self._silent:
            self._silent = True
            yield _packed("warn", "the run has logged so much that no more of it is told")


def _packed(level: str, text: str) -> bytes:
    packed: bytes = msgpack.packb((level, text), unicode_errors="replace")
    return packed
