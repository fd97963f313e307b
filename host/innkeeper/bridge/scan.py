"""Walks encoded data without building anything, so that a value's size is known before it costs memory.

16 MiB of empty maps would become more than a gigabyte of Python objects. Both scanners count every element and
every level first, pass over each byte once, and hold one entry per open container.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from innkeeper.sandbox.limits import MIB


@dataclass(frozen=True, slots=True)
class DataBounds:
    """What one value may be before it is built.

    Attributes:
        size: bytes of its encoded form.
        depth: containers inside each other.
        elements: values in it, containers and keys included.
    """

    size: int = 16 * MIB
    depth: int = 64
    elements: int = 1_000_000


DEFAULT_BOUNDS = DataBounds()

JSON_ANSWER_BOUNDS = DataBounds(elements=200_000)
"""For JSON that a guest answers: the parser is one C call that keeps the interpreter's lock to its end, some 10 ms for
this many elements, and trio's thread waits for it. Msgpack is built in pieces and needs no such bound."""

CHUNK = 8 * 1024
"""Bytes up to which a value is handled in one go on trio's thread: at most some 2 ms, for nothing but empty maps."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a scan has found out about a value.

    Attributes:
        elements: values in it, itself, containers and keys included.
        large: offsets of the containers whose encoded form is longer than `CHUNK`.
    """

    elements: int
    large: frozenset[int]


class MalformedError(ValueError):
    """The bytes are not what they should be, or are beyond a bound. The text goes on after "is not JSON: "."""


_FIXED = {0xC0: 1, 0xC2: 1, 0xC3: 1, 0xCA: 5, 0xCB: 9}
_FIXED |= {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
_TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_ARRAYS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}


def scan_msgpack(data: bytes, bounds: DataBounds = DEFAULT_BOUNDS) -> Shape:
    """Checks that `data` is exactly one msgpack value within `bounds`: what passes, unpacks without an error.

    Raises:
        MalformedError: it is cut short, has bytes left over, an extension type, a key that is not text, text that
            is not UTF-8, or is beyond a bound.
    """
    size = len(data)
    _check_size(size, bounds)
    large: list[int] = []
    # Per open container: values still to come, whether it is a map, where it started.
    stack: list[tuple[int, bool, int]] = []
    remaining, in_map, start = 1, False, 0
    elements = 1
    position = 0
    while True:
        while remaining == 0 and stack:
            if position - start > CHUNK:
                large.append(start)
            remaining, in_map, start = stack.pop()
        if remaining == 0:
            break
        remaining -= 1
        if position >= size:
            raise MalformedError(f"it ends after {size:,} bytes, in the middle of a value")
        at = position
        byte = data[at]
        if 0xA0 <= byte <= 0xBF:
            position = _text(data, at + 1, byte & 0x1F)
            continue
        if byte in _TEXTS:
            width = _TEXTS[byte]
            position = _text(data, at + 1 + width, _number(data, at + 1, width))
            continue
        if in_map and remaining & 1:
            raise MalformedError(f"a key of a map is not text (byte {at:,})")
        if byte < 0x80 or byte >= 0xE0:
            position += 1
            continue
        if byte in _FIXED:
            position = _within(data, at, _FIXED[byte])
            continue
        if byte in _BYTES:
            width = _BYTES[byte]
            position = _within(data, at + 1 + width, _number(data, at + 1, width))
            continue
        if byte <= 0x8F:
            is_map, count, position = True, byte & 0x0F, at + 1
        elif byte <= 0x9F:
            is_map, count, position = False, byte & 0x0F, at + 1
        elif byte in _MAPS or byte in _ARRAYS:
            is_map = byte in _MAPS
            width = (_MAPS if is_map else _ARRAYS)[byte]
            count, position = _number(data, at + 1, width), at + 1 + width
        elif byte == 0xC1:
            raise MalformedError(f"byte {at:,} is 0xC1, which never occurs in msgpack")
        else:
            raise MalformedError(f"it has an extension type (byte {at:,}); only the plain types are taken")
        if is_map:
            count *= 2
        # Counted when it is announced: what all open containers promise together stays within the bound, too.
        elements += count
        if elements > bounds.elements:
            raise MalformedError(f"it has more than {bounds.elements:,} elements")
        if count > size - position:
            raise MalformedError(f"it ends after {size:,} bytes, in the middle of a value")
        if len(stack) >= bounds.depth:
            raise MalformedError(f"its containers lie more than {bounds.depth} deep")
        stack.append((remaining, in_map, start))
        remaining, in_map, start = count, is_map, at
        if count >= 8 and not is_map and data[position] == 0xCB:
            end = position + 9 * count
            # Vectors and matrices: one comparison for the whole array.
            if end <= size and data[position:end:9] == b"\xcb" * count:
                remaining, position = 0, end
    if position != size:
        raise MalformedError(f"{size - position:,} bytes follow after its end")
    return Shape(elements, frozenset(large))


def _number(data: bytes, at: int, width: int) -> int:
    if at + width > len(data):
        raise MalformedError(f"it ends after {len(data):,} bytes, in the middle of a value")
    return int.from_bytes(data[at : at + width], "big")


def _within(data: bytes, at: int, length: int) -> int:
    if at + length > len(data):
        raise MalformedError(f"it ends after {len(data):,} bytes, in the middle of a value")
    return at + length


def _text(data: bytes, at: int, length: int) -> int:
    end = _within(data, at, length)
    try:
        data[at:end].decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"text in it is not UTF-8 (byte {at + error.start:,})") from None
    return end


def _check_size(size: int, bounds: DataBounds) -> None:
    if size > bounds.size:
        raise MalformedError(f"it has {size:,} bytes, and at most {bounds.size:,} are taken")


# Possessive quantifiers: no backtracking, so neither time nor memory grows beyond the text's length. A quotation
# mark that closes nothing is a token of its own, which ends the scan: without it each one would be tried to the end.
_JSON_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},:]', re.DOTALL)


def scan_json(text: str, bounds: DataBounds = DEFAULT_BOUNDS) -> None:
    """Checks that parsing `text` cannot build more than `bounds` allow. It need not be JSON: the parser says so.

    Raises:
        MalformedError: it is beyond a bound, or a string in it does not end.
    """
    opening = text.count("[") + text.count("{")
    # Every element follows a bracket, a comma or a colon, or is the outermost. Marks inside of strings only add.
    if opening <= bounds.depth and 1 + opening + text.count(",") + text.count(":") <= bounds.elements:
        return
    depth = 0
    elements = 1
    strings = 0
    for token in _JSON_TOKEN.finditer(text):
        mark = text[token.start()]
        if mark == '"':
            if token.end() - token.start() == 1:
                raise MalformedError(f"a string that begins at character {token.start():,} does not end")
            strings += 1
            if strings > elements:
                # Two strings with nothing between them: the parser stops here at the latest.
                return
        elif mark in "]}":
            depth -= 1
        else:
            elements += 1
            if elements > bounds.elements:
                raise MalformedError(f"it has more than {bounds.elements:,} elements")
            if mark in "[{":
                depth += 1
                if depth > bounds.depth:
                    raise MalformedError(f"its containers lie more than {bounds.depth} deep")
