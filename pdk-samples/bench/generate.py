"""Writes large.c: a few thousand different functions that a table reaches, and data that they read.

    python generate.py OUTPUT

The same bytes on each machine: its random numbers are its own. The functions are what compilers see in programs of
that size: branches, loops, switches, calls of each other, floating point, reads and writes of memory. All of them can
be called (`dispatch` takes the number from the input), so nothing of them is dropped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

FUNCTIONS = 2200
TABLE_WORDS = 24_000
"""Words of 8 bytes of constant data."""

_HEAD = """// Written by generate.py.
#include "abi.h"

typedef uint64_t u64;
static u64 state[256];
"""

_TAIL = """
EXPORT(dispatch) int32_t dispatch(void) {
    u64 number = input_load_u64(0), value = input_load_u64(8), block = alloc(8);
    store_u64(block, functions[number % (sizeof functions / sizeof *functions)](value, number));
    output_set(block, 8);
    return 0;
}
"""


class Numbers:
    """Random numbers (xorshift) that are the same in each version of Python."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def word(self) -> int:
        state = self._state
        state ^= state << 13 & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 7
        state ^= state << 17 & 0xFFFFFFFFFFFFFFFF
        self._state = state
        return state

    def below(self, most: int) -> int:
        return (self.word() >> 20) % most


def statement(numbers: Numbers, name: int) -> str:
    """One statement of function `name`; it calls earlier functions only, so that every call ends."""
    shift, index, word = 1 + numbers.below(62), numbers.below(256), numbers.word()
    data, rounds, ways = numbers.below(TABLE_WORDS), 2 + numbers.below(7), 3 + numbers.below(6)
    kind = numbers.below(9)
    if kind == 0:
        return f"a = (a << {shift} | a >> {64 - shift}) + b * {word}u;"
    if kind == 1:
        return (
            f"if ((a ^ b) % {3 + index} == {index % 3}) b += constants[(a + {data}) % {TABLE_WORDS}]; else a ^= b >> 7;"
        )
    if kind == 2:
        step = f"state[(a + i * {2 * index + 1}) & 255] += b ^ constants[{data} / (i + 1)];"
        return f"for (u64 i = 0; i < {rounds}; i++) {step}"
    if kind == 3:
        cases = " ".join(
            f"case {way}: {'ab'[way & 1]} ^= {numbers.word()}u; b = b * {2 * numbers.below(1 << 30) + 1}u + a; break;"
            for way in range(ways)
        )
        return f"switch (a % {ways + 1}) {{ {cases} default: a -= b; }}"
    if kind == 4 and name:
        return f"if (depth) b ^= call(a, {numbers.below(name)}, depth - 1);"
    if kind == 5:
        return f"{{ double x = (double)(a >> 12) * {index + 1}.5; a += (u64)(x / ((double)(b & 1023) + 1.25)); }}"
    if kind == 6:
        return f"state[{index}] = state[(b >> {shift % 56}) & 255] - a; b += state[{(index * 7) & 255}];"
    if kind == 7:
        step = f"b = (b >> 1) + {word >> 1}u % (a | 1); if (++a % {rounds + 1} == 0) break;"
        return f"while (b & {1 << (shift % 5)}) {{ {step} }}"
    return f"a = a > b ? a - b * {word}u : b - (a >> {shift % 32});"


def source() -> Iterator[str]:
    """The C file, piece by piece."""
    numbers = Numbers(0x1234567890ABCDEF)
    yield _HEAD
    words = ",\n    ".join(
        ", ".join(f"{numbers.word()}u" for _ in range(min(4, TABLE_WORDS - at))) for at in range(0, TABLE_WORDS, 4)
    )
    yield f"static const u64 constants[{TABLE_WORDS}] = {{\n    {words}}};\n"
    yield f"typedef u64 function(u64, u64);\nextern function *const functions[{FUNCTIONS}];\n"
    yield "static u64 call(u64 value, u64 number, u64 depth) { return functions[number](value, depth); }\n"
    for name in range(FUNCTIONS):
        body = "\n    ".join(statement(numbers, name) for _ in range(5 + numbers.below(8)))
        yield (
            f"\nstatic u64 f{name}(u64 a, u64 number) {{\n    u64 b = a * {numbers.word()}u + 1, depth = number & 3;\n"
            f"    {body}\n    return (depth ? a : b) + a;\n}}\n"
        )
    yield f"\nfunction *const functions[{FUNCTIONS}] = {{\n    "
    yield ",\n    ".join(
        ", ".join(f"f{name}" for name in range(at, min(at + 12, FUNCTIONS))) for at in range(0, FUNCTIONS, 12)
    )
    yield "};\n" + _TAIL


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(source()), "ascii")
