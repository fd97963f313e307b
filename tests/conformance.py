"""Runs a guest on both engines and tells how each of its calls ended, so that the two can be compared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from conformance_guests import Guest
from guests import assemble
from innkeeper.errors import InnkeeperError, LimitError
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.engine import open_engine
from innkeeper.sandbox.interface import CallOptions, Engine, Program, Session
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.oracle.engine import open_oracle


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    Attributes:
        output: what came out, or None.
        failed: kind of the error, name of a host function's own exception, or "".
        detail: what both engines must say alike: a guest's own words, codes, the name of a limit.
        log: lines.
        host_calls: how many it made.
    """

    output: bytes | None
    failed: str = ""
    detail: str = ""
    log: tuple[tuple[str, str], ...] = ()
    host_calls: int = 0


@dataclass(frozen=True)
class Engines:
    """Both engines."""

    fibers: Engine
    extism: Engine


@asynccontextmanager
async def both() -> AsyncIterator[Engines]:
    """Both engines, for as long as the block runs."""
    with trio.fail_after(120):
        async with open_engine(Bounds(workers=2)) as fibers, open_oracle(Bounds(workers=2)) as extism:
            yield Engines(fibers, extism)


async def outcomes(engine: Engine, guest: Guest) -> list[Outcome]:
    """How the guest's calls end on an engine; loading it is the first thing that may fail."""
    modules = {name: assemble(text) for name, text in guest.modules.items()}
    try:
        program = await engine.load(assemble(guest.module), functions=guest.functions, modules=modules, plugin="guest")
    except InnkeeperError as error:
        return [_failed(error)]
    try:
        return await _calls(program, guest)
    finally:
        program.close()


async def _calls(program: Program, guest: Guest) -> list[Outcome]:
    session: Session | None = None
    if guest.session:
        session = await program.open(CallOptions(plugin="guest"))
    found = []
    for call in guest.calls:
        options = CallOptions(Limits(**call.limits), call.config, "guest")
        found.append(await outcome(session or program, call.function, call.data, options))
    if session is not None:
        await session.aclose()
    return found


async def outcome(callee: Program | Session, function: str, data: bytes, options: CallOptions) -> Outcome:
    """How one call ends."""
    try:
        result = await callee.call(function, data, options)
    except Exception as error:
        return _failed(error)
    usage = result.usage
    assert (usage.bytes_in, usage.bytes_out) == (len(data), len(result.output))
    return Outcome(result.output, log=tuple(usage.log), host_calls=usage.host_calls)


def _failed(error: Exception) -> Outcome:
    if not isinstance(error, InnkeeperError):
        return Outcome(None, type(error).__name__, str(error))
    detail = error.limit if isinstance(error, LimitError) else f"{error.message} ({getattr(error, 'code', None)})"
    usage = error.usage
    log, host_calls = (tuple(usage.log), usage.host_calls) if usage is not None else ((), 0)
    return Outcome(None, error.kind.value, detail, log, host_calls)
