"""Valid modules on the host's engine and on wasmtime's plain API: what they log, give and trap with is the same.

The modules are our own generator's, Binaryen's where it is installed, and changed ones that are still valid. The host
rewrites a module (growth is watched, the kernel moves in); what the guest can see of that is nothing.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence

import wasmtime
from fuzz import binaryen
from fuzz.engines import Ending, EngineTarget, callable_functions
from fuzz.modules import corpus, module_text
from fuzz.mutation import assert_printable, mutated, outline
from fuzz.plain import Plain

from innkeeper.errors import RejectedError

_INPUT = bytes(range(1, 30))

_MAY_BE_REFUSED = re.compile(
    r"innkeeper:|object file|imports what this host does not have|imports the (memory|table|global)|more than|"
    r"compact imports|\d memories|_initialize|built "
)
"""What the host refuses on purpose though the engine would take it."""

_MOST_FUNCTIONS = 8


class Fuzz(EngineTarget):
    """An input is a module; a bit of its checksum says whether the imports for logging come from a linked one."""

    def __init__(self) -> None:
        self._plain = Plain()

    def seeds(self) -> Sequence[bytes]:
        return corpus()[3:]

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        match rng.randrange(10):
            case 0 | 1:
                wasm = binaryen.module(rng)
                if wasm is not None:
                    return wasm
            case 2 | 3 | 4:
                return mutated(
                    rng, rng.choice(pool), pool, (b"\x40\0", b"\xfc\x0f\0", b"\x41\x7f", b"\x1a", b"\x0f"), start=8
                )
        return bytes(wasmtime.wat2wasm(module_text(rng)))

    async def check(self, data: bytes) -> str:
        valid = self._plain.valid(data)
        linked = bool(zlib.crc32(data) & 1) or b"log-v128" in data
        try:
            program = await self.tested.load(data, linked=linked)
        except RejectedError as error:
            assert_printable(error.message, 5000)
            assert not valid or _MAY_BE_REFUSED.search(error.message), error.message
            return f"rejected {outline(error.message)}"
        assert valid, "the host's engine runs what the validator refuses"
        try:
            names = callable_functions(data)[:_MOST_FUNCTIONS]
            endings = [self._same(await self.tested.call(program, name, _INPUT), data, name) for name in names]
        finally:
            program.close()
        await self.tested.nothing_is_held()
        return f"{linked} " + " ".join(sorted(set(endings)))

    def _same(self, ours: Ending, data: bytes, name: str) -> str:
        theirs = self._plain.call(data, name, _INPUT)
        if "limit" in (ours.what, theirs.what):
            # One of them gave up, each by its own measure; a limit of memory ends a call that fails anyway.
            assert not (ours.detail in ("memory", "table_elements") and theirs.what == "returned"), (ours, theirs)
            return f"limit {ours.detail} {theirs.what}"
        if "rejected" in (ours.what, theirs.what):
            assert ours.what == theirs.what, (ours, theirs)
            return "rejected"
        assert ours == theirs, f"{name}: ours {_short(ours)}, plain {_short(theirs)}"
        return f"{ours.what} {ours.detail if ours.what == 'trap' else type(ours.detail).__name__} {bool(ours.logged)}"


def _short(ending: Ending) -> str:
    return f"{ending.what} {str(ending.detail)[:200]} {len(ending.logged)} {ending.logged[-3:]}"
