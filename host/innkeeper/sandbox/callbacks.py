"""What wasmtime calls: the C callbacks, and the rule that nothing leaves them but a result.

An exception that crossed the C frame would abort the process, and so would an asynchronous callback that returns
without its continuation.  So each callback sets the continuation first, catches BaseException, keeps it with its guest
(`Call.failure`, raised again by `call`) and ends the guest with a trap.  They run under trio's KI protection: Ctrl-C
waits for the next checkpoint.
"""

from __future__ import annotations

import ctypes as c
import math
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from innkeeper.sandbox import capi
from innkeeper.sandbox.ticker import TICK

if TYPE_CHECKING:
    from innkeeper.sandbox.guest import Guest
    from innkeeper.sandbox.window import KernelWindow

running: dict[int, Guest] = {}
"""The guest that a thread polls, by thread id. A callback comes only from inside of a poll of its own thread."""

_YOUNG = TICK / 2
"""Seconds."""

_CONTINUATION = struct.Struct("<3Q")
_Value = c.c_char * capi.VAL_SIZE
_POINTER = struct.Struct("<Q")

_FORMATS = {"i32": "8xI20x", "i64": "8xQ16x", "f32": "8xf20x", "f64": "8xd16x"}
_SIGNED = {"i32": "8xi20x", "i64": "8xq16x", "f32": "8xf20x", "f64": "8xd16x"}
_RAW = {"i32": "I12x", "i64": "Q8x", "f32": "f12x", "f64": "d8x"}
_RESULTS = {"i32": (capi.I32, "B7xi20x"), "i64": (capi.I64, "B7xq16x")} | {
    "f32": (capi.F32, "B7xf20x"),
    "f64": (capi.F64, "B7xd16x"),
}
_WRAP = {"i32": 1 << 32, "i64": 1 << 64}
_SINGLE = 3.4028235677973362e38
"""The largest float that is rounded to one of f32."""


class Signature:
    """How the values of one function lie in memory.

    Attributes:
        parameters: value types, such as ("i64", "i32").
        results: one value type, or none.
    """

    __slots__ = (
        "_arguments",
        "_kind",
        "_raw",
        "_raw_result",
        "_result",
        "_typed",
        "_untyped",
        "parameters",
        "results",
    )

    def __init__(self, parameters: tuple[str, ...], results: tuple[str, ...], *, signed: bool = True) -> None:
        self.parameters = parameters
        self.results = results
        formats = _SIGNED if signed else _FORMATS
        self._arguments = struct.Struct("<" + "".join(formats[name] for name in parameters))
        self._raw = struct.Struct("<" + "".join(_RAW[name] for name in parameters))
        # from_address takes no array of no bytes; nothing is read of this one then.
        self._typed = c.c_char * max(1, self._arguments.size)
        self._untyped = c.c_char * max(1, self._raw.size)
        self._kind, layout = _RESULTS[results[0]] if results else (0, "")
        self._result = struct.Struct("<" + layout) if results else None
        self._raw_result = struct.Struct("<" + _RAW[results[0]]) if results else None

    def arguments(self, at: int) -> tuple[Any, ...]:
        """Reads typed values (wasmtime_val_t) at an address."""
        return self._arguments.unpack_from(self._typed.from_address(at))

    def raw_arguments(self, at: int) -> tuple[Any, ...]:
        """Reads raw values (wasmtime_val_raw_t) at an address; integers are unsigned."""
        return self._raw.unpack_from(self._untyped.from_address(at))

    def write(self, at: int, value: Any) -> None:
        """Writes a typed result (wasmtime_val_t), where there is one.

        Raises:
            struct.error, TypeError, OverflowError: the value is not of the result's type.
        """
        if self._result is not None:
            self._result.pack_into(_Value.from_address(at), 0, self._kind, self._number(value))

    def checked(self, value: Any) -> Any:
        """The value, as it is written.

        Raises:
            TypeError, OverflowError: it is not of the result's type.
        """
        return self._number(value) if self.results else None

    def write_raw(self, at: int, value: Any) -> None:
        """Writes a raw result, where there is one."""
        if self._raw_result is not None:
            modulus = _WRAP.get(self.results[0])
            data = self._raw_result.pack(value % modulus if modulus else value)
            c.memmove(at, data, len(data))

    def _number(self, value: Any) -> Any:
        modulus = _WRAP.get(self.results[0])
        if modulus is None:
            if not isinstance(value, int | float):
                raise TypeError(f"expected a number for {self.results[0]}, not {type(value).__name__}")
            number = float(value)
            if self.results[0] == "f32" and _SINGLE < abs(number) < math.inf:
                raise OverflowError("a float that does not fit f32")
            return number
        if not isinstance(value, int):
            raise TypeError(f"expected an int for {self.results[0]}, not {type(value).__name__}")
        if not -modulus // 2 <= value < modulus:
            raise OverflowError(f"an int that does not fit {self.results[0]}")
        return (value + modulus // 2) % modulus - modulus // 2


@dataclass(frozen=True, slots=True)
class Binding:
    """One function of the host behind an import.

    Attributes:
        signature: as it is imported.
        begin: called inside of the poll with the guest, the caller's address and the arguments. Returns the result,
            or, for an asynchronous import, a Pending.
    """

    signature: Signature
    begin: Callable[..., Any]


class Pending:
    """A call of a host function that trio's thread has to finish.

    Attributes:
        handler: async function.
        values: its arguments.
        system: whether it is one of WASI's: bounded by the wall clock alone.
        window: the kernel's memory, if its result is bytes, which go there; valid until the guest goes on.
        held: bytes of its arguments, taken from the host's bytes in flight.
        name: for messages.
        signature: of the import.
        results: address of the place of the result; 0 until the guest waits.
    """

    __slots__ = ("handler", "held", "name", "results", "signature", "system", "values", "window")

    def __init__(
        self,
        handler: Callable[..., Any],
        values: Sequence[Any],
        name: str,
        signature: Signature,
        held: int = 0,
        *,
        system: bool = False,
        window: KernelWindow | None = None,
    ) -> None:
        self.handler = handler
        self.values = values
        self.name = name
        self.signature = signature
        self.held = held
        self.system = system
        self.window = window
        self.results = 0

    def finish(self, value: Any) -> None:
        """Puts the result where wasmtime wants it; the guest goes on at its next poll.

        Raises:
            struct.error, TypeError, OverflowError: the value is not of the result's type.
        """
        self.signature.write(self.results, value)


_bindings: dict[int, Binding] = {}
_next = 1


def bind(binding: Binding) -> int:
    """Keeps a binding and gives the number that wasmtime hands back as `env`."""
    global _next
    number, _next = _next, _next + 1
    _bindings[number] = binding
    return number


def unbind(number: int) -> None:
    """Forgets a binding, after the last linker that knows it was deleted."""
    _bindings.pop(number, None)


def _fail(guest: Guest | None, error: BaseException) -> int:
    # Keeps the error and makes the trap that ends the guest.
    if guest is not None:
        guest.call.fail(error)
    return int(capi.trap_new(b"host", 4))


@trio.lowlevel.enable_ki_protection
def on_raw(env: int, caller: int, values: int, count: int) -> int | None:
    """A function of the host that never waits."""
    guest = None
    try:
        guest = running.get(threading.get_ident())
        binding = _bindings[env]
        assert guest is not None
        result = binding.begin(guest, caller, *binding.signature.raw_arguments(values))
        binding.signature.write_raw(values, result)
        return None
    except BaseException as error:
        return _fail(guest, error)


@trio.lowlevel.enable_ki_protection
def on_async(
    env: int, caller: int, arguments: int, n: int, results: int, n_results: int, trap: int, continuation: int
) -> None:
    """A function of the host that may wait: leaves a Pending with the guest, unless the result is there at once."""
    guest = None
    try:
        place = _Place.from_address(continuation)
        _CONTINUATION.pack_into(place, 0, capi.RESUME, _READY, 0)
        guest = running.get(threading.get_ident())
        binding = _bindings[env]
        assert guest is not None
        signature = binding.signature
        result = binding.begin(guest, caller, *signature.arguments(arguments))
        if isinstance(result, Pending):
            result.results = results
            _CONTINUATION.pack_into(place, 0, capi.RESUME, guest.wait_for(result), 0)
        else:
            signature.write(results, result)
    except BaseException as error:
        _POINTER.pack_into((c.c_char * 8).from_address(trap), 0, _fail(guest, error))


@trio.lowlevel.enable_ki_protection
def on_epoch(context: int, data: int, delta: Any, kind: Any) -> int | None:
    """A tick: the guest gives way, and what its memory has grown by is counted. One that has only begun to run goes on
    to the next tick: whoever waited for longer than a tick has missed one."""
    guest = None
    try:
        delta[0], kind[0] = 1, capi.EPOCH_YIELD
        guest = running.get(threading.get_ident())
        if guest is None:
            return None
        if time.perf_counter() - guest.begun < _YOUNG:
            kind[0] = capi.EPOCH_CONTINUE
            return None
        if not guest.count_memory():
            return int(capi.error_new(b"busy"))
        return None
    except BaseException as error:
        if guest is not None:
            guest.call.fail(error)
        return int(capi.error_new(b"host"))


_kept = (capi.RawCallback(on_raw), capi.AsyncCallback(on_async), capi.EpochCallback(on_epoch))
RAW, ASYNC, EPOCH = (c.cast(callback, c.c_void_p).value or 0 for callback in _kept)
"""Addresses of the callbacks, which live as long as this module."""

_ready = c.create_string_buffer(b"\1")
_READY = c.addressof(_ready)
_Place = c.c_char * 24
