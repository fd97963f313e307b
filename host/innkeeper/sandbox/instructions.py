"""How a function's code is walked over: every instruction of the proposals that are on, by regular expressions.

Every alternative begins with other bytes than the rest and repetitions are possessive, so matching never goes back:
its time is linear in the length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from innkeeper.sandbox.leb import u32
from innkeeper.sandbox.module_info import MalformedError, UnsupportedError

LEB = rb"[\x80-\xff]{0,9}+[\0-\x7f]"
"""A LEB128 number."""

CONSTANT = b"|".join(
    (
        rb"[\x23\x41\x42\xd0\xd2]" + LEB,  # global.get, i32.const, i64.const, ref.null, ref.func
        rb"\x43.{4}|\x44.{8}|\xfd\x0c.{16}",  # f32.const, f64.const, v128.const
        rb"[\x6a-\x6c\x7c-\x7e]",  # add, sub, mul of i32 and i64
    )
)
"""Alternatives for one instruction of a constant expression, but its `end`; with `re.DOTALL`."""


def sub(*ranges: tuple[int, int]) -> bytes:
    """A pattern for a LEB128 number, perhaps padded with zeros, in one of these ranges [first, last] below 256."""
    numbers = [number for first, last in ranges for number in range(first, last + 1)]
    short = b"".join(b"\\x%02x" % number for number in numbers if number < 0x80)
    padded = b"".join(b"\\x%02x" % (number | 0x80) for number in numbers if number < 0x80)
    two = b"".join(b"\\x%02x" % number for number in numbers if number >= 0x80)
    parts = [b"[%b]" % short, rb"[%b]\x80{0,3}+\0" % padded] if short else []
    if two:
        parts.append(rb"[%b](?:\x01|\x81\x80{0,2}+\0)" % two)
    return _any(*parts)


def _any(*alternatives: bytes) -> bytes:
    return b"(?:" + b"|".join(alternatives) + b")"


CALLS, LOCALS, GLOBALS, MEMORY_GROW = rb"\x10\x12\xd2", rb"\x20-\x22", rb"\x23\x24", rb"\x40"
"""Opcodes that one number follows, as characters of a class. `CALLS`: call, return_call, ref.func."""
TABLE_GROW = rb"\xfc" + sub((15, 15))
"""A pattern for an opcode that one number follows."""

_OTHERS = rb"\x02-\x04\x0c\x0d\x25\x26\x3f\x41\x42\xd0"
"""block, loop, if, br, br_if, table.get, table.set, memory.size, i32.const, i64.const, ref.null"""


@cache
def run_without(*left_out: bytes, any_memory: bool = False) -> re.Pattern[bytes]:
    """A pattern for up to 1,000 instructions in a row: a match holds the interpreter, and other threads want their
    turn. `br_table` is never among them. Made when it is first asked for: only processes that compile need it.

    Args:
        left_out: those of the opcodes above that are not among them.
        any_memory: whether loads and stores may name another memory than number 0.
    """
    one_number = b"".join(group for group in (CALLS, LOCALS, GLOBALS, MEMORY_GROW) if group not in left_out)
    tables = (16, 17) if TABLE_GROW in left_out else (15, 17)  # table.grow, table.size, table.fill
    # Alignment and offset; bit 6 of the alignment says that the number of a memory stands between them.
    place = _any(rb"[\x40-\x7f]" + LEB + LEB, rb"[\0-\x3f]" + LEB) if any_memory else LEB + LEB
    one = _any(
        rb"[" + one_number + _OTHERS + rb"]" + LEB,
        rb"[\x00\x01\x05\x0b\x0f\x1a\x1b\x45-\xc4\xd1]",  # control, parametric and numeric ones without any
        rb"[\x11\x13]" + LEB + LEB,  # call_indirect, return_call_indirect
        rb"[\x28-\x3e]" + place,  # loads and stores
        rb"\x43.{4}|\x44.{8}",  # f32.const, f64.const
        rb"\x1c(?:\x01|\x81\x80{0,3}+\0)[\x6f\x70\x7b-\x7f]",  # select with a type
        rb"\xfc"
        + _any(
            sub((0, 7)),  # saturating conversions
            sub((9, 9), (11, 11), (13, 13), tables) + LEB,  # data.drop, memory.fill, elem.drop, and these
            sub((8, 8), (10, 10), (12, 12), (14, 14)) + LEB + LEB,  # memory.init, .copy, table.init, .copy
        ),
        rb"\xfd"
        + _any(
            sub((14, 20), (35, 83), (94, 255)),
            sub((0, 11), (92, 93)) + LEB + LEB,  # loads and stores
            sub((84, 91)) + LEB + LEB + rb".",  # loads and stores of one lane
            sub((12, 13)) + rb".{16}",  # v128.const, i8x16.shuffle
            sub((21, 34)) + rb".",  # lanes
        ),
    )
    return re.compile(one + b"{0,1000}+", re.DOTALL)


_LOCAL_GROUP = re.compile(LEB + rb"[\x6f\x70\x7b-\x7f]")


def after_locals(wasm: bytes, start: int, end: int) -> int:
    """The offset of a body's first instruction; the body lies in `[start, end)`."""
    groups, pos = u32(wasm, start, end)
    for _ in range(groups):
        local = _LOCAL_GROUP.match(wasm, pos, end)
        if local is None:
            raise MalformedError(f"the local variables at offset {pos} are not readable")
        pos = local.end()
    return pos


def walk(
    wasm: bytes, pos: int, end: int, plain: re.Pattern[bytes], wanted: re.Pattern[bytes]
) -> Iterator[re.Match[bytes]]:
    """The instructions in `[pos, end)` that `wanted` matches.

    Args:
        plain: of `run_without`: everything else that there may be.

    Raises:
        UnsupportedError, MalformedError: an instruction is neither of both.
    """
    while pos < end:
        run = plain.match(wasm, pos, end)
        assert run is not None, "the pattern matches nothing, too"
        here, pos = pos, run.end()
        if pos >= end:
            return
        found = wanted.match(wasm, pos, end)
        if found is not None:
            yield found
            pos = found.end()
        elif wasm[pos] == 0x0E:
            pos = after_br_table(wasm, pos, end)
        elif pos == here:
            raise UnsupportedError(
                f"an unknown instruction 0x{wasm[pos]:02x} at offset {pos}", _PROPOSALS.get(wasm[pos])
            )


def after_br_table(wasm: bytes, pos: int, end: int) -> int:
    """The offset after the `br_table` at `pos`."""
    count, pos = u32(wasm, pos + 1, end)
    labels = count + 1
    if labels > end - pos:
        raise MalformedError(f"the branches counted at offset {pos} have no room")
    if wasm[pos : pos + labels].isascii():
        return pos + labels
    for _ in range(labels):
        _, pos = u32(wasm, pos, end)
    return pos


_PROPOSALS = {
    **dict.fromkeys((0x06, 0x07, 0x08, 0x09, 0x0A, 0x18, 0x19, 0x1F), "exceptions"),
    **dict.fromkeys((0x14, 0x15, 0xD4, 0xD5, 0xD6), "function references"),
    **dict.fromkeys((0xD3, 0xFB), "garbage collection"),
    **dict.fromkeys(range(0xE0, 0xE7), "stack switching"),
    0x40: "multi-memory",
    0xFC: "wide arithmetic",
    0xFD: "relaxed SIMD",
    0xFE: "threads",
}
"""The first byte of an instruction that is not known here, to the proposal that may have it."""
