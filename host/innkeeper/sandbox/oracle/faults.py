"""What ended a guest of extism's, in the words of the other engine."""

from __future__ import annotations

import re
import signal
from typing import Any

from innkeeper.errors import (
    DeniedError,
    GuestError,
    InnkeeperError,
    InternalError,
    LimitError,
    RejectedError,
    UsageError,
)
from innkeeper.sandbox import admission
from innkeeper.sandbox.limits import KIB, Limits
from innkeeper.sandbox.oracle import wire
from innkeeper.sandbox.oracle.process import WorkerEndedError

_STACK = 512 * KIB
"""Bytes: what extism's wasmtime has by itself."""

_TEXT_MAX = 4096
"""Characters of a guest's own error text that are kept."""

_TRAPS = {
    "out of bounds memory access": "out of bounds memory access",
    "undefined element: out of bounds table access": "out of bounds table access",
    "uninitialized element": "call of an empty table element",
    "indirect call type mismatch": "indirect call with a wrong signature",
    "integer overflow": "integer overflow",
    "integer divide by zero": "integer division by zero",
    "invalid conversion to integer": "invalid conversion to an integer",
    "wasm `unreachable` instruction executed": "unreachable code was reached",
}
"""wasmtime's words, and those that the host has for the same."""

_TRAP = re.compile(r"wasm trap: (.*)")
_EXIT = re.compile(r"Exited with i32 exit status (-?\d+)")
_HTTP = re.compile(r"HTTP request to .* is not allowed")
_PREFIX = re.compile(r"^Unable to (?:create|compile) Extism plugin: ")


def rejection(text: str) -> RejectedError:
    """The error for a module that extism does not compile.

    Args:
        text: what it says.
    """
    cause = _PREFIX.sub("", text)
    if "unknown import" in cause or "incompatible import" in cause:
        return RejectedError(f"the engine 'extism' does not link the module: {_line(cause)}; use the engine 'fibers'")
    return RejectedError(admission.explain_compile_error(cause))


def failure(header: dict[str, Any], limits: Limits, *, starting: bool) -> InnkeeperError | None:
    """The error for a guest that failed; None if it ended well after all.

    Args:
        header: the worker's message.
        limits: of the call.
        starting: whether the guest was still starting; what traps there is not fit to run.

    Raises:
        wire.WireError: the message makes no sense.
    """
    reason, text = wire.take(header, "reason", str), wire.take(header, "text", str)[:_TEXT_MAX]
    code = wire.take(header, "code", int)
    used = wire.take_count(header, "used", 1 << 63)
    if reason in ("own", "other"):
        return GuestError(text or "(the guest set an error without a text)", code=code if code > 0 else None)
    if reason == "code":
        return GuestError(f"the guest returned code {code} without an error text", code=code)
    if reason == "exit":
        return _exited(code)
    if reason in ("trap", "start"):
        return _ended(_PREFIX.sub("", text), limits, starting=starting)
    if reason == "memory":
        return reached("the guest ran out of memory", reason, limits.memory)
    if reason == "output":
        return reached(f"the output has {used} bytes", reason, limits.output, used)
    if reason == "arguments":
        return reached(f"the guest gave the host function {text!r} {used} bytes", "output", limits.output, used)
    if reason == "answer":
        words = f"what a host function returned, {used} bytes, does not fit"
        return reached(words, "kernel_memory", limits.kernel_memory, used)
    raise wire.WireError("a failure of an unknown kind")


def reached(words: str, limit: str, value: int, used: int | None = None) -> LimitError:
    """The error for a limit that was reached.

    Args:
        words: what happened.
        limit: its name.
        value: what it is.
        used: what there was of it, where that is known.
    """
    return LimitError(f"{words}; the limit {limit!r} is {value}", limit=limit, value=value, used=used)


def too_long(wall: float) -> LimitError:
    """The error for a call that reached its deadline."""
    return LimitError(
        f"the call took longer than {wall:g} s of wall-clock time; the limit is 'wall'",
        limit="wall",
        value=wall,
        used=wall,
    )


def worker_failed(error: WorkerEndedError | wire.WireError, limits: Limits, *, compiling: bool) -> InnkeeperError:
    """The error for a call whose worker ended or made no sense.

    Args:
        error: what became of it.
        limits: of the call.
        compiling: whether it had no guest yet.
    """
    if isinstance(error, wire.WireError):
        return InternalError(f"the extism engine's process answered nonsense: {error}")
    if error.killed:
        return UsageError("the engine was closed")
    if error.signal is None:
        return InternalError(f"the extism engine's process ended with {error}")
    if compiling:
        return RejectedError(
            f"the extism engine's process ended with {error} while it compiled the module; use the engine 'fibers'"
        )
    if error.signal == signal.SIGXCPU:
        return LimitError(
            f"the guest used its processor time up, in whole seconds; the limit 'cpu' is {limits.cpu:g} s",
            limit="cpu",
            value=limits.cpu,
        )
    return GuestError(
        f"the guest broke the extism engine, whose process ended with {error}; use the engine 'fibers' for it"
    )


def _ended(text: str, limits: Limits, *, starting: bool) -> InnkeeperError | None:
    if exited := _EXIT.search(text):
        return _exited(int(exited[1]))
    if trap := _TRAP.search(text):
        if trap[1].startswith("call stack exhausted"):
            return LimitError(
                "the guest's stack overflowed: it calls itself too deep; the limit 'stack' is 512 KiB for all guests",
                limit="stack",
                value=_STACK,
            )
        words = _TRAPS.get(trap[1].strip(), trap[1].strip())
        if starting:
            return RejectedError(f"the module trapped while it started: {words}; ask its author for one that starts")
        return GuestError(f"the guest trapped: {words}")
    if text == "Variable store is full":
        return reached("the guest's variables would take too much", "variables", limits.variables)
    if _HTTP.match(text):
        return DeniedError("the guest made an HTTP request, and no capability 'http' is granted", capability="http")
    if starting:
        return RejectedError(f"the module does not start: {_line(text)}")
    return GuestError(f"the guest ended: {_line(text)}")


def _exited(code: int) -> GuestError | None:
    return GuestError(f"the guest exited with code {code}", code=code) if code else None


def _line(text: str) -> str:
    return text.split("\n", 1)[0][:200] or "for a reason that it does not give"
