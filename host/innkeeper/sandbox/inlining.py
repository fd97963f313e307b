"""Functions of the kernel whose code takes the place of the guest's calls of them.

The call's arguments go into local variables that the calling function gets for it; the body follows as a block.
"""

from __future__ import annotations

import re

from innkeeper.sandbox.instructions import CALLS, GLOBALS, LEB, LOCALS, after_locals, run_without, walk
from innkeeper.sandbox.leb import leb, u32
from innkeeper.sandbox.module_info import Signature

MAX_LOCALS = 49_000
"""An engine takes 50,000 locals of a function; one that has so many gets no more."""

_VALUE_TYPES = {"i32": 0x7F, "i64": 0x7E, "f32": 0x7D, "f64": 0x7C}
_NAMES_LOCAL = re.compile(b"[" + LOCALS + b"](" + LEB + b")")


class Inlined:
    """A function of the kernel as code that may stand anywhere.

    Attributes:
        parameters: value types, such as ("i64", "i32").
    """

    def __init__(self, signature: Signature, body: bytes) -> None:
        """Args:
        signature: its type, with one result or none.
        body: it neither calls nor returns early, and has no locals but its parameters.
        """
        self.parameters, results = signature
        self._code = body[after_locals(body, 0, len(body)) :]
        self._block = bytes([0x02, _VALUE_TYPES[results[0]] if results else 0x40])

    def at(self, first: int) -> bytes:
        """The code that takes the place of a call; `first` is the index of the first of its parameters' locals."""
        out = bytearray()
        for position in reversed(range(len(self.parameters))):
            out += b"\x21" + leb(first + position)
        out += self._block
        last = 0
        plain = run_without(CALLS, LOCALS, GLOBALS, any_memory=True)
        for item in walk(self._code, 0, len(self._code), plain, _NAMES_LOCAL):
            number = item.group(1)
            out += self._code[last : item.start(1)] + leb(first + u32(number, 0, len(number))[0])
            last = item.end()
        return bytes(out + self._code[last:])


class Locals:
    """The local variables of one of the guest's functions, and more behind them.

    Attributes:
        count: how many there are, parameters included.
    """

    def __init__(self, wasm: bytes, start: int, end: int, parameters: int) -> None:
        """Args:
        wasm: the guest.
        start: offset of the function's body, which begins with its groups of local variables.
        end: where they end.
        parameters: how many it has.
        """
        self._groups, pos = u32(wasm, start, end)
        self._own = wasm[pos:end]
        self._more = b""
        self._code: dict[Inlined, bytes] = {}
        self.count = parameters
        while pos < end:
            number, pos = u32(wasm, pos, end)
            self.count += number
            pos += 1

    def inline(self, body: Inlined) -> bytes:
        """The code in place of a call; each inlined function has its variables once."""
        code = self._code.get(body)
        if code is None:
            code = self._code[body] = body.at(self.count)
            self.count += len(body.parameters)
            self._groups += len(body.parameters)
            self._more += b"".join(bytes([1, _VALUE_TYPES[name]]) for name in body.parameters)
        return code

    @property
    def header(self) -> bytes:
        """The groups of local variables."""
        return leb(self._groups) + self._own + self._more
