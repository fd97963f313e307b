"""Changed modules: what the parser reads must be what the engine's validator reads.

For each: the parser raises nothing but MalformedError, and admission nothing but RejectedError with a sentence that can
be printed; a module that the engine accepts is parsed, to the same imports and exports as the engine reports. Where
parser and engine read one file in two ways, a guest could hide an import from the check.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import suppress

import wasmtime
from fuzz.modules import corpus
from fuzz.mutation import assert_printable, mutated, outline
from fuzz.plain import plain_engine
from fuzz.target import MIB, Target

from innkeeper.errors import RejectedError
from innkeeper.sandbox.admission import admit, resolve
from innkeeper.sandbox.wasm import MalformedError, UnsupportedError, parse

_WORDS = (
    b"\x40\0", b"\xfc\x0f\0", b"\xff\xff\xff\xff\x0f", b"\x80\0", b"\0", b"\x0b", b"\x7f", b"\xfd\x0c", b"\x60\0\0",
    b"\x80\x80\x80\x80\0",
    b"\x80\x80\x80\x80\x10", b"\0\x03abc", b"\x02\x05\x01\0\0\0\0", b"\x7b", b"\x70", b"\x6f", b"\x64", b"\x5e\x7f",
    b"\x08\x01\0",
    b"\x0c\x01\0", b"\x0d\x01\0", b"\x04\x04\x01\x70\x01\xff", b"\x05\x03\x01\x01\x04", b"innkeeper:x",
    b"\x0dextism:host/env", b"\xff",
)  # fmt: skip


class Fuzz(Target):
    """An input is the bytes of a file."""

    guided = True
    hang = 20.0

    def __init__(self) -> None:
        self._engine = plain_engine()

    def seeds(self) -> Sequence[bytes]:
        return corpus()

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        return mutated(rng, rng.choice(pool), pool, _WORDS, start=rng.choice((0, 8, 8, 8, 8)))

    async def check(self, data: bytes) -> str:
        before = time.thread_time()
        refusal = None
        try:
            info = admit(data, plugin="fuzz", size_limit=MIB)
            resolve(info, {}, [])
        except RejectedError as error:
            assert_printable(error.message, 5000)
            refusal = outline(error.message)[:48]
        assert time.thread_time() - before < 3
        try:
            wasmtime.Module.validate(self._engine, data)
        except wasmtime.WasmtimeError:
            with suppress(MalformedError):
                parse(data)
            return f"not valid {refusal}"
        try:
            info = parse(data)
        except UnsupportedError as error:
            # The engine lets an empty group of imports pass, though it says that this proposal is off.
            assert error.proposal == "compact imports", error
            return "valid, with an empty group of imports"
        module = wasmtime.Module(self._engine, data)
        assert [(wanted.module, wanted.name) for wanted in info.imports] == [(i.module, i.name) for i in module.imports]
        assert list(info.exports) == [export.name for export in module.exports]
        parts = (info.sections, info.imports, info.exports, info.types, info.tables, info.globals)
        return f"valid {refusal} {[len(part).bit_length() for part in parts]}"
