"""What stands behind each import: the kernel's own needs, host functions, WASI."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from innkeeper.errors import BusyError, DeniedError, LimitError
from innkeeper.sandbox.arguments import Arguments
from innkeeper.sandbox.call import Call, log_level
from innkeeper.sandbox.callbacks import Binding, Pending, Signature
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.kernel import CONFIG_GET, VAR_GET, host_signature
from innkeeper.sandbox.wasi import WasiFunction
from innkeeper.sandbox.wasi.memory import GuestMemory, MemoryFault
from innkeeper.sandbox.window import KernelWindow

_PAGE = 4096
"""Bytes of arguments that are not taken from the host's bytes in flight: a guest that waits takes ten times that."""

_KEY_MAX = 64 * 1024
"""Bytes of a key of configuration or a variable; there is none that long."""


def _ask(guest: Guest, caller: int, kind: int, key_at: int, key_length: int, at: int, length: int) -> int:
    call = guest.call
    call.count_system_call()
    window = guest.kernel_window()
    if key_length > _KEY_MAX:
        return 0
    key = window.read(key_at, key_length)
    if kind == CONFIG_GET:
        found = call.options.config.get(key.decode("utf-8", "replace"))
        return 0 if found is None else _give_now(guest, window, found.encode())
    if kind == VAR_GET:
        value = guest.variables.get(key)
        return 0 if value is None else _give_now(guest, window, value)
    if at == 0:
        guest.variables.remove(key)
    else:
        # A length beyond the limit is refused before anything is copied.
        limit = call.limits.variables
        guest.variables.set(key, window.read(at, min(length, limit + 1)), limit)
    return 0


def _give_now(guest: Guest, window: KernelWindow, data: bytes) -> int:
    # As `_give`, inside of a callback.
    window.make_room(len(data))
    return _give(guest, window, data)


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
    arguments = Arguments(name, function.parameters)
    takes_bytes = arguments.has_bytes
    signature = Signature(*host_signature(function))

    def begin(guest: Guest, caller: int, *raw: Any) -> Pending:
        _count_memory(guest)
        tape = guest.call.tape
        asked = handler if tape is None else tape.asks(function)
        if not (takes_bytes or gives_bytes):
            return Pending(asked, raw, name, signature)
        window = guest.kernel_window()
        if not takes_bytes:
            return Pending(asked, raw, name, signature, window=window)
        total = arguments.check(guest.call, window, raw)
        held = _hold(guest, total) if total > _PAGE else 0
        try:
            values = arguments.read(window, raw)
        except BaseException:
            if held:
                guest.program.places.in_flight.give(held)
            raise
        return Pending(asked, values, name, signature, held, window=window if gives_bytes else None)

    return Binding(signature, _quick(function, begin, signature, arguments) if function.quick else begin)


def _count_memory(guest: Guest) -> None:
    # The guest may wait for long: what it has grown by is counted before.
    if not guest.count_memory():
        assert guest.call.failure is not None
        raise guest.call.failure


def _hold(guest: Guest, total: int) -> int:
    in_flight = guest.program.places.in_flight
    if not in_flight.grow(total):
        raise BusyError(
            f"the host was busy: the bound of {in_flight.limit} on {in_flight.name} was not free",
            bound=in_flight.name,
        )
    return total


def _quick(
    function: HostFunction, begin: Callable[..., Pending], signature: Signature, arguments: Arguments
) -> Callable[..., Any]:
    """As `begin`, with the answer at once where trio's thread polls the guest; from a worker it goes there."""
    handler: Any = function.handler
    name = function.name
    gives_bytes = function.result is Value.BYTES
    takes_bytes = arguments.has_bytes

    async def later(*values: Any) -> Any:
        return handler(*values)

    def at_once(guest: Guest, caller: int, *raw: Any) -> Any:
        if guest.lent:
            pending = begin(guest, caller, *raw)
            if guest.call.tape is None:
                pending.handler = later
            return pending
        call = guest.call
        tape = call.tape
        call.count_host_call()
        if call.token is None:
            call.enter()
        values: Sequence[Any] = raw
        window = None
        if takes_bytes or gives_bytes:
            window = guest.kernel_window()
            if takes_bytes:
                arguments.check(call, window, raw)
                values = arguments.read(window, raw)
        stretch = time.perf_counter() - guest.answered
        if stretch > guest.stretch:
            guest.stretch = stretch
        value = handler(*values) if tape is None else tape.quick(function, values)
        guest.answered = time.perf_counter()
        if not gives_bytes:
            try:
                return signature.checked(value)
            except (TypeError, OverflowError) as error:
                raise _wrong(name, signature, value, error) from None
        assert window is not None
        return _give_now(guest, window, _bytes_of(call, name, value))

    return at_once


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
        call = guest.call
        call.count_system_call()
        memory: GuestMemory = guest.caller_window(caller) or _NO_MEMORY
        tape = call.tape
        if tape is None:
            outcome = handler(guest.wasi, memory, *arguments)
        else:
            outcome = tape.system(function, guest.wasi, memory, arguments)
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
