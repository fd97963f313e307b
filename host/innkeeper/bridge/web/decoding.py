"""What a server compressed, in pieces, so that a small answer cannot become a large one unseen."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

from innkeeper.bridge.web.faults import Rule, WebError

ACCEPTED = "gzip"
"""What is asked for. `deflate` means two things to two servers, and what speaks it speaks this."""

PIECE = 64 * 1024
"""Bytes that come out at once at most: about 0.1 ms of work."""

_MOST_MEMBERS = 100
"""Streams one after the other in one body: each costs a new decoder, and an empty one has 20 bytes."""


class Decoder(Protocol):
    """Turns a body as it was sent into what it stands for."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Pieces of at most `PIECE` bytes."""
        ...

    def finish(self) -> None:
        """Raises WebError where the body is cut short."""
        ...


def decoder_for(coding: str) -> Decoder:
    """The decoder for a header Content-Encoding.

    Raises:
        WebError: it names what was not asked for.
    """
    if coding in ("", "identity"):
        return _Plain()
    if coding in ("gzip", "x-gzip"):
        return _Gzip()
    raise WebError(Rule.PROTOCOL, "the server sent an encoding that was not asked for")


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), PIECE):
            yield data[at : at + PIECE]

    def finish(self) -> None:
        pass


class _Gzip:
    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self._members = 1
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inflate.eof:
                if not data.strip(b"\0"):
                    # Padding, which is no member.
                    return
                self._members += 1
                if self._members > _MOST_MEMBERS:
                    raise WebError(Rule.PROTOCOL, f"the answer is compressed in more than {_MOST_MEMBERS} parts")
                self._inflate = zlib.decompressobj(wbits=31)
            self._begun = True
            try:
                piece = self._inflate.decompress(data, PIECE)
            except zlib.error:
                raise WebError(Rule.PROTOCOL, "the answer is not compressed as it says") from None
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            # An empty piece too, where much goes in and nothing comes out: whoever asks may give way.
            yield piece

    def finish(self) -> None:
        # A body without a byte is one of no content, whatever its headers say.
        if self._begun and not self._inflate.eof:
            raise WebError(Rule.PROTOCOL, "the answer ends in the midst of what is compressed")
