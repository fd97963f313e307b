"""Well-behaved modules on the host's engine and on the oracle: output, return code, log and kind of error are the same.

The oracle is the extism package in processes of its own; docs/oracle.md has what differs on purpose, and the generator
leaves that out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

import wasmtime
from fuzz.engines import LIMITS, Ending, EngineTarget, callable_functions
from fuzz.generator import SUPPORT
from fuzz.modules import module_text
from fuzz.mutation import outline
from fuzz.target import MIB

from innkeeper.errors import RejectedError
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.interface import Engine
from innkeeper.sandbox.oracle.engine import open_oracle

_INPUT = bytes(range(1, 30))
# The oracle's own time is not the guest's: limits of time are wide here.
_LIMITS = replace(LIMITS, cpu=2.0, wall=20.0, host_call=5.0, kernel_memory=16 * MIB)


class Fuzz(EngineTarget):
    """An input is a module."""

    hang = 120.0

    async def prepare(self, stack: AsyncExitStack) -> None:
        self._oracle = await stack.enter_async_context(open_oracle(Bounds(workers=1)))

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        return bytes(wasmtime.wat2wasm(module_text(rng, portable=True)))

    async def _on(self, engine: Engine, data: bytes, names: Sequence[str]) -> list[Ending]:
        try:
            program = await engine.load(data, functions=self.tested.functions(SUPPORT))
        except RejectedError as error:
            return [Ending("rejected", error.message)]
        endings = []
        try:
            for name in names:
                endings.append(await self.tested.call(program, name, _INPUT, _LIMITS))
        finally:
            program.close()
        return endings

    async def check(self, data: bytes) -> str:
        names = callable_functions(data)[:2]
        ours = await self._on(self.tested.engine, data, names)
        theirs = await self._on(self._oracle, data, names)
        assert len(ours) == len(theirs), (ours, theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.what == other.what, f"ours {mine.what} {mine.detail}, the oracle's {other.what} {other.detail}"
            if mine.what == "returned":
                assert mine.detail == other.detail, f"ours {mine.detail!r}, the oracle's {other.detail!r}"
            assert mine.logged == other.logged, f"ours {mine.logged[-5:]}, the oracle's {other.logged[-5:]}"
        await self.tested.nothing_is_held()
        return " ".join(f"{one.what} {outline(str(one.detail))[:40]}" for one in ours if one.what != "returned")
