"""wasmtime's C functions that wasmtime-py carries and declares but does not wrap, and the hot ones that it wraps.

Two handles of our own on the library that wasmtime-py loaded: argument types declared on wasmtime-py's own handle
would change wasmtime-py.  `held` keeps the GIL: right for calls of microseconds, since giving the GIL away may cost
5 ms when another thread is busy.  `free` gives it away: right for calls that may take long.

Rules of this API, which its callers keep (each has a test in tests/test_capi.py):

- All pointers are plain integers (`int`, 0 or None is NULL).
- While a future of a store is alive, nothing else touches that store, except a callback through its caller.
- The future is deleted first, then its store; the other order aborts the process.
- Every error and trap that a function returns or writes is deleted (`take_error`, `take_trap` do): one that is
  forgotten leaks 1.7 KB, the backtrace of a deep recursion 250 KB.
- A callback never raises, and an asynchronous one always sets its continuation: otherwise the process aborts.

Sources: wasmtime.h, wasmtime/async.h, wasmtime/store.h, wasmtime/linker.h of wasmtime 50.
"""

from __future__ import annotations

import ctypes as c
import os
from typing import Any

from wasmtime import _bindings as bindings
from wasmtime import _ffi

from innkeeper.errors import InternalError

POINTER = c.c_void_p

held = c.PyDLL(_ffi.dll._name)
free = c.CDLL(_ffi.dll._name)

_KINDS: dict[str, Any] = {
    "-": None,
    "p": POINTER,
    "n": c.c_size_t,
    "u": c.c_uint64,
    "i": c.c_int64,
    "s": c.c_char_p,
    "b": c.c_bool,
    "8": c.c_uint8,
}


def _declare(name: str, result: str, arguments: str, library: Any = held) -> Any:
    # Indexing a handle makes a function object of its own each time, so the two handles and wasmtime-py stay apart.
    function = library[name]
    function.restype = _KINDS[result]
    function.argtypes = [_KINDS[letter] for letter in arguments]
    return function


# --- stores -----------------------------------------------------------------------------------------------------------
store_new = _declare("wasmtime_store_new", "p", "ppp")
"""(engine, data, finalizer) -> store"""
store_delete = _declare("wasmtime_store_delete", "-", "p")
"""(store). Every future of the store was deleted before."""
store_delete_free = _declare("wasmtime_store_delete", "-", "p", free)
"""As `store_delete` without the GIL: giving back 60 MB of memory takes milliseconds."""
store_context = _declare("wasmtime_store_context", "p", "p")
"""(store) -> context, the same address for as long as the store lives"""
store_limiter = _declare("wasmtime_store_limiter", "-", "piiiii")
"""(store, memory_size, table_elements, instances, tables, memories); the size holds for each memory by itself"""
set_epoch_deadline = _declare("wasmtime_context_set_epoch_deadline", "-", "pu")
"""(context, ticks beyond the current epoch)"""
epoch_callback = _declare("wasmtime_store_epoch_deadline_callback", "-", "pppp")
"""(store, EpochCallback, data, finalizer): called when the epoch's deadline has come"""

# --- linkers and instances --------------------------------------------------------------------------------------------
linker_new = _declare("wasmtime_linker_new", "p", "p")
linker_delete = _declare("wasmtime_linker_delete", "-", "p")
linker_clone = _declare("wasmtime_linker_clone", "p", "p")
linker_allow_shadowing = _declare("wasmtime_linker_allow_shadowing", "-", "pb")
"""(linker, allow)"""
linker_define = _declare("wasmtime_linker_define", "p", "ppsnsnp")
"""(linker, context, module, length, name, length, extern) -> error"""
linker_define_instance = _declare("wasmtime_linker_define_instance", "p", "ppsnp")
"""(linker, context, name, length, instance) -> error"""
linker_define_raw = _declare("wasmtime_linker_define_func_unchecked", "p", "psnsnpppp")
"""(linker, module, length, name, length, functype, RawCallback, env, finalizer) -> error"""
linker_define_async = _declare("wasmtime_linker_define_async_func", "p", "psnsnpppp")
"""(linker, module, length, name, length, functype, AsyncCallback, env, finalizer) -> error"""
linker_instantiate_async = _declare("wasmtime_linker_instantiate_async", "p", "pppppp")
"""(linker, context, module, instance out, trap out, error out) -> future; the linker must not change meanwhile"""
linker_instantiate_pre = _declare("wasmtime_linker_instantiate_pre", "p", "ppp")
"""(linker, module, instance_pre out) -> error"""
instance_pre_delete = _declare("wasmtime_instance_pre_delete", "-", "p")
instance_pre_instantiate_async = _declare("wasmtime_instance_pre_instantiate_async", "p", "ppppp")
"""(instance_pre, context, instance out, trap out, error out) -> future"""
instance_export = _declare("wasmtime_instance_export_get", "b", "ppsnp")
"""(context, instance, name, length, extern out) -> found"""

# --- calls ------------------------------------------------------------------------------------------------------------
func_call_async = _declare("wasmtime_func_call_async", "p", "pppnpnpp")
"""(context, func, arguments, count, results, count, trap out, error out) -> future"""
future_poll_held = _declare("wasmtime_call_future_poll", "b", "p")
"""(future) -> done; keeps the GIL"""
future_poll_free = _declare("wasmtime_call_future_poll", "b", "p", free)
"""(future) -> done; gives the GIL away, callbacks take it back for as long as they run"""
future_delete = _declare("wasmtime_call_future_delete", "-", "p")
"""(future): drops the fiber if the call has not ended"""
caller_context = _declare("wasmtime_caller_context", "p", "p")
"""(caller) -> context"""
caller_export = _declare("wasmtime_caller_export_get", "b", "psnp")
"""(caller, name, length, extern out) -> found"""

# --- memory and globals -----------------------------------------------------------------------------------------------
memory_data = _declare("wasmtime_memory_data", "p", "pp")
"""(context, memory) -> address of its first byte; growing may move it"""
memory_data_size = _declare("wasmtime_memory_data_size", "n", "pp")
"""(context, memory) -> bytes"""
memory_grow = _declare("wasmtime_memory_grow", "p", "ppup")
"""(context, memory, pages, old size out) -> error"""
global_get = _declare("wasmtime_global_get", "-", "ppp")
"""(context, global, value out)"""
global_set = _declare("wasmtime_global_set", "p", "ppp")
"""(context, global, value) -> error"""

# --- engine, errors and traps -----------------------------------------------------------------------------------------
engine_increment_epoch = _declare("wasmtime_engine_increment_epoch", "-", "p")
"""(engine): one tick"""
async_stack_size_set = _declare("wasmtime_config_async_stack_size_set", "-", "pn")
"""(config, bytes): at least the Wasm stack; what is more is left for host functions"""
error_new = _declare("wasmtime_error_new", "p", "s")
"""(message, zero-terminated) -> error"""
error_delete = _declare("wasmtime_error_delete", "-", "p")
error_message = _declare("wasmtime_error_message", "-", "pp")
trap_new = _declare("wasmtime_trap_new", "p", "sn")
"""(message, length) -> trap"""
trap_delete = _declare("wasm_trap_delete", "-", "p")
trap_message = _declare("wasm_trap_message", "-", "pp")
trap_code = _declare("wasmtime_trap_code", "b", "pp")
"""(trap, code out: uint8) -> the trap has a code"""
byte_vec_delete = _declare("wasm_byte_vec_delete", "-", "p")

# --- callbacks --------------------------------------------------------------------------------------------------------
AsyncCallback = c.CFUNCTYPE(None, POINTER, POINTER, POINTER, c.c_size_t, POINTER, c.c_size_t, POINTER, POINTER)
"""(env, caller, arguments, count, results, count, trap out, continuation out)

The continuation is three pointers: a function of C that says of its env whether the host function is done (`RESUME`),
that env, and a finalizer of it, which may be NULL."""
RawCallback = c.CFUNCTYPE(POINTER, POINTER, POINTER, POINTER, c.c_size_t)
"""(env, caller, values in and out, count) -> trap"""
EpochCallback = c.CFUNCTYPE(POINTER, POINTER, POINTER, c.POINTER(c.c_uint64), c.POINTER(c.c_uint8))
"""(context, data, delta out, kind out) -> error"""
EPOCH_CONTINUE, EPOCH_YIELD = 0, 1

_strlen: Any = c.CDLL(None).strlen if os.name == "posix" else c.cdll.msvcrt.strlen
RESUME: int = c.cast(_strlen, POINTER).value or 0
"""Address of `strlen`, which says 0 of the bytes 0, and 1 of 1 and 0: so neither a poll that finds the guest still
waiting, nor the one that goes on, costs a call of Python's."""

Extern = bindings.wasmtime_extern_t
Instance = bindings.wasmtime_instance_t
Val = bindings.wasmtime_val_t
RawVal = bindings.wasmtime_val_raw_t

EXTERN_OF: int = Extern.of.offset
"""Where the function, memory or global begins in an Extern."""
VAL_SIZE, RAW_SIZE = c.sizeof(Val), c.sizeof(RawVal)
I32, I64, F32, F64 = 0, 1, 2, 3

TRAP_NAMES = {
    0: "stack overflow",
    1: "out of bounds memory access",
    2: "misaligned memory access",
    3: "out of bounds table access",
    4: "call of an empty table element",
    5: "indirect call with a wrong signature",
    6: "integer overflow",
    7: "integer division by zero",
    8: "invalid conversion to an integer",
    9: "unreachable code was reached",
    10: "interrupted",
    11: "out of fuel",
}
"""wasmtime/trap.h's codes that core modules with our proposals can meet."""
TRAP_STACK_OVERFLOW = 0

_MESSAGE_BOUND = 2000


class _ByteVec(c.Structure):
    _fields_ = (("size", c.c_size_t), ("data", POINTER))


def _message(read: Any, what: int) -> str:
    vec = _ByteVec()
    read(what, c.addressof(vec))
    try:
        return c.string_at(vec.data, min(vec.size, _MESSAGE_BOUND)).rstrip(b"\0").decode("utf-8", "replace")
    finally:
        byte_vec_delete(c.addressof(vec))


def take_error(error: int) -> str:
    """The text of an error (at most 2,000 characters), which is deleted."""
    try:
        return _message(error_message, error)
    finally:
        error_delete(error)


def check(error: int | None) -> None:
    """Raises InternalError with the text of the error that a function returned, if it did."""
    if error:
        raise InternalError(f"wasmtime: {take_error(error)}")


def take_trap(trap: int) -> tuple[int | None, str]:
    """The code of a trap, or None, and its text (at most 2,000 characters). The trap is deleted."""
    code = c.c_uint8()
    try:
        known = trap_code(trap, c.addressof(code))
        return (code.value if known else None), _message(trap_message, trap)
    finally:
        trap_delete(trap)


def address(wrapper: Any) -> int:
    """The address of what a wasmtime-py object wraps. Keep the object: the address alone keeps nothing alive."""
    value = c.cast(wrapper.ptr(), POINTER).value
    if value is None:
        raise ValueError("the wrapped object is gone")
    return value
