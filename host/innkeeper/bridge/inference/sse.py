"""Server-sent events, as the HTML standard has them, with bounds: what a server sends without end costs no memory.

Of an event only its data matters here; names, ids and times to reconnect are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

MOST_LINE: Final = 256 * 1024
"""Bytes of a line."""

MOST_LINES: Final = 1_000_000
"""Lines of a stream: each token comes in two or three. They cost some 0.7 us each, however short they are."""

_BOM = b"\xef\xbb\xbf"


class TooLongError(ValueError):
    """A line or an event is longer than the bound, or there are too many lines."""


class EventParser:
    """Cuts a stream of bytes into events. Lines end with a line feed, a carriage return, or both."""

    def __init__(self, most: int = MOST_LINE) -> None:
        """Args:
        most: bytes of a line, and of the data of an event.
        """
        self._most = most
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._lines = 0
        self._after_return = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of each event that is complete now, its lines joined by line feeds.

        What comes after an error is not to be parsed. Work grows with the bytes: to be given in small pieces.

        Raises:
            TooLongError: a line or an event is longer than the bound, or there are too many lines.
        """
        at = 0
        while at < len(data):
            if self._after_return:
                self._after_return = False
                if data[at] == 0x0A:
                    at += 1
                    continue
            feed, ret = data.find(b"\n", at), data.find(b"\r", at)
            end = min(feed, ret) if feed >= 0 and ret >= 0 else max(feed, ret)
            if end < 0:
                self._add(data[at:])
                return
            self._add(data[at:end])
            self._after_return = data[end] == 0x0D
            at = end + 1
            event = self._ended()
            if event is not None:
                yield event

    def _add(self, data: bytes) -> None:
        if len(self._line) + len(data) > self._most:
            raise TooLongError("a line is too long")
        self._line += data

    def _ended(self) -> bytes | None:
        line = bytes(self._line)
        self._line.clear()
        self._lines += 1
        if self._lines == 1:
            line = line.removeprefix(_BOM)
        if self._lines > MOST_LINES:
            raise TooLongError("there are too many lines")
        if not line:
            if not self._data:
                return None
            event = b"\n".join(self._data)
            self._data.clear()
            self._size = 0
            return event
        field, _, value = line.partition(b":")
        if field == b"data":
            value = value.removeprefix(b" ")
            self._size += len(value) + 1
            if self._size > self._most:
                raise TooLongError("an event is too long")
            self._data.append(value)
        return None
