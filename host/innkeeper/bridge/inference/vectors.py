"""Vectors as endpoints give them, and as guests get them: float32 in little-endian."""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from typing import Final

from innkeeper.bridge.inference.answers import TokenUsage, parsed, usage_of
from innkeeper.bridge.inference.faults import unusable
from innkeeper.bridge.scan import DataBounds
from innkeeper.sandbox.limits import KIB, MIB

MOST_EMBEDDINGS: Final = 16 * MIB
"""Bytes of an answer: 64 vectors of 16,384 numbers, written out."""

MOST_DIMENSIONS: Final = 16_384

_AROUND = DataBounds(size=64 * KIB, depth=8, elements=4_000)
"""What an answer has besides its vectors."""

_VECTOR = re.compile(rb'("embedding"\s{0,9}:\s{0,9})(?:\[([-+0-9.eE,\s]{0,400000})\]|"([A-Za-z0-9+/=\\]{0,100000})")')
"""A list of numbers, of `MOST_DIMENSIONS` at most as they are commonly written, or so many in base64: some 2 ms."""


def read_embeddings(body: bytes | bytearray, count: int) -> tuple[list[bytes], TokenUsage | None]:
    """Vectors in the order of what was asked, as float32 in little-endian. May take some 100 ms.

    Args:
        body: the answer; its vectors are lists of numbers, or base64.
        count: how many there must be.

    Raises:
        EndpointError: it is none.
    """
    if len(body) > MOST_EMBEDDINGS:
        raise unusable("the answer is too large")
    # Vector by vector: the parser keeps the interpreter's lock for as long as one piece takes. In a JSON text a key in
    # quotes with ":" after it is never inside of a string, since a quote there has a backslash before it.
    written: list[re.Match[bytes]] = []

    def take(found: re.Match[bytes]) -> bytes:
        written.append(found)
        return b"%b%d" % (found[1], len(written) - 1)

    data = parsed(_VECTOR.sub(take, bytes(body)), _AROUND)
    items = data.get("data")
    if not isinstance(items, list) or len(items) != count:
        raise unusable("it has not as many vectors as there were texts")
    vectors: list[bytes | None] = [None] * count
    for at, item in enumerate(items):
        given = item.get("embedding") if isinstance(item, dict) else None
        index = item.get("index", at) if isinstance(item, dict) else at
        if (
            isinstance(index, bool)
            or not isinstance(index, int)
            or not 0 <= index < count
            or vectors[index] is not None
        ):
            raise unusable("its vectors are not in an order that can be told")
        if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < len(written):
            raise unusable("one of its vectors is none")
        numbers, encoded = written[given][2], written[given][3]
        vectors[index] = _from_base64(encoded) if numbers is None else _from_numbers(numbers)
    whole = [each for each in vectors if each is not None]
    if len({len(each) for each in whole}) > 1:
        raise unusable("its vectors are not of one length")
    return whole, usage_of(data, answers=False)


def _from_base64(text: bytes) -> bytes:
    try:
        # JSON may have a backslash before each "/".
        vector = base64.b64decode(text.replace(b"\\/", b"/"), validate=True)
    except (binascii.Error, ValueError):
        raise unusable("one of its vectors is no base64") from None
    if len(vector) % 4:
        raise unusable("one of its vectors is cut short")
    return _vector(struct.unpack(f"<{len(vector) // 4}f", vector))


def _from_numbers(text: bytes) -> bytes:
    if text.count(b",") >= MOST_DIMENSIONS:
        raise unusable("one of its vectors is too long")
    try:
        return _vector(tuple(map(float, text.split(b","))))
    except ValueError:
        raise unusable("one of its vectors is no list of numbers") from None


def _vector(numbers: tuple[float, ...]) -> bytes:
    if not 0 < len(numbers) <= MOST_DIMENSIONS:
        raise unusable("one of its vectors is empty or too long")
    try:
        packed = struct.pack(f"<{len(numbers)}f", *numbers)
    except (OverflowError, struct.error):
        raise unusable("a number of its vectors is too large") from None
    if not all(map(math.isfinite, numbers)):
        raise unusable("a number of its vectors is not finite")
    return packed
