"""What stands behind each import: the kernel's own needs, host functions, WASI."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from innkeeper.errors import BusyError, DeniedError, LimitError
from innkeeper.sandbox.call import Call, log_level
from innkeeper.sandbox.callbacks import Binding, Pending, Signature
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.kernel import CONFIG_GET, VAR_GET, host_signature
from innkeeper.sandbox.wasi import WasiFunction
from innkeeper.sandbox.wasi.memory import GuestMemory, MemoryFault
from innkeeper.sandbox.window import KernelWindow, Window

_KEY_MAX = 64 * 1024
"""Bytes of a key of configuration or a variable; there is none that long."""


def _ask(guest: Guest, caller: int, kind: int, key_at: int, key_length: int, at: int, length: int) -> int:
    call = guest.call
    call.count_system_call()
    window = guest.kernel_window()
    window.make_room()
    if key_length > _KEY_MAX:
        return 0
    key = window.read(key_at, key_length)
    if kind == CONFIG_GET:
        found = call.options.config.get(key.decode("utf-8", "replace"))
        return 0 if found is None else _give(guest, window, found.encode())
    if kind == VAR_GET:
        value = guest.variables.get(key)
        return 0 if value is None else _give(guest, window, value)
    if at == 0:
        guest.variables.remove(key)
    else:
        # A length beyond the limit is refused before anything is copied.
        limit = call.limits.variables
        guest.variables.set(key, window.read(at, min(length, limit + 1)), limit)
    return 0


def _give(guest: Guest, window: KernelWindow, data: bytes) -> int:
    # The block where they lie, or how many bytes (negative) the kernel makes room for and then takes.
    block = window.put(data)
    if not block:
        guest.incoming = data
        return -len(data)
    return block


def _take(guest: Guest, caller: int, at: int) -> None:
    data, guest.incoming = guest.incoming, b""
    guest.kernel_window().write(at, data)


def _log(guest: Guest, caller: int, level: int, at: int, length: int) -> None:
    call = guest.call
    call.count_system_call()
    window = guest.kernel_window()
    if at + length > window.size:
        window.look()
        if at + length > window.size:
            raise MemoryFault(at, length)
    kept = min(length, call.log_room())
    call.usage.log_dropped += length - kept
    if kept:
        call.log(log_level(level), window.read(at, kept))


def _deny(guest: Guest, caller: int) -> None:
    raise DeniedError("the guest made an HTTP request, and no capability 'http' is granted", capability="http")


KERNEL_BINDINGS: dict[str, Binding] = {
    "ask": Binding(Signature(("i32", "i64", "i64", "i64", "i64"), ("i64",)), _ask),
    "take": Binding(Signature(("i64",), ()), _take),
    "log": Binding(Signature(("i32", "i64", "i64"), ()), _log),
    "deny": Binding(Signature((), ()), _deny),
}
"""What the kernel imports from the host under the name `innkeeper`; none of it waits."""


def host_binding(function: HostFunction) -> Binding:
    """The binding of a host function, as the kernel's wrapper (or the guest, where no bytes cross) imports it."""
    handler: Any = function.handler
    name = function.name
    gives_bytes = function.result is Value.BYTES
    lengths = _places_of_lengths(function.parameters)
    decode = _decoder(function.parameters)
    signature = Signature(*host_signature(function))

    def begin(guest: Guest, caller: int, *raw: Any) -> Pending:
        _count_memory(guest)
        if not (lengths or gives_bytes):
            return Pending(handler, raw, name, signature)
        window = guest.kernel_window()
        if not lengths:
            return Pending(handler, raw, name, signature, window=window)
        held = _hold_arguments(guest, name, [raw[at] for at in lengths], window)
        try:
            values = decode(window, raw)
        except BaseException:
            guest.program.in_flight.give(held)
            raise
        return Pending(handler, values, name, signature, held, window=window if gives_bytes else None)

    return Binding(signature, _quick(function, begin, signature, decode, lengths) if function.quick else begin)


def _count_memory(guest: Guest) -> None:
    # The guest may wait for long: what it has grown by is counted before.
    if not guest.count_memory():
        assert guest.call.failure is not None
        raise guest.call.failure


def _quick(
    function: HostFunction,
    begin: Callable[..., Pending],
    signature: Signature,
    decode: Callable[[Window, Sequence[Any]], Sequence[Any]],
    lengths: Sequence[int],
) -> Callable[..., Any]:
    """As `begin`, with the answer at once where trio's thread polls the guest; from a worker it goes there."""
    handler: Any = function.handler
    name = function.name
    gives_bytes = function.result is Value.BYTES
    crosses = bool(lengths) or gives_bytes
    alone = list(function.parameters) == [Value.BYTES]

    async def later(*values: Any) -> Any:
        return handler(*values)

    def at_once(guest: Guest, caller: int, *raw: Any) -> Any:
        if guest.lent:
            pending = begin(guest, caller, *raw)
            pending.handler = later
            return pending
        call = guest.call
        call.count_host_call()
        values: Sequence[Any] = raw
        window = None
        if crosses:
            window = guest.kernel_window()
            window.make_room()
            if alone:
                length = raw[1]
                if not 0 <= length <= call.limits.output:
                    _check_lengths(call, name, (length,), window)
                values = (window.read(raw[0], length),)
            elif lengths:
                _check_lengths(call, name, [raw[at] for at in lengths], window)
                values = decode(window, raw)
        stretch = time.perf_counter() - guest.answered
        if stretch > guest.stretch:
            guest.stretch = stretch
        value = handler(*values)
        guest.answered = time.perf_counter()
        if not gives_bytes:
            try:
                return signature.checked(value)
            except (TypeError, OverflowError) as error:
                raise _wrong(name, signature, value, error) from None
        assert window is not None
        return _give(guest, window, _bytes_of(call, name, value))

    return at_once


def _decoder(parameters: Sequence[Value]) -> Callable[[Window, Sequence[Any]], Sequence[Any]]:
    # From raw values to arguments. Offsets and lengths are signed on the wire: `read` refuses what is negative or
    # outside.
    def decode(window: Window, raw: Sequence[Any]) -> Sequence[Any]:
        numbers = iter(raw)
        return [
            window.read(next(numbers), next(numbers)) if parameter is Value.BYTES else next(numbers)
            for parameter in parameters
        ]

    return decode


def _places_of_lengths(parameters: Sequence[Value]) -> list[int]:
    # Among the raw values bytes take two places, offset and length; anything else takes one.
    places: list[int] = []
    at = 0
    for parameter in parameters:
        if parameter is Value.BYTES:
            places.append(at + 1)
            at += 1
        at += 1
    return places


def _check_lengths(call: Call, name: str, lengths: Sequence[int], window: KernelWindow) -> int:
    # The same block may be named more than once, and each time it becomes bytes of the host's.
    total = 0
    for length in lengths:
        if not 0 <= length <= window.size:
            window.look()
            if not 0 <= length <= window.size:
                raise MemoryFault(0, length)
        total += length
    limit = call.limits.output
    if total > limit:
        raise LimitError(
            f"the guest gave the host function {name!r} {total} bytes; the limit 'output' is {limit}",
            limit="output",
            value=limit,
            used=total,
        )
    return total


def _hold_arguments(guest: Guest, name: str, lengths: Sequence[int], window: KernelWindow) -> int:
    total = _check_lengths(guest.call, name, lengths, window)
    in_flight = guest.program.in_flight
    if not in_flight.grow(total):
        raise BusyError(
            f"the host was busy: the bound of {in_flight.limit} on {in_flight.name} was not free",
            bound=in_flight.name,
        )
    return total


def answer(guest: Guest, pending: Pending, value: Any) -> None:
    """Gives the guest, which waits for it, what a host function returned.

    Raises:
        TypeError, OverflowError: the host function did not return what it declares.
        LimitError: it returned more bytes than the kernel's memory could ever take.
    """
    window = pending.window
    if window is not None:
        # The guest stands still from the callback to here, so the window is as it was.
        value = _give(guest, window, _bytes_of(guest.call, pending.name, value))
    try:
        pending.finish(value)
    except (TypeError, OverflowError, struct.error) as error:
        raise _wrong(pending.name, pending.signature, value, error) from None


def _bytes_of(call: Call, name: str, value: Any) -> bytes:
    if value.__class__ is not bytes:
        if value is None:
            return b""
        try:
            value = bytes(memoryview(value))
        except TypeError as error:
            raise TypeError(f"the host function {name!r} returned {type(value).__name__}, not bytes") from error
    limit = call.limits.kernel_memory
    if len(value) > limit:
        raise LimitError(
            f"the host function {name!r} returned {len(value)} bytes; the limit 'kernel_memory' is {limit}",
            limit="kernel_memory",
            value=limit,
            used=len(value),
        )
    return bytes(value)


def _wrong(name: str, signature: Signature, value: Any, error: Exception) -> Exception:
    if isinstance(error, OverflowError):
        return OverflowError(f"the host function {name!r} returned {error}")
    wanted = (signature.results or ("None",))[0]
    return TypeError(f"the host function {name!r} returned {type(value).__name__}, not {wanted}")


def wasi_binding(function: WasiFunction) -> Binding:
    """The binding of one of WASI's functions: answers where it stands, or leaves the rest to trio's thread."""
    handler, name = function.handler, function.name
    results = (function.result.value,) if function.result else ()
    signature = Signature(tuple(value.value for value in function.parameters), results, signed=False)

    def begin(guest: Guest, caller: int, *arguments: int) -> int | Pending | None:
        guest.call.count_system_call()
        memory: GuestMemory = guest.caller_window(caller) or _NO_MEMORY
        outcome = handler(guest.wasi, memory, *arguments)
        if isinstance(outcome, int):
            return outcome
        _count_memory(guest)
        return Pending(outcome, (), name, signature, system=True)

    return Binding(signature, begin)


class _NoMemory:
    """The memory of a module that has none: everything lies outside of it."""

    def read(self, offset: int, length: int) -> bytes:
        raise MemoryFault(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        raise MemoryFault(offset, len(data))


_NO_MEMORY = _NoMemory()
