"""Bytes that somebody else wrote as plain data, bounded before anything is built."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from typing import Any, Final

from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

MOST_JSON: Final = 64 << 20
"""Bytes of a lorebook, card or preset. Presets in the wild have over a megabyte, world books several."""

MOST_VALUES: Final = 1_000_000
"""Values of one file: an entry of a world book has about fifty."""

MOST_NUMBER: Final = 400
"""Characters of one number; the largest finite one has 309 digits."""

MOST_DEPTH: Final = bounds.MOST_DEPTH - 16
"""Containers inside each other. What has no field lies deeper in an entry than it did in its file."""

# A string that is not closed reaches to the end, so that no second attempt begins inside of it: linear.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
# A piece ends between tokens: other threads get their turn after each, whatever the size of the file.
_PIECE = re.compile(rb'(?:[^"]{1,65536}+|"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)){1,1000}+', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_HALF = re.compile("[\ud800-\udfff]")
_ESCAPED_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(data: bytes, source: str, most: int = MOST_JSON) -> Any:
    """A file of JSON as plain data, as JavaScript would read it: of equal keys the last counts.

    Args:
        data: the file, in UTF-8, with or without a byte order mark.
        source: its name, for messages.
        most: bytes that it may have.

    Returns:
        plain data without NaN, infinities and halves of surrogate pairs (those become U+FFFD).

    Raises:
        KnowledgeError: it is no JSON (with its line) or beyond a bound.
    """
    if len(data) > most:
        raise KnowledgeError(f"has {len(data):,} bytes; at most {most:,} are read", source=source)
    data = data.removeprefix(b"\xef\xbb\xbf")
    _bound(data, source)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise KnowledgeError(Problem("", "is not UTF-8", line=line), source=source) from None
    try:
        value = json.loads(
            text, parse_int=_integer, parse_float=_finite, parse_constant=_no_constant, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        problem = Problem("", f"is not JSON: {error.msg} at column {error.colno}", line=error.lineno)
        raise KnowledgeError(problem, source=source) from None
    except (ValueError, RecursionError) as error:
        raise KnowledgeError(f"is not JSON that can be read: {error}"[:300], source=source) from None
    return _whole(value) if _ESCAPED_HALF.search(data) else value


def read_base64(text: bytes | str, what: str, source: str, most: int) -> bytes:
    """What base64 text says, white space in it apart.

    Args:
        text: the text.
        what: what it is, for messages.
        source: name of the file.
        most: bytes that the result may have.

    Raises:
        KnowledgeError: it is no base64 or says more.
    """
    raw = text if isinstance(text, bytes) else text.encode("ascii", "replace")
    if len(raw) > most // 3 * 4 + 1024:
        raise KnowledgeError(f"{what} has {len(raw):,} bytes of base64, which is more than is read", source=source)
    raw = raw.translate(None, b" \t\r\n\f\v")
    try:
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise KnowledgeError(f"{what} is no base64", source=source) from None


def _bound(data: bytes, source: str) -> None:
    values = depth = 0
    for piece in _PIECE.finditer(data):
        outside = _STRING.sub(b'""', piece[0])
        values += sum(map(outside.count, (b",", b"[", b"{")))
        if values > MOST_VALUES:
            raise KnowledgeError(f"has more than {MOST_VALUES:,} values", source=source)
        for found in _BRACKET.finditer(outside):
            depth += 1 if found[0] in b"[{" else -1
            if depth > MOST_DEPTH:
                said = f"has containers inside each other more than {MOST_DEPTH} deep"
                raise KnowledgeError(said, source=source)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A step of Python's own for each object: other threads get their turn.
    return dict(pairs)


def _integer(digits: str) -> int | float:
    value = int(digits) if len(digits) <= 20 else 0
    # Beyond 64 bits it is what JavaScript reads, too.
    return value if len(digits) <= 20 and -(1 << 63) <= value < 1 << 64 else _finite(digits)


def _finite(digits: str) -> float:
    if len(digits) > MOST_NUMBER:
        raise ValueError("a number with too many digits")
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number out of range")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _whole(value: Any) -> Any:
    # Recursion is bounded: `_bound` has counted the levels.
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_HALF.sub("\ufffd", key): _whole(item) for key, item in value.items()}
    return value
