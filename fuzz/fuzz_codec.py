"""Bytes that a node answers: msgpack and JSON, well made, changed and made to exhaust.

Whatever they are: a value within the bounds, or GuestError with a message that can be printed; no value is built beyond
the bounds. What is decoded is what the libraries alone would make of it, survives being encoded again, and is written
as JSON in pieces to the same text.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import time
from collections.abc import Sequence
from typing import Any

import msgpack
from fuzz.mutation import assert_printable, mutated, number, outline, plain
from fuzz.target import MIB, Target

from innkeeper.bridge.codec import Codec, decode, encode, json_from_msgpack, unpack
from innkeeper.bridge.scan import DEFAULT_BOUNDS, DataBounds, scan_msgpack
from innkeeper.errors import GuestError, UsageError

_SMALL = DataBounds(size=4096, depth=5, elements=40)
_WORDS = (
    b"\xc1", b"\xc7\x03\x01abc", b"\xd4\x00\x00", b"\xdd\xff\xff\xff\xff", b"\xdf\x00\x0f\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xcb\x7f\xf0\0\0\0\0\0\0", b"\xa2\xed\xa0", b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7), b"\x91" * 70,
    b"\x81\xa1a" * 70,
    b'"', b"[" * 70, b"{", b"}", b"]", b",", b":", b"\\u", b"\\ud83d", b"\\udc00\\ud800", b"1e999", b"-", b"NaN",
    b"Infinity",
    b"-Infinity", b"9" * 30, b"9" * 5000, b"true", b"null", b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80", b"\\", b"0x1",
    b"1.", b"\x00",
)  # fmt: skip
_CODECS: tuple[Codec, ...] = ("msgpack", "json")


class Fuzz(Target):
    """The first byte says which codec and which bounds, the rest is the answer."""

    guided = True
    address_space = 1024 * MIB
    hang = 10.0

    def seeds(self) -> Sequence[bytes]:
        value = {"outputs": {"text": "a", "list": [1, -1, 2**63, 0.5, None, True], "raw": [[0.25] * 20] * 3, "": {}}}
        packed, text = msgpack.packb(value), json.dumps(value).encode()
        return (b"\0" + packed, b"\1" + text, b"\2" + packed, b"\3" + text)

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        kind = rng.randrange(4)
        match rng.randrange(12):
            case 0:
                return bytes([kind]) + rng.randbytes(rng.randrange(60))
            case 1:
                # A crowd of one thing, which must be counted before it is built.
                word = rng.choice(_WORDS)
                return bytes([kind]) + word * rng.choice(
                    (1, 9, 60, 3000 if rng.random() < 0.1 else 10, _crowd(rng, word))
                )
            case 2 | 3 | 4:
                value = plain(rng, 5)
                if kind & 1:
                    return bytes([kind]) + json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "replace")
                with contextlib.suppress(OverflowError, UnicodeError):
                    return bytes([kind]) + bytes(msgpack.packb([value, rng.randbytes(number(rng, 6))]))
                return bytes([kind])
            case _:
                return mutated(rng, rng.choice(pool), pool, _WORDS)

    async def check(self, data: bytes) -> str:
        kind, answer = data[0] if data else 0, data[1:]
        codec = _CODECS[kind & 1]
        bounds = _SMALL if kind & 2 else DEFAULT_BOUNDS
        before = time.thread_time()
        try:
            value = decode(answer, codec, bounds)
        except GuestError as error:
            assert time.thread_time() - before < 5
            assert_printable(error.message, 400)
            return f"{codec} {outline(error.message)}"
        assert time.thread_time() - before < 5
        elements, depth = _size(value)
        assert len(answer) <= bounds.size
        assert elements <= bounds.elements
        assert depth <= bounds.depth
        if codec == "json":
            _agrees_with_json(value, answer)
        else:
            assert _same(value, msgpack.unpackb(answer, strict_map_key=True))
            _is_written_as_json(answer, value)
        again = encode(value, codec)
        assert _same(decode(again, codec), value)
        return f"{codec} accepted {type(value).__name__} {elements.bit_length()} {depth}"


def _crowd(rng: random.Random, word: bytes) -> int:
    return 2 * MIB // len(word) if rng.random() < 0.01 else 5


def _agrees_with_json(value: Any, answer: bytes) -> None:
    expected = json.loads(answer)
    # Half surrogate pairs become U+FFFD, and may make two keys one.
    if "\\ud" not in answer.decode().lower():
        assert _same(value, expected)


def _is_written_as_json(answer: bytes, value: Any) -> None:
    # Every container as if it were a large one: each seam is tried.
    try:
        whole = encode(value, "json")
    except UsageError:
        return
    large = frozenset(at for at in range(len(answer)) if _container_begins(answer, at))
    shape = scan_msgpack(answer, DataBounds(size=len(answer)))
    for offsets in (shape.large, large if len(answer) < 2000 else shape.large):
        with contextlib.suppress(ValueError):
            assert _same(unpack(answer, offsets), value)
        written = b"".join(json_from_msgpack(answer, offsets))
        assert _same(json.loads(written), json.loads(whole))


def _container_begins(data: bytes, at: int) -> bool:
    byte = data[at]
    return byte >> 4 in (8, 9) or 0xDC <= byte <= 0xDF


def _size(value: Any) -> tuple[int, int]:
    elements, deepest = 0, 0
    stack = [(value, 0)]
    while stack:
        here, depth = stack.pop()
        elements += 1
        if isinstance(here, dict | list):
            depth += 1
            deepest = max(deepest, depth)
            if isinstance(here, dict):
                elements += len(here)
                assert all(isinstance(key, str) for key in here)
                here = list(here.values())
            stack.extend((item, depth) for item in here)
        else:
            assert here is None or isinstance(here, bool | int | float | str | bytes), type(here)
            if type(here) is int:
                assert -(1 << 63) <= here < 1 << 64
    return elements, deepest


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)
