"""The chunks of a PNG or APNG file: read without decoding an image, and written with every other byte as it was."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from innkeeper.knowledge.model.problems import KnowledgeError

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

MOST_BYTES: Final = 128 << 20
"""Bytes of one file. Cards with pictures of all moods have tens of megabytes."""

MOST_CHUNKS: Final = 50_000
"""Chunks of one file: some programs write pixels in pieces of 8 KiB."""

MOST_TEXT: Final = 64 << 20
"""Bytes of one text, uncompressed."""

MOST_TEXTS: Final = 128 << 20
"""Bytes of all texts of one file, uncompressed."""

_PIECE: Final = 1 << 20
"""Bytes that are uncompressed at a time."""

TEXTS: Final = (b"tEXt", b"zTXt", b"iTXt")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk, as it lies in its file.

    Attributes:
        kind: its four letters.
        start: of its length, in bytes from the file's beginning.
        size: of its data, in bytes.
    """

    kind: bytes
    start: int
    size: int

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.start + self.size + 12


@dataclass(frozen=True, slots=True)
class Text:
    """A text chunk.

    Attributes:
        keyword: what it is, as it was written.
        text: what it says, uncompressed.
        kind: b"tEXt", b"zTXt" or b"iTXt".
    """

    keyword: str
    text: bytes
    kind: bytes


def chunks(data: bytes, source: str) -> Iterator[Chunk]:
    """The chunks of a file, IEND the last; what follows it is not looked at.

    Args:
        data: the file.
        source: its name, for messages.

    Raises:
        KnowledgeError: it is no PNG, is cut short, has a wrong checksum, or is beyond a bound.
    """
    if not data.startswith(SIGNATURE):
        raise KnowledgeError("is no PNG", source=source)
    if len(data) > MOST_BYTES:
        raise KnowledgeError(f"has {len(data):,} bytes; at most {MOST_BYTES:,} are read", source=source)
    at, count, view = len(SIGNATURE), 0, memoryview(data)
    while True:
        if at + 12 > len(data):
            raise KnowledgeError(f"the PNG is cut short after {count:,} chunks", source=source)
        (size,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        count += 1
        if count > MOST_CHUNKS:
            raise KnowledgeError(f"the PNG has more than {MOST_CHUNKS:,} chunks", source=source)
        if not kind.isalpha() or not kind.isascii():
            raise KnowledgeError(f"chunk {count:,} of the PNG has no name; the file is damaged", source=source)
        name = kind.decode("ascii")
        if size > len(data) - at - 12:
            raise KnowledgeError(f"chunk {count:,} ({name}) of the PNG is longer than the file", source=source)
        (checksum,) = struct.unpack_from(">I", data, at + 8 + size)
        if zlib.crc32(view[at + 4 : at + 8 + size]) != checksum:
            raise KnowledgeError(f"chunk {count:,} ({name}) of the PNG is damaged: wrong checksum", source=source)
        if count == 1 and (kind != b"IHDR" or size != 13):
            raise KnowledgeError("the PNG does not begin with its header (IHDR)", source=source)
        chunk = Chunk(kind, at, size)
        yield chunk
        if kind == b"IEND":
            return
        at = chunk.end


def read_texts(data: bytes, source: str) -> list[Text]:
    """The text chunks of a file, in their order.

    Args:
        data: the file.
        source: its name, for messages.

    Raises:
        KnowledgeError: as `chunks`, or a text is beyond a bound. One that cannot be uncompressed is left out.
    """
    found, left = [], MOST_TEXTS
    for chunk in chunks(data, source):
        if chunk.kind in TEXTS:
            text, cost = _text(chunk.kind, data[chunk.start + 8 : chunk.start + 8 + chunk.size], left, source)
            # What could not be uncompressed to its end was work, too.
            left -= cost
            if left < 0:
                raise KnowledgeError(f"the texts of the PNG have more than {MOST_TEXTS:,} bytes", source=source)
            if text is not None:
                found.append(text)
    return found


def with_texts(data: bytes, texts: Sequence[tuple[str, bytes]], replaced: Sequence[str], source: str) -> bytes:
    """A file with other texts; every other chunk stays as it is, in its place.

    Args:
        data: the file.
        texts: keyword (Latin-1) and text of each new tEXt chunk; they stand before IEND.
        replaced: keywords of texts that are taken out, in lower case.
        source: its name, for messages.

    Raises:
        KnowledgeError: as `chunks`.
    """
    out = [SIGNATURE]
    for chunk in chunks(data, source):
        if chunk.kind in TEXTS:
            keyword = data[chunk.start + 8 : chunk.start + 8 + min(chunk.size, 80)].partition(b"\0")[0]
            if keyword.decode("latin-1").lower() in replaced:
                continue
        if chunk.kind == b"IEND":
            out += (_chunk(b"tEXt", keyword.encode("latin-1") + b"\0" + text) for keyword, text in texts)
        out.append(data[chunk.start : chunk.end])
    return b"".join(out)


def blank() -> bytes:
    """A PNG of one transparent pixel."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 6, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 5)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _text(kind: bytes, data: bytes, left: int, source: str) -> tuple[Text | None, int]:
    keyword, separator, rest = data.partition(b"\0")
    if not separator or len(keyword) > 79:
        return None, 0
    packed = False
    if kind == b"zTXt":
        packed, rest = True, rest[1:]
    elif kind == b"iTXt":
        if len(rest) < 2:
            return None, 0
        packed = rest[0] == 1
        parts = rest[2:].split(b"\0", 2)
        if len(parts) < 3:
            return None, 0
        rest = parts[2]
    if len(rest) > MOST_TEXT:
        raise KnowledgeError(f"a text of the PNG has more than {MOST_TEXT:,} bytes", source=source)
    name = keyword.decode("latin-1")
    if not packed:
        return Text(name, rest, kind), len(rest)
    unpacked, whole = _unpacked(rest, min(left, MOST_TEXT), source)
    return Text(name, unpacked, kind) if whole else None, len(unpacked)


def _unpacked(data: bytes, most: int, source: str) -> tuple[bytes, bool]:
    opened = zlib.decompressobj()
    out: list[bytes] = []
    size = 0
    try:
        while not opened.eof:
            piece = opened.decompress(data, _PIECE)
            data = opened.unconsumed_tail
            if not piece and not data:
                break
            size += len(piece)
            if size > most:
                raise KnowledgeError(f"a compressed text of the PNG has more than {most:,} bytes", source=source)
            out.append(piece)
    except zlib.error:
        return b"".join(out), False
    return b"".join(out), opened.eof
