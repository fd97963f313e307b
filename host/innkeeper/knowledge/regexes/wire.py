"""What the host and the guest that tests regular expressions say to each other; pdk-samples/regexes has its side."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from innkeeper.knowledge.regexes.interface import Regex, Verdict

STEPS: Final = 10_000
"""Steps of the matcher in a unit of the limits that the guest is given."""

_BITS: Final = {"g": 1, "i": 2, "m": 4, "s": 8, "u": 16, "y": 32, "d": 64, "v": 256}
_UNICODE: Final = 16 | 256
_VERDICTS: Final = (Verdict.MATCH, Verdict.NO_MATCH, Verdict.INVALID, Verdict.TIMEOUT)
_BEGIN = struct.Struct("<4I")
_REGEX = struct.Struct("<2I")
_SPENT = struct.Struct("<I")


def encode_begin(text: str, each: int, total: int, heap: int) -> bytes:
    """The input of `begin`.

    Args:
        text: what is tested against; halves of surrogate pairs may stand alone in it.
        each, total: what one expression may take, and all together, in `STEPS`.
        heap: bytes that one expression may hold.
    """
    try:
        # As JavaScript's engines keep it: half of the memory, and the same answers.
        unit, data = 1, text.encode("latin-1")
    except UnicodeEncodeError:
        unit, data = 2, text.encode("utf-16-le", "surrogatepass")
    return _BEGIN.pack(each, total, heap, unit) + data


def encode_regex(regex: Regex) -> bytes | None:
    """One expression for `test`, or None where its flags are none that JavaScript knows."""
    bits = 0
    for flag in regex.flags:
        bit = _BITS.get(flag, 0)
        if not bit or bits & bit:
            return None
        bits |= bit
    if bits & _UNICODE == _UNICODE:
        return None
    pattern = _pattern(regex.pattern, whole=bool(bits & _UNICODE))
    return _REGEX.pack(bits, len(pattern)) + pattern


def _pattern(pattern: str, *, whole: bool) -> bytes:
    if pattern.isascii():
        return pattern.encode()
    units = pattern.encode("utf-16-le", "surrogatepass")
    if whole:
        # Two halves that stand side by side are a character.
        return units.decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")
    halves = struct.unpack(f"<{len(units) // 2}H", units)
    return "".join(map(chr, halves)).encode("utf-8", "surrogatepass")


def decode_test(output: bytes, count: int) -> tuple[Sequence[Verdict], int]:
    """The output of `test`.

    Args:
        output: as the guest gave it.
        count: expressions that it was given.

    Returns:
        a verdict for each, and what was spent since `begin`, in `STEPS`.

    Raises:
        ValueError: it is not what the guest's source writes.
    """
    if len(output) != count + _SPENT.size or any(code >= len(_VERDICTS) for code in output[:count]):
        raise ValueError("the guest that tests regular expressions answered something else")
    return [_VERDICTS[code] for code in output[:count]], _SPENT.unpack_from(output, count)[0]
