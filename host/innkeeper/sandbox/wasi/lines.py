"""Standard output and error, cut into lines of a log."""

from __future__ import annotations

from collections.abc import Callable

Log = Callable[[str, bytes], None]
"""Takes a level ("info" or "error") and one line of at most 1 KiB, without its end."""

_MAX_LINE = 1024
_CUT_LINES = 65_536
"""Lines that are cut out of one stream. A guest that prints more is flooding: the rest is handed on in pieces, with
spaces for line ends, so that its millions of empty lines do not cost the host a call each."""


class LineLog:
    """One output stream. Holds less than 1 KiB, however much is written."""

    __slots__ = ("_begun", "_level", "_lines", "_log", "_rest")

    def __init__(self, level: str, log: Log) -> None:
        self._level = level
        self._log = log
        self._rest = b""
        self._begun = False
        self._lines = 0

    def write(self, data: bytes) -> None:
        """Adds `data`; hands on each line that is now complete, and each full 1 KiB of a longer one."""
        if self._lines >= _CUT_LINES:
            data = data.replace(b"\n", b" ")
        *lines, rest = (self._rest + data).split(b"\n")
        self._lines += len(lines)
        for line in lines:
            end = self._cut(line)
            # A line whose last full piece has gone is over with its end, and is not followed by an empty one.
            if end or not self._begun:
                self._log(self._level, end)
            self._begun = False
        self._rest = self._cut(rest)

    def flush(self) -> None:
        """Hands on a line whose end has not been written."""
        rest, self._rest, self._begun = self._rest, b"", False
        if rest:
            self._log(self._level, rest)

    def _cut(self, line: bytes) -> bytes:
        while len(line) >= _MAX_LINE:
            self._log(self._level, line[:_MAX_LINE])
            line = line[_MAX_LINE:]
            self._begun = True
        return line
