"""The headers of a tar archive, as far as backups have them: regular files, and long names before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BLOCK: Final = 512
"""Bytes of a header; what follows is filled up to a multiple of it."""

MOST_NAME: Final = 1024
"""Bytes of a name."""

MOST_EXTENDED: Final = 8192
"""Bytes of a header that says a long name or a large size."""

_LARGEST_OCTAL = 8**11 - 1
_SHORT = 100


class HeaderError(Exception):
    """A header is not one that a backup has. The text is the rest of a sentence."""


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the bytes of a file.

    Attributes:
        name: with "/" between its components.
        size: bytes.
        extended: whether the bytes are a header for the next one, and no file.
    """

    name: str
    size: int
    extended: bool = False


def write_header(name: str, size: int, at: int) -> bytes:
    """The blocks before a file's bytes (bytes).

    Args:
        name: of at most `MOST_NAME` bytes.
        size: bytes of the file.
        at: when it was changed, seconds since 1970.
    """
    encoded = name.encode()
    before = b""
    if len(encoded) > _SHORT or not encoded.isascii() or size > _LARGEST_OCTAL:
        records = _record("path", name) + (_record("size", str(size)) if size > _LARGEST_OCTAL else b"")
        before = _block("pax", len(records), at, b"x") + padded(records)
        # Programs that do not know such headers get a name all the same.
        name = encoded[:_SHORT].decode("ascii", "replace").replace("\ufffd", "_")
    return before + _block(name, min(size, _LARGEST_OCTAL), at, b"0")


def padded(data: bytes) -> bytes:
    """Bytes, filled up with zeros to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def read_header(block: bytes) -> Header | None:
    """What a block says; None for one of zeros, with which an archive ends.

    Raises:
        HeaderError: it is no header, or one of something else than a file.
    """
    if not any(block):
        return None
    if _octal(block[148:156], "checksum") != _sum(block):
        raise HeaderError("is broken: a header's checksum does not fit")
    kind = block[156:157]
    if kind not in (b"0", b"\0", b"x"):
        raise HeaderError("has a link, a folder or a device among its members: backups have none")
    size = _octal(block[124:136], "size")
    if kind == b"x":
        if size > MOST_EXTENDED:
            raise HeaderError(f"has a header of {size:,} bytes: the most is {MOST_EXTENDED:,}")
        return Header("", size, True)
    name, prefix = block[:100].split(b"\0", 1)[0], block[345:500].split(b"\0", 1)[0]
    if block[257:262] == b"ustar" and prefix:
        name = prefix + b"/" + name
    return Header(_text(name), size)


def read_extended(data: bytes) -> tuple[str | None, int | None]:
    """The name and the size that an extended header says for the next file, each None where it says none.

    Raises:
        HeaderError: it is broken.
    """
    name: str | None = None
    size: int | None = None
    at = 0
    while at < len(data):
        end = data.find(b" ", at, at + 6)
        digits = data[at:end] if end > at else b""
        # "int" would take more than digits.
        if not digits.isdigit():
            raise HeaderError("is broken: an extended header has no length")
        stop = at + int(digits)
        if stop > len(data) or stop <= end + 1 or data[stop - 1 : stop] != b"\n":
            raise HeaderError("is broken: an extended header has a wrong length")
        key, equals, value = data[end + 1 : stop - 1].partition(b"=")
        if not equals:
            raise HeaderError("is broken: an extended header has no value")
        if key == b"path":
            name = _text(value)
        elif key == b"size":
            if not value.isdigit() or len(value) > 16:
                raise HeaderError("is broken: an extended header has no size")
            size = int(value)
        at = stop
    return name, size


def _record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    # Its length counts its own digits.
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def _block(name: str, size: int, at: int, kind: bytes) -> bytes:
    fields = (
        name.encode().ljust(100, b"\0"),
        b"0000600\0" + b"0000000\0" * 2,
        f"{size:011o}\0{min(max(at, 0), _LARGEST_OCTAL):011o}\0".encode(),
        b" " * 8,
        kind,
        bytes(100),
        b"ustar\x0000",
        bytes(247),
    )
    block = b"".join(fields)
    return block[:148] + f"{_sum(block):06o}\0 ".encode() + block[156:]


def _sum(block: bytes) -> int:
    return sum(block) - sum(block[148:156]) + 8 * ord(" ")


def _octal(field: bytes, what: str) -> int:
    digits = field.strip(b" \0")
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise HeaderError(f"is broken: a header's {what} is no number")
    return int(digits, 8)


def _text(name: bytes) -> str:
    if len(name) > MOST_NAME:
        raise HeaderError(f"has a name of {len(name):,} bytes: the most is {MOST_NAME:,}")
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise HeaderError("has a name that is not UTF-8") from None
