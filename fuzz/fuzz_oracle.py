"""Well-behaved modules on the host's engine and on the oracle: output, return code, log and kind of error are the same.

The oracle is the extism package in processes of its own; docs/oracle.md has what differs on purpose, and the generator
leaves that out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import wasmtime
from fuzz.engines import LIMITS, Ending, callable_functions, ending, logged, tested
from fuzz.generator import LOGS, SUPPORT
from fuzz.modules import module_text
from fuzz.mutation import outline
from fuzz.target import MIB, Target

from innkeeper.errors import RejectedError
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.oracle.engine import open_oracle

_INPUT = bytes(range(1, 30))
# The oracle's own time is not the guest's: limits of time are wide here.
_LIMITS = replace(LIMITS, cpu=2.0, wall=20.0, host_call=5.0, kernel_memory=16 * MIB)


class Fuzz(Target):
    """An input is a module."""

    hang = 120.0

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._log: list[bytes] = []

    async def __aenter__(self) -> Fuzz:
        self._tested = await self._stack.enter_async_context(tested())
        self._oracle = await self._stack.enter_async_context(open_oracle(Bounds(workers=1)))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        return bytes(wasmtime.wat2wasm(module_text(rng, portable=True)))

    def _functions(self) -> list[HostFunction]:
        def handler(type_: str) -> Any:
            async def log(value: float) -> None:
                self._log.append(logged(type_, value))

            return log

        return [HostFunction(name, handler(type_), [Value(type_)], None, SUPPORT) for name, type_ in LOGS.items()]

    async def _on(self, engine: Any, data: bytes, names: Sequence[str]) -> list[Ending]:
        try:
            program = await engine.load(data, functions=self._functions())
        except RejectedError as error:
            return [Ending("rejected", error.message)]
        endings = []
        try:
            for name in names:
                self._log = []
                endings.append(await ending(program, name, _INPUT, self._log, _LIMITS))
        finally:
            program.close()
        return endings

    async def check(self, data: bytes) -> str:
        names = callable_functions(data)[:2]
        ours = await self._on(self._tested.engine, data, names)
        theirs = await self._on(self._oracle, data, names)
        assert len(ours) == len(theirs), (ours, theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.what == other.what, f"ours {mine.what} {mine.detail}, the oracle's {other.what} {other.detail}"
            if mine.what == "returned":
                assert mine.detail == other.detail, f"ours {mine.detail!r}, the oracle's {other.detail!r}"
            assert mine.logged == other.logged, f"ours {mine.logged[-5:]}, the oracle's {other.logged[-5:]}"
        await self._tested.nothing_is_held()
        return " ".join(f"{one.what} {outline(str(one.detail))[:40]}" for one in ours if one.what != "returned")
