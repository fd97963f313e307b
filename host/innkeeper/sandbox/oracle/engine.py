"""The extism package as an engine: for `--engine extism`, and to compare the other engine with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from innkeeper.errors import RejectedError, UsageError
from innkeeper.sandbox import admission, kernel
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.box import MAX_MODULES
from innkeeper.sandbox.interface import HostFunction
from innkeeper.sandbox.oracle.pool import Pool
from innkeeper.sandbox.oracle.program import ExtismProgram
from innkeeper.sandbox.wasi import FUNCTIONS as WASI_FUNCTIONS
from innkeeper.sandbox.wasi import WASI_MODULE
from innkeeper.sandbox.wasm import MalformedError, ModuleInfo, Signature, UnsupportedError

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
        self._compiling = trio.CapacityLimiter(bounds.compile_jobs)
        self._closed = False

    async def load(
        self,
        wasm: bytes,
        *,
        functions: Sequence[HostFunction] = (),
        modules: Mapping[str, bytes] | None = None,
        plugin: str | None = None,
    ) -> ExtismProgram:
        """As `interface.Engine.load`. What the other engine refuses to link is refused here in the same words."""
        if self._closed:
            raise UsageError("the engine is closed")
        linked = dict(modules or {})
        if len(linked) >= MAX_MODULES:
            raise RejectedError(
                f"{len(linked) + 1} modules are linked together; at most {MAX_MODULES} can be", plugin=plugin
            )
        reserved = {kernel.ENV, kernel.INNER, WASI_MODULE, _MAIN}.intersection(linked)
        if reserved:
            raise RejectedError(f"a module may not be named {min(reserved)!r}: that is the host's", plugin=plugin)
        available = _available(functions, plugin)
        parts = [*linked.items(), (None, wasm)]
        try:
            info, digest = await trio.to_thread.run_sync(
                _look, parts, available, plugin, self.bounds.module_size, limiter=self._compiling
            )
            program = ExtismProgram(self.pool, digest, parts, functions, info)
            await program.compile()
        except RejectedError as error:
            error.plugin = error.plugin or plugin
            raise
        return program

    async def aclose(self) -> None:
        """Ends all workers, with the guests in them."""
        self._closed = True
        await self.pool.aclose()


def _available(functions: Sequence[HostFunction], plugin: str | None) -> dict[tuple[str, str], Signature]:
    available = {(kernel.ENV, name): kind for name, kind in kernel.SIGNATURES.items()}
    for name, known in WASI_FUNCTIONS.items():
        results = (known.result.value,) if known.result else ()
        available[WASI_MODULE, name] = tuple(value.value for value in known.parameters), results
    for function in functions:
        if function.namespace in (kernel.ENV, kernel.INNER, WASI_MODULE):
            raise RejectedError(f"a host function may not be in the namespace {function.namespace!r}", plugin=plugin)
        available[function.namespace, function.name] = kernel.guest_signature(function)
    return available


def _look(
    parts: Sequence[tuple[str | None, bytes]],
    available: dict[tuple[str, str], Signature],
    plugin: str | None,
    size_limit: int,
) -> tuple[ModuleInfo, str]:
    # The last one is the plugin's own, and so is the digest.
    names: list[str] = []
    try:
        for name, part in parts:
            info = admission.admit(part, plugin=plugin, size_limit=size_limit)
            admission.resolve(info, available, names, plugin)
            if name is not None:
                names.append(name)
                available |= admission.functions_of(name, info)
    except UnsupportedError as error:
        raise RejectedError(admission.explain_unsupported(error)) from None
    except MalformedError as error:
        raise RejectedError(f"the module cannot be used: {error}") from None
    return info, hashlib.sha256(parts[-1][1]).hexdigest()


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
