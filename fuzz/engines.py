"""The host's engine as targets use it, and what a call is reduced to where engines are compared."""

from __future__ import annotations

import math
import struct
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import trio
import wasmtime
from fuzz.generator import LOGS, SUPPORT
from fuzz.modules import LINKED
from fuzz.target import Target

from innkeeper.errors import GuestError, InnkeeperError, LimitError, RejectedError, UsageError
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.engine import FiberEngine, open_engine
from innkeeper.sandbox.interface import CallOptions, HostFunction, Program, Session, Value
from innkeeper.sandbox.limits import KIB, MIB, Limits
from innkeeper.sandbox.wasm import parse

LIMITS = Limits(
    memory=16 * MIB,
    kernel_memory=2 * MIB,
    cpu=0.05,
    wall=5.0,
    host_call=0.5,
    input=MIB,
    output=MIB,
    host_calls=2000,
    system_calls=2000,
    variables=64 * KIB,
)
"""Tight ones, so that an input is over soon."""


@dataclass(slots=True)
class Ending:
    """How a call ended.

    Attributes:
        what: "returned", "trap", "rejected", "limit", "usage" or another kind of error.
        detail: the output, the trap's name, the limit's name.
        logged: numbers that the guest logged, as bytes with their type before.
    """

    what: str
    detail: object = None
    logged: list[bytes] = field(default_factory=list)


def logged(type_: str, value: float) -> bytes:
    """A logged number, so that equal ones are equal bytes: a NaN is one NaN."""
    if type_ in ("f32", "f64"):
        return type_.encode() + (b"nan" if math.isnan(value) else struct.pack("<d", value))
    return type_.encode() + struct.pack("<q", int(value))


class Tested:
    """Calls modules through the host's own engine, which is looked over after each call.

    Attributes:
        engine: the engine.
        log: what guests logged since it was emptied.
    """

    def __init__(self, engine: FiberEngine) -> None:
        self.engine = engine
        self.log: list[bytes] = []
        self._linked = bytes(wasmtime.wat2wasm(LINKED))

    def functions(self, namespace: str) -> list[HostFunction]:
        """Host functions that log a number each."""

        def handler(type_: str) -> Any:
            async def log(value: float) -> None:
                self.log.append(logged(type_, value))

            return log

        return [HostFunction(name, handler(t), [Value(t)], None, namespace) for name, t in LOGS.items()]

    async def load(self, wasm: bytes, *, linked: bool) -> Program:
        """Loads a module with the imports for logging.

        Args:
            linked: whether these are a module that is linked with it, and not host functions.
        """
        if linked:
            return await self.engine.load(wasm, functions=self.functions("log"), modules={SUPPORT: self._linked})
        return await self.engine.load(wasm, functions=self.functions(SUPPORT))

    async def call(self, program: Program, function: str, data: bytes, limits: Limits = LIMITS) -> Ending:
        """Calls a function of any engine; whatever ends it is one of the closed list of errors."""
        self.log = []
        return await ending(program, function, data, self.log, limits)

    async def nothing_is_held(self) -> None:
        """All that calls took was given back. Workers free large guests a little later, and spare guests wait."""
        budgets = (self.engine.live, self.engine.memory, self.engine.in_flight)
        self.engine.spares.drop()
        with trio.move_on_after(5):
            while any(budget.taken for budget in budgets):
                await trio.sleep(0.001)
                self.engine.spares.drop()
        held = {budget.name: (budget.taken, budget.waiting) for budget in budgets}
        assert set(held.values()) == {(0, 0)}, held


async def ending(
    program: Program | Session, function: str, data: bytes, found: list[bytes], limits: Limits = LIMITS
) -> Ending:
    """Calls a function and says how that ended, for any engine."""
    try:
        result = await program.call(function, data, CallOptions(limits=limits, plugin="fuzz"))
    except LimitError as error:
        return Ending("limit", error.limit, found)
    except GuestError as error:
        if error.code is not None:
            return Ending("returned", error.code & 0xFFFF_FFFF, found)
        return Ending("trap", error.message.removeprefix("the guest trapped: "), found)
    except RejectedError as error:
        return Ending("rejected", error.message, found)
    except UsageError as error:
        return Ending("usage", error.message, found)
    except InnkeeperError as error:
        return Ending(error.kind.value, error.message, found)
    return Ending("returned", result.output, found)


class EngineTarget(Target):
    """A target whose inputs the host's engine runs: it is `tested`, from before `prepare` to the end."""

    hang = 60.0

    async def prepare(self, stack: AsyncExitStack) -> None:
        """Loads what else the target needs; the stack is closed at the end."""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.tested = Tested(await stack.enter_async_context(open_engine(Bounds(workers=2, live_guests=64))))
            await self.prepare(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()


def callable_functions(wasm: bytes) -> list[str]:
    """Names of the exported functions that can be called: without parameters, with an i32 or nothing as result."""
    return [name for name, export in parse(wasm).exports.items() if export.signature in (((), ()), ((), ("i32",)))]
