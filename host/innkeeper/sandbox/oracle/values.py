"""Numbers and bytes of host functions, between Python and a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.oracle import wire
from innkeeper.sandbox.oracle.faults import reached

_HALF = {Value.I32: 1 << 31, Value.I64: 1 << 63}


def arguments(function: HostFunction, values: Sequence[Any], payload: bytes) -> list[Any]:
    """What the handler gets (int, float or bytes each).

    Args:
        values: as the worker sent them: numbers, for bytes their lengths.
        payload: the bytes, one after the other.

    Raises:
        wire.WireError: they are not of the function's types.
    """
    if len(values) != len(function.parameters):
        raise wire.WireError("a host call with another number of arguments")
    sizes: list[int] = []
    for kind, value in zip(function.parameters, values, strict=True):
        wanted = float if kind in (Value.F32, Value.F64) else int
        if type(value) is not wanted:
            raise wire.WireError(f"a host call with a {type(value).__name__}")
        if kind is Value.BYTES:
            sizes.append(int(value))
    pieces = iter(wire.cut(payload, sizes))
    return [
        next(pieces) if kind is Value.BYTES else value for kind, value in zip(function.parameters, values, strict=True)
    ]


def answer(function: HostFunction, value: Any, limits: Limits) -> tuple[dict[str, Any], bytes]:
    """The message, and its payload, that takes a handler's result to the worker.

    Raises:
        TypeError, OverflowError: it is not what the function declares.
        LimitError: more bytes than the guest's memory could ever take.
    """
    kind = function.result
    header: dict[str, Any] = {"type": "answer", "bytes": kind is Value.BYTES, "value": None}
    wrong = TypeError(f"the host function {function.name!r} returned {type(value).__name__}, not {_wanted(kind)}")
    if kind is None:
        return header, b""
    if kind is Value.BYTES:
        try:
            data = bytes(memoryview(value)) if value is not None else b""
        except TypeError:
            raise wrong from None
        size, limit = len(data), limits.kernel_memory
        if size > limit:
            raise reached(f"the host function {function.name!r} returned {size} bytes", "kernel_memory", limit, size)
        return header, data
    if not isinstance(value, int | float) or (kind in _HALF and not isinstance(value, int)):
        raise wrong
    if kind in _HALF:
        half = _HALF[kind]
        if not -half <= value < 2 * half:
            raise OverflowError(f"the host function {function.name!r} returned an int that does not fit {kind.value}")
        header["value"] = (int(value) + half) % (2 * half) - half
    else:
        header["value"] = float(value)
    return header, b""


def _wanted(kind: Value | None) -> str:
    return kind.value if kind is not None else "None"
