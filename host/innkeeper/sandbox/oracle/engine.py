"""The extism package as an engine: for `--engine extism`, and to compare the other engine with."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from innkeeper.errors import RejectedError, UsageError
from innkeeper.sandbox import admission
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.imports import available_imports
from innkeeper.sandbox.interface import HostFunction
from innkeeper.sandbox.known import Known, look
from innkeeper.sandbox.module_info import Signature
from innkeeper.sandbox.oracle.pool import Pool
from innkeeper.sandbox.oracle.program import ExtismProgram

_MAIN = "main"
"""extism's own name for the plugin's module, which no other one may have."""


class ExtismEngine:
    """Implements `interface.Engine`. `open_oracle` makes one.

    Attributes:
        bounds: the host-wide bounds, of which it keeps `workers` and `module_size`.
        pool: its worker processes.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.pool = Pool(bounds.workers)

    async def load(
        self,
        wasm: bytes,
        *,
        functions: Sequence[HostFunction] = (),
        modules: Mapping[str, bytes] | None = None,
        plugin: str | None = None,
    ) -> ExtismProgram:
        """As `interface.Engine.load`. What the other engine refuses to link is refused here in the same words."""
        self.pool.check_open()
        linked = dict(modules or {})
        available = available_imports(functions, linked, plugin)
        if _MAIN in linked:
            raise RejectedError(
                f"a module may not be named {_MAIN!r}: to extism that is the plugin's own", plugin=plugin
            )
        parts = [*linked.items(), (None, wasm)]
        known = await trio.to_thread.run_sync(_look, parts, available, plugin, self.bounds.module_size)
        program = ExtismProgram(self.pool, known, parts, functions)
        await program.compile(plugin)
        return program

    async def aclose(self) -> None:
        """Ends all workers, with the guests in them."""
        await self.pool.aclose()


def _look(
    parts: Sequence[tuple[str | None, bytes]],
    available: dict[tuple[str, str], Signature],
    plugin: str | None,
    size_limit: int,
) -> Known:
    # What the last one says, which is the plugin's own.
    names: list[str] = []
    for name, part in parts:
        known = look(part, plugin=plugin, size_limit=size_limit)
        admission.resolve(known.info, available, names, plugin)
        if name is not None:
            names.append(name)
            available |= admission.functions_of(name, known.info)
    return known


@asynccontextmanager
async def open_oracle(bounds: Bounds | None = None) -> AsyncIterator[ExtismEngine]:
    """The engine for as long as the block runs, on the trio run of its caller.

    Args:
        bounds: host-wide bounds; the defaults where None.

    Raises:
        UsageError: this is no Unix.

    Example:
        async with open_oracle() as engine:
            program = await engine.load(wasm)
            result = await program.call("count_vowels", b"hello", CallOptions())
    """
    if os.name != "posix":
        raise UsageError("the engine 'extism' needs Linux or another Unix; use the engine 'fibers'")
    engine = ExtismEngine(bounds or Bounds())
    try:
        yield engine
    finally:
        await engine.aclose()
