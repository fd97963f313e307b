"""How a WASI function is described to an engine, and how one is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from innkeeper.sandbox.interface import Value
from innkeeper.sandbox.wasi.errors import Errno, WasiError, errno_of
from innkeeper.sandbox.wasi.memory import MemoryFault

WASI_MODULE = "wasi_snapshot_preview1"

I32, I64 = Value.I32, Value.I64

Later = Callable[[], Awaitable[int]]
"""The rest of a call that takes long or waits: to be awaited once, on trio's thread, as part of the guest's task."""

Handler = Callable[..., "int | Later"]

H = TypeVar("H", bound=Handler)


@dataclass(frozen=True, slots=True)
class WasiFunction:
    """One function of preview 1.

    Attributes:
        name: its import name.
        parameters: `Value.I32` or `Value.I64` each, in the standard's order.
        result: `Value.I32`, an errno; None for proc_exit, which gives nothing.
        asynchronous: whether `handler` may answer with a `Later`. Where this is False it never does.
        handler: called as `handler(wasi, memory, *arguments)` with unsigned ints. Quick whatever the guest asks
            for, and needs no trio, so that an engine can call it where it stands. Answers with an errno (int), or
            with a `Later` that gives one; that one may be cancelled at each of its awaits.

    Neither handler nor Later raises anything but ProcExit and, the Later, trio.Cancelled.
    """

    name: str
    parameters: tuple[Value, ...]
    result: Value | None
    asynchronous: bool
    handler: Handler


declared: dict[str, WasiFunction] = {}
"""What the modules of `calls` have declared so far, by name."""


def function(*parameters: Value, result: Value | None = I32, asynchronous: bool = False) -> Callable[[H], H]:
    """Declares the function that the decorated handler answers for, under the handler's name.

    The handler may raise WasiError, MemoryFault and OSError anywhere: each becomes the call's errno.
    """

    def declare(handler: H) -> H:
        name = handler.__name__
        declared[name] = WasiFunction(name, parameters, result, asynchronous, partial(_guard, handler))
        return handler

    return declare


def file_function(*parameters: Value) -> Callable[[Callable[..., Awaitable[int]]], Callable[..., Awaitable[int]]]:
    """Declares a function whose whole work is a `Later`: the decorated handler is async."""

    def declare(handler: Callable[..., Awaitable[int]]) -> Callable[..., Awaitable[int]]:
        name = handler.__name__
        declared[name] = WasiFunction(name, parameters, I32, True, partial(_postpone, handler))
        return handler

    return declare


def _guard(handler: Handler, *arguments: object) -> int | Later:
    try:
        outcome = handler(*arguments)
    except WasiError as error:
        return int(error.errno)
    except MemoryFault:
        return int(Errno.FAULT)
    except OSError as error:
        return int(errno_of(error))
    return int(outcome) if isinstance(outcome, int) else partial(_guard_later, outcome)


def _postpone(handler: Callable[..., Awaitable[int]], *arguments: object) -> Later:
    return partial(_guard_later, partial(handler, *arguments))


async def _guard_later(rest: Later) -> int:
    try:
        return int(await rest())
    except WasiError as error:
        return int(error.errno)
    except MemoryFault:
        return int(Errno.FAULT)
    except OSError as error:
        return int(errno_of(error))
