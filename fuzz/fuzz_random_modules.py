"""Random modules, valid and nearly so, under tight limits: whatever they do, the host goes on.

Each exported function is called. It ends with an output or with an error of the closed list, what it held is given
back, and a plugin that has nothing to do with it still answers right. A process that dies is a finding with the module
kept.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AsyncExitStack

import trio
import wasmtime
from fuzz import binaryen
from fuzz.engines import LIMITS, EngineTarget, callable_functions, ending
from fuzz.generator import SUPPORT
from fuzz.modules import corpus, module_text
from fuzz.mutation import assert_printable, mutated, outline

from innkeeper.errors import InnkeeperError, LimitError, RejectedError
from innkeeper.sandbox.interface import CallOptions, Program

_NEIGHBOUR = """(module
  (import "extism:host/env" "input_length" (func $length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $load (param i64) (result i32)))
  (func (export "sum") (result i32) (local $at i64) (local $sum i32)
    (loop $next
      (local.set $sum (i32.add (local.get $sum) (call $load (local.get $at))))
      (br_if $next (i64.lt_u (local.tee $at (i64.add (local.get $at) (i64.const 1))) (call $length))))
    (local.get $sum)))"""

_MOST_FUNCTIONS = 12
_WORDS = (
    b"\x03\x40\x0c\0\x0b", b"\x40\0", b"\xfc\x0f\0", b"\xfc\x0b\0", b"\xfc\x0a\0\0", b"\xff\xff\xff\xff\x0f",
    b"\x10\0", b"\x12\0",
    b"\x05\x03\x01\x00\x11", b"\x05\x04\x01\x00\x80\x80\x04", b"\x08\x01\0", b"\0", b"\x0f", b"\x41\x7f", b"_start",
    b"_initialize",
)  # fmt: skip


class Fuzz(EngineTarget):
    """An input is a module."""

    async def prepare(self, stack: AsyncExitStack) -> None:
        self._neighbour = await self.tested.engine.load(bytes(wasmtime.wat2wasm(_NEIGHBOUR)))

    def seeds(self) -> Sequence[bytes]:
        return corpus()

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        match rng.randrange(10):
            case 0 | 1 | 2:
                wasm = binaryen.module(rng, 8000)
                if wasm is not None:
                    return wasm
            case 3 | 4 | 5 | 6:
                return mutated(rng, rng.choice(pool), pool, _WORDS, start=8)
        return bytes(wasmtime.wat2wasm(module_text(rng)))

    async def check(self, data: bytes) -> str:
        try:
            program = await self.tested.load(data, linked=SUPPORT.encode() in data and b"log-v128" in data)
        except (RejectedError, LimitError) as error:
            assert_printable(error.message, 5000)
            return f"not loaded {outline(error.message)}"
        words = set()
        try:
            for name in callable_functions(data)[:_MOST_FUNCTIONS]:
                ended = await self.tested.call(program, name, b"input")
                assert ended.what in ("returned", "trap", "rejected", "limit"), ended
                assert (
                    ended.what != "returned"
                    or not isinstance(ended.detail, bytes)
                    or len(ended.detail) <= LIMITS.output
                )
                words.add(f"{ended.what} {outline(str(ended.detail)) if ended.what != 'returned' else ''}")
            words.add(await self._session(program, data))
        finally:
            program.close()
        await self.tested.nothing_is_held()
        answer = await ending(self._neighbour, "sum", b"\x01\x02\x27", [])
        assert answer.detail == 42, answer
        return " ".join(sorted(words))

    async def _session(self, program: Program, data: bytes) -> str:
        # The same guest for several calls, ended in the middle of one now and then.
        names = callable_functions(data)[:3]
        options = CallOptions(limits=LIMITS, plugin="fuzz")
        try:
            session = await program.open(options)
        except InnkeeperError as error:
            return f"not opened {error.kind.value}"
        try:
            for at, name in enumerate(names):
                with trio.move_on_after(0.002 if (len(data) + at) % 3 == 0 else 5):
                    await ending(session, name, b"", [])
        finally:
            await session.aclose()
        return f"session {session.spent}"
