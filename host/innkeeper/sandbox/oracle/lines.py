"""What is kept of a call's log, in a worker: lines, within the limits on each and on the whole."""

from __future__ import annotations

_LINE_COST = 16
"""Bytes that even an empty line is counted as, as in the other engine."""


class KeptLines:
    """The log of one call.

    Attributes:
        lines: (level, text) each.
        dropped: bytes beyond the limits.
    """

    def __init__(self, limit: int, line_limit: int) -> None:
        self.lines: list[tuple[str, str]] = []
        self.dropped = 0
        self._left = limit
        self._line_limit = line_limit

    def add(self, level: str, data: bytes) -> None:
        """Keeps the lines of `data` as far as there is room."""
        for line in data.split(b"\n"):
            if self._left <= 0:
                self.dropped += len(line)
                continue
            kept = line[: min(self._line_limit, self._left)]
            self.dropped += len(line) - len(kept)
            self._left -= max(len(kept), _LINE_COST)
            self.lines.append((level, kept.decode("utf-8", "replace")))
