"""Changes to bytes and to plain data, from a source of chance alone."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

EDGES = sorted(
    {0, 1, 2, 7, 8, 15, 16, 17, 63, 64, 127, 128, 255, 256, 1000, 4096, 65_535, 65_536, 1 << 20}
    | {(1 << bits) + near for bits in (31, 32, 33, 40, 53, 62, 63, 64) for near in (-8, -1, 0, 1)}
)
"""Numbers at which widths, signs and sizes end."""


def number(rng: random.Random, bits: int = 64) -> int:
    """A number of so many bits: mostly small or at an edge."""
    mask = (1 << bits) - 1
    match rng.randrange(6):
        case 0:
            return rng.getrandbits(bits)
        case 1:
            return -rng.randrange(1, 300) & mask
        case 2 | 3:
            return rng.choice(EDGES) & mask
        case _:
            return rng.getrandbits(rng.randint(1, 16)) & mask


def mutated(
    rng: random.Random, data: bytes, pool: Sequence[bytes] = (), words: Sequence[bytes] = (), start: int = 0
) -> bytes:
    """The bytes with one to five changes from `start` on: bits, bytes, words, pieces doubled, cut, moved, or taken from
    another input of the pool."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        size = len(out)
        if size <= start:
            out += rng.randbytes(rng.randint(1, 8))
            continue
        at = rng.randrange(start, size)
        match rng.randrange(10):
            case 0:
                out[at] = rng.randrange(256)
            case 1:
                out[at] ^= 1 << rng.randrange(8)
            case 2:
                out[at] = out[rng.randrange(start, size)]
            case 3 if words:
                piece = rng.choice(words)
                out[at : at + rng.choice((0, len(piece)))] = piece
            case 4:
                del out[at : at + _length(rng, size)]
            case 5:
                out[at:at] = rng.randbytes(rng.randint(1, 4))
            case 6:
                first = rng.randrange(start, size)
                out[at:at] = out[first : first + _length(rng, size)]
            case 7 if pool:
                other = rng.choice(pool)
                if len(other) > start:
                    first = rng.randrange(start, len(other))
                    out[at : at + _length(rng, size)] = other[first : first + _length(rng, len(other))]
            case 8:
                width = rng.choice((1, 2, 4, 8))
                out[at : at + width] = number(rng, 8 * width).to_bytes(width, rng.choice(("little", "big")))
            case _:
                out[at] = (out[at] + rng.choice((1, -1))) & 255
    return bytes(out)


def _length(rng: random.Random, size: int) -> int:
    return rng.randint(1, rng.choice((2, 8, 64, max(64, size // 2))))


_TEXTS = (
    "", "a", "b", "out", "text", "0", "__1", "a__0", "x" * 70, "x" * 300, "\x00", "\x1b[31m", "\x7f", "\x9b2J", "\r\n",
    "\u202e", "\u2028", "\ufeff", "\ud83d", "😀", "ž", "../a", "/etc/passwd", "{}", "'", '"', "\\", "%s", "${x}",
    "STRING", "FLOAT", "true", "null", "NaN", "1e999", "-0", "64MiB", "1s", "0.1B", "9" * 400,
)  # fmt: skip


def text(rng: random.Random) -> str:
    """A text: an odd one, or a few odd ones behind each other."""
    return "".join(rng.choice(_TEXTS) for _ in range(rng.choice((1, 1, 1, 2, 3))))


def plain(rng: random.Random, depth: int = 3) -> Any:
    """A value such as JSON has, of any kind."""
    match rng.randrange(9 if depth else 7):
        case 0:
            return None
        case 1:
            return rng.random() < 0.5
        case 2:
            return number(rng) * rng.choice((1, -1))
        case 3:
            return rng.choice((0.0, -0.0, 0.5, 1e308, -1e-320, float(number(rng)), rng.random()))
        case 7:
            return [plain(rng, depth - 1) for _ in range(rng.randrange(5))]
        case 8:
            return {text(rng): plain(rng, depth - 1) for _ in range(rng.randrange(5))}
        case _:
            return text(rng)


def reshaped(rng: random.Random, value: Any) -> Any:
    """A copy of plain data in which one place is another value, gone, doubled or of another name."""
    value = _copied(value)
    containers = list(_containers(value))
    if not containers:
        return plain(rng)
    here = rng.choice(containers)
    if isinstance(here, list):
        at = rng.randrange(len(here))
        match rng.randrange(4):
            case 0:
                del here[at]
            case 1:
                here.append(_copied(here[at]))
            case 2:
                here[at] = plain(rng)
            case _:
                here[at] = _copied(rng.choice(here))
        return value
    key = rng.choice(list(here))
    match rng.randrange(5):
        case 0:
            del here[key]
        case 1:
            here[text(rng)] = here.pop(key)
        case 2:
            here[text(rng)] = plain(rng)
        case 3:
            here[key] = _copied(here[rng.choice(list(here))])
        case _:
            here[key] = plain(rng)
    return value


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _containers(value: Any) -> list[Any]:
    found = []
    stack = [value]
    while stack:
        here = stack.pop()
        if isinstance(here, dict | list) and here:
            found.append(here)
            stack.extend(here.values() if isinstance(here, dict) else here)
    return found


def outline(message: str) -> str:
    """A message without what it quotes and counts: two inputs with the same outline failed in the same way."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|0x[0-9a-f]+|[\d,.]+|[^\x20-\x7e]+", "#", message)[:120]


_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def assert_printable(message: str, most: int) -> None:
    """A message can be shown on a terminal: no control characters but ends of lines, no half characters, not long."""
    odd = _CONTROL.search(message)
    assert odd is None, f"the message has {odd[0]!r} at {odd.start()}: {message[max(0, odd.start() - 80) :][:160]!r}"
    assert len(message) <= most, f"the message has {len(message)} characters: {message[:200]!r}"
