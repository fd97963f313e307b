"""A host whose functions answer at random: well, oddly, late, never, or by raising."""

from __future__ import annotations

import random
from typing import Any

import trio
from fuzz.mutation import number

from innkeeper.errors import LimitError
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.limits import MIB

_FUNCTIONS = (
    ("bytes_bytes", (Value.BYTES,), Value.BYTES),
    ("two_bytes", (Value.BYTES, Value.BYTES), Value.BYTES),
    ("nothing_bytes", (), Value.BYTES),
    ("bytes_nothing", (Value.BYTES,), None),
    ("number", (Value.I64,), Value.I64),
    ("narrow", (Value.I32,), Value.I32),
    ("real", (Value.F64,), Value.F32),
    ("bytes_number", (Value.BYTES, Value.I64), Value.I32),
)
"""Name, parameters and result of each, in the namespace `host`."""

_KINDS = 20
_SIZES = (0, 1, 15, 16, 17, 4096, 32_768, 32_769, 70_000, MIB)


class RaisedError(Exception):
    """What a host function raises of its own."""


class _Odd:
    """An object that is neither bytes nor a number, and says so loudly."""

    def __index__(self) -> int:
        raise RaisedError("index")

    def __len__(self) -> int:
        raise RaisedError("len")


class Answers:
    """The host functions, and what they raised since `begin`."""

    def __init__(self) -> None:
        self._rng = random.Random()
        self.raised: list[BaseException] = []

    def begin(self, seed: bytes) -> None:
        """Decides what the answers will be."""
        self._rng.seed(seed)
        self.raised.clear()

    def functions(self) -> list[HostFunction]:
        """What a guest may import."""
        return [HostFunction(name, self._handler(gives), given, gives, "host") for name, given, gives in _FUNCTIONS]

    def _handler(self, gives: Value | None) -> Any:
        async def handler(*given: Any) -> Any:
            return await self._answer(given, gives)

        return handler

    async def _answer(self, given: tuple[Any, ...], gives: Value | None) -> Any:
        rng = self._rng
        kind = rng.randrange(_KINDS)
        if kind == 0:
            own = LimitError("own", limit="own")
            error = rng.choice((RaisedError("as it is"), ValueError("\x1b"), own, MemoryError(), KeyError()))
            self.raised.append(error)
            raise error
        if kind == 1:
            await trio.sleep(rng.choice((0, 0, 0.001, 0.005)))
        elif kind == 2 and rng.random() < 0.2:
            await trio.sleep_forever()
        elif kind == 3:
            numbers = (1 << 70, 1 << 20_000, -1, 2.5, float("nan"), True)
            return rng.choice((None, "text", [1], _Odd(), b"x", bytearray(5), memoryview(b"abcdef")[::2], *numbers))
        elif kind == 4:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.lowlevel.checkpoint)
        return self._fitting(kind, given, gives)

    def _fitting(self, kind: int, given: tuple[Any, ...], gives: Value | None) -> Any:
        rng = self._rng
        if gives is None:
            return None
        if gives is not Value.BYTES:
            value = number(rng)
            bits = 31 if gives is Value.I32 else 63
            return float(value) if gives is Value.F32 else (value & ((1 << bits) - 1)) - rng.choice((0, 1 << bits))
        if kind < 8 and given and isinstance(given[0], bytes):
            return given[0]
        if kind == 8:
            return rng.choice((None, b"", bytearray(b"abc"), memoryview(b"abcdef")))
        return bytes(rng.choice(_SIZES) + rng.randrange(2))
