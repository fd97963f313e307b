"""The kernel: our own module that owns the memory through which an Extism-ABI guest and the host exchange bytes.

Guests' calls go straight from module to module; Python takes no part in them.  The kernel's state lies in the first
words of its memory, so that the host writes input and reads output without a crossing.  A guest can overwrite all of
it with `store_*`: it then harms itself only, because the host believes none of it (`window.py` checks each offset and
length against the real size of the memory before it copies) and because a wrong offset in here can only trap.

Layout: state words (0 top, 8 input's offset, 16 its length, 24 output's offset, 32 its length, 40 error's offset, 48
what ran out, 64 lists of freed small blocks, 160 of large ones), then blocks: a header of 16 bytes (length; capacity
with a mark in its low bits), then the bytes.  Small blocks have capacities of powers of two and a list of freed ones
for each; larger ones have one list; a freed block at the top gives its place back.

Source of the functions' meaning: Extism's ABI, version 1 (the imports from `extism:host/env` of its PDKs).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.limits import DEFAULTS

PAGE = 65_536
OUTPUT_OFFSET = 24
"""Where the output's offset and length and the error's offset are, one after the other."""
RAN_OUT = 48
"""Not zero: an allocation of so many bytes did not fit."""
START = 192
"""Offset of the input's bytes; its block's header lies right before."""
HEADER = 16
USED = 5
"""Low bits of a used block's capacity."""
SMALL_MAX = 32_768
FIRST_PAGES = 1
"""Pages that it starts with. It grows as it needs; each page that it has is cleared after its guest."""

MEMORY = "innkeeper:kernel"
"""Export: the kernel's memory."""

LIMIT = "innkeeper:kernel-limit"
"""Export: a global i32, the pages that its memory may grow to; at first those of the default limit."""

ENV = "extism:host/env"
INNER = "innkeeper"
"""Namespace of what the kernel imports from the host; no guest may import from it."""

CONFIG_GET, VAR_GET = 0, 1
"""First argument of `ask`; 2 sets a variable."""
LOG_LEVELS = ("trace", "debug", "info", "warn", "error")

_STATE = """
  (memory $k (export "innkeeper:kernel") {pages})
  (global $limit (export "innkeeper:kernel-limit") (mut i32) (i32.const {limit}))

  ;; Offsets are 64 bit for the guest and 32 bit here: one beyond 4 GiB must trap, not wrap round.
  (func $at (param $offset i64) (result i32)
    (if (i64.ne (i64.shr_u (local.get $offset) (i64.const 32)) (i64.const 0)) (then (unreachable)))
    (i32.wrap_i64 (local.get $offset)))

  (func $ran_out (param $wanted i64)
    (i64.store $k (i32.const 48) (local.get $wanted)) (unreachable))

  ;; Capacity for a length, and the list that freed blocks of this capacity go to.
  (func $class (param $n i64) (result i64)
    (select (i64.const 0) (i64.sub (i64.const 60) (i64.clz (i64.sub (local.get $n) (i64.const 1))))
      (i64.le_u (local.get $n) (i64.const 16))))
  (func $capacity (param $n i64) (result i64)
    (if (i64.le_u (local.get $n) (i64.const 32768))
      (then (return (i64.shl (i64.const 16) (call $class (local.get $n))))))
    (i64.and (i64.add (local.get $n) (i64.const 15)) (i64.const -16)))
  (func $list (param $capacity i64) (result i32)
    (if (i64.gt_u (local.get $capacity) (i64.const 32768)) (then (return (i32.const 160))))
    (i32.wrap_i64 (i64.add (i64.const 64) (i64.shl (call $class (local.get $capacity)) (i64.const 3)))))

  ;; Takes a freed block of at least this capacity (and not much more), or answers 0.
  (func $reuse (param $capacity i64) (result i64) (local $link i32) (local $block i64) (local $has i64)
    (local.set $link (call $list (local.get $capacity)))
    (loop $next
      (local.set $block (i64.load $k (local.get $link)))
      (if (i64.eqz (local.get $block)) (then (return (i64.const 0))))
      (local.set $has (i64.load $k (call $at (i64.sub (local.get $block) (i64.const 8)))))
      (if (i32.or (i64.lt_u (local.get $has) (local.get $capacity))
                  (i64.gt_u (local.get $has) (i64.shl (local.get $capacity) (i64.const 1))))
        (then (local.set $link (call $at (local.get $block))) (br $next))))
    (i64.store $k (local.get $link) (i64.load $k (call $at (local.get $block))))
    (local.get $block))

  ;; Makes the memory at least so many pages larger, within its limit: up to sixteen at a time, since each growth is a
  ;; call of the system.  Answers 0 if it cannot.
  (func $grow (param $short i64) (result i32) (local $room i64) (local $step i64)
    (local.set $room (i64.sub (i64.extend_i32_u (global.get $limit)) (i64.extend_i32_u (memory.size $k))))
    (if (i64.gt_s (local.get $short) (local.get $room)) (then (return (i32.const 0))))
    (local.set $step (i64.extend_i32_u (memory.size $k)))
    (if (i64.gt_u (local.get $step) (i64.const 16)) (then (local.set $step (i64.const 16))))
    (if (i64.lt_u (local.get $step) (local.get $short)) (then (local.set $step (local.get $short))))
    (if (i64.gt_u (local.get $step) (local.get $room)) (then (local.set $step (local.get $room))))
    (i32.ne (memory.grow $k (i32.wrap_i64 (local.get $step))) (i32.const -1)))

  (func $alloc (export "alloc") (param $n i64) (result i64)
    (local $capacity i64) (local $block i64) (local $end i64) (local $short i64)
    (if (i64.eqz (local.get $n)) (then (return (i64.const 0))))
    (if (i64.gt_u (local.get $n) (i64.const 0x7fffffff)) (then (call $ran_out (local.get $n))))
    (local.set $capacity (call $capacity (local.get $n)))
    (local.set $block (call $reuse (local.get $capacity)))
    (if (i64.eqz (local.get $block)) (then
      (local.set $block (i64.add (i64.load $k (i32.const 0)) (i64.const 16)))
      (local.set $end (i64.add (local.get $block) (local.get $capacity)))
      (local.set $short (i64.sub (i64.shr_u (i64.add (local.get $end) (i64.const 65535)) (i64.const 16))
                                 (i64.extend_i32_u (memory.size $k))))
      (if (i64.gt_s (local.get $short) (i64.const 0)) (then
        (if (i32.eqz (call $grow (local.get $short))) (then (call $ran_out (local.get $n))))))
      (i64.store $k (i32.const 0) (local.get $end))
      (i64.store $k (call $at (i64.sub (local.get $block) (i64.const 8)))
        (i64.or (local.get $capacity) (i64.const 5))))
    (else
      (local.set $end (call $at8 (local.get $block)))
      (i64.store $k (i32.wrap_i64 (local.get $end))
        (i64.or (i64.load $k (i32.wrap_i64 (local.get $end))) (i64.const 5)))))
    (i64.store $k (call $at (i64.sub (local.get $block) (i64.const 16))) (local.get $n))
    (local.get $block))
  (func $at8 (param $block i64) (result i64)
    (i64.extend_i32_u (call $at (i64.sub (local.get $block) (i64.const 8)))))

  ;; Capacity of a block in use, 0 for what is none.
  (func $used (param $block i64) (result i64) (local $mark i64)
    (if (i32.or (i32.or (i64.lt_u (local.get $block) (i64.const 192))
                        (i64.ge_u (local.get $block) (i64.load $k (i32.const 0))))
                (i64.ne (i64.and (local.get $block) (i64.const 15)) (i64.const 0)))
      (then (return (i64.const 0))))
    (local.set $mark (i64.load $k (i32.wrap_i64 (call $at8 (local.get $block)))))
    (if (i64.ne (i64.and (local.get $mark) (i64.const 15)) (i64.const 5)) (then (return (i64.const 0))))
    (i64.and (local.get $mark) (i64.const -16)))

  (func (export "free") (param $block i64) (local $capacity i64) (local $list i32)
    (local.set $capacity (call $used (local.get $block)))
    (if (i64.eqz (local.get $capacity)) (then (return)))
    (if (i64.eq (i64.add (local.get $block) (local.get $capacity)) (i64.load $k (i32.const 0)))
      (then (i64.store $k (i32.const 0) (i64.sub (local.get $block) (i64.const 16)))
            (i64.store $k (i32.wrap_i64 (call $at8 (local.get $block))) (i64.const 0)) (return)))
    (i64.store $k (i32.wrap_i64 (call $at8 (local.get $block))) (local.get $capacity))
    (local.set $list (call $list (local.get $capacity)))
    (i64.store $k (call $at (local.get $block)) (i64.load $k (local.get $list)))
    (i64.store $k (local.get $list) (local.get $block)))

  (func $length (export "length") (param $block i64) (result i64)
    (if (i64.eqz (call $used (local.get $block))) (then (return (i64.const 0))))
    (i64.load $k (call $at (i64.sub (local.get $block) (i64.const 16)))))
  (func (export "length_unsafe") (param $block i64) (result i64)
    (if (i64.lt_u (local.get $block) (i64.const 16)) (then (return (i64.const 0))))
    (i64.load $k (call $at (i64.sub (local.get $block) (i64.const 16)))))

  ;; These stand in the guest's own code where it calls them (`INLINED`): no locals, no return, no calls.  An offset
  ;; is taken modulo 2^32, as Extism's own kernel does, and what lies outside of the memory traps.
  (func (export "load_u8") (param i64) (result i32) (i32.load8_u $k (i32.wrap_i64 (local.get 0))))
  (func (export "load_u64") (param i64) (result i64) (i64.load $k (i32.wrap_i64 (local.get 0))))
  (func (export "store_u8") (param i64 i32) (i32.store8 $k (i32.wrap_i64 (local.get 0)) (local.get 1)))
  (func (export "store_u64") (param i64 i64) (i64.store $k (i32.wrap_i64 (local.get 0)) (local.get 1)))
  (func (export "input_offset") (result i64) (i64.load $k (i32.const 8)))
  (func (export "input_length") (result i64) (i64.load $k (i32.const 16)))
  (func (export "input_load_u8") (param $i i64) (result i32)
    (if (result i32) (i64.lt_u (local.get $i) (i64.load $k (i32.const 16)))
      (then (i32.load8_u $k (i32.wrap_i64 (i64.add (i64.load $k (i32.const 8)) (local.get $i)))))
      (else (i32.const 0))))
  ;; An index near 2^64 wraps to a small one with its last byte: so both are looked at.
  (func (export "input_load_u64") (param $i i64) (result i64)
    (if (result i64) (i32.and
        (i64.le_u (i64.add (local.get $i) (i64.const 8)) (i64.load $k (i32.const 16)))
        (i64.lt_u (local.get $i) (i64.load $k (i32.const 16))))
      (then (i64.load $k (i32.wrap_i64 (i64.add (i64.load $k (i32.const 8)) (local.get $i)))))
      (else (i64.const 0))))
  (func (export "output_set") (param i64 i64)
    (i64.store $k (i32.const 24) (local.get 0)) (i64.store $k (i32.const 32) (local.get 1)))
  (func (export "error_set") (param i64) (i64.store $k (i32.const 40) (local.get 0)))

  ;; Bytes that the host has ready come in here.  Where there was room above the last block, the host has put them there
  ;; and says where; else it says how many they are, negative: the place is made and `take` copies.
  (func $give (param $n i64) (result i64) (local $block i64)
    (if (i64.ge_s (local.get $n) (i64.const 0)) (then (return (local.get $n))))
    (local.set $block (call $alloc (i64.sub (i64.const 0) (local.get $n))))
    (call $take (local.get $block))
    (local.get $block))

  (func (export "config_get") (param $key i64) (result i64)
    (call $give (call $ask (i32.const 0) (local.get $key) (call $length (local.get $key)) (i64.const 0) (i64.const 0))))
  (func (export "var_get") (param $key i64) (result i64)
    (call $give (call $ask (i32.const 1) (local.get $key) (call $length (local.get $key)) (i64.const 0) (i64.const 0))))
  (func (export "var_set") (param $key i64) (param $value i64)
    (drop (call $ask (i32.const 2) (local.get $key) (call $length (local.get $key))
      (local.get $value) (call $length (local.get $value)))))
  (func (export "get_log_level") (result i32) (i32.const 0))
  (func (export "http_request") (param i64 i64) (result i64) (call $deny) (unreachable))
  (func (export "http_status_code") (result i32) (i32.const 0))
  (func (export "http_headers") (result i64) (i64.const 0))
"""

_IMPORTS = """
  (import "innkeeper" "ask" (func $ask (param i32 i64 i64 i64 i64) (result i64)))
  (import "innkeeper" "take" (func $take (param i64)))
  (import "innkeeper" "log" (func $log (param i32 i64 i64)))
  (import "innkeeper" "deny" (func $deny))
"""

SIGNATURES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "alloc": (("i64",), ("i64",)),
    "free": (("i64",), ()),
    "length": (("i64",), ("i64",)),
    "length_unsafe": (("i64",), ("i64",)),
    "load_u8": (("i64",), ("i32",)),
    "load_u64": (("i64",), ("i64",)),
    "store_u8": (("i64", "i32"), ()),
    "store_u64": (("i64", "i64"), ()),
    "input_offset": ((), ("i64",)),
    "input_length": ((), ("i64",)),
    "input_load_u8": (("i64",), ("i32",)),
    "input_load_u64": (("i64",), ("i64",)),
    "output_set": (("i64", "i64"), ()),
    "error_set": (("i64",), ()),
    "config_get": (("i64",), ("i64",)),
    "var_get": (("i64",), ("i64",)),
    "var_set": (("i64", "i64"), ()),
    "log_trace": (("i64",), ()),
    "log_debug": (("i64",), ()),
    "log_info": (("i64",), ()),
    "log_warn": (("i64",), ()),
    "log_error": (("i64",), ()),
    "get_log_level": ((), ("i32",)),
    "http_request": (("i64", "i64"), ("i64",)),
    "http_status_code": ((), ("i32",)),
    "http_headers": ((), ("i64",)),
}
"""What guests may import from `extism:host/env`, with parameters and results."""


REPLACEABLE = frozenset({"http_request", "http_status_code", "http_headers"})
"""Functions of the ABI in whose place a host function may stand: by themselves they refuse, or have nothing."""


def needs_wrapper(function: HostFunction) -> bool:
    """Whether the kernel stands around the host's function: where bytes cross, it turns blocks into lengths and back;
    where it stands for one of the ABI's, guests reach it where they reach those."""
    return Value.BYTES in function.parameters or function.result is Value.BYTES or function.namespace == ENV


Wrapping = tuple[Sequence[Value], Value | None]
"""Parameters and result of a host function."""


def guest_signature(function: HostFunction) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The function's type as guests import it: bytes are an i64, the offset of their block."""
    return _guest_types(function.parameters, function.result)


def host_signature(function: HostFunction) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The function's type as the kernel imports it: bytes are offset and length on the way in, a length on the way
    out."""
    return _host_types(function.parameters, function.result)


def _guest_types(parameters: Sequence[Value], result: Value | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(_wire(value) for value in parameters), ((_wire(result),) if result else ())


def _host_types(parameters: Sequence[Value], result: Value | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    types: list[str] = []
    for value in parameters:
        types += ["i64", "i64"] if value is Value.BYTES else [value.value]
    return tuple(types), ((_wire(result),) if result else ())


def _wire(value: Value) -> str:
    return "i64" if value is Value.BYTES else value.value


def _wat(parameters: tuple[str, ...], results: tuple[str, ...]) -> str:
    return (f"(param {' '.join(parameters)}) " if parameters else "") + (
        f"(result {' '.join(results)})" if results else ""
    )


def wrapper_name(position: int) -> str:
    """Export name of the wrapper around the host function at `position`."""
    return f"wrap:{position}"


def inner_name(position: int) -> str:
    """Import name, in the namespace `innkeeper`, of the host function at `position`."""
    return f"call:{position}"


INLINED = frozenset(
    {"load_u8", "load_u64", "store_u8", "store_u64", "input_offset", "input_length", "input_load_u8", "input_load_u64"}
)
"""Exports whose bodies stand where the guest calls them, once kernel and guest are one module."""


def wrapped(functions: Sequence[HostFunction], imported: Collection[tuple[str, str]]) -> list[HostFunction]:
    """The host functions that get a wrapper: what is imported of those that carry bytes, in the order of their names.

    Args:
        functions: those that a plugin may import.
        imported: module and name of each import that it has.
    """
    chosen = {(f.namespace, f.name): f for f in functions if needs_wrapper(f) and (f.namespace, f.name) in imported}
    return [chosen[key] for key in sorted(chosen)]


def source(signatures: Sequence[Wrapping], *, merged: bool) -> str:
    """The kernel's text.

    Args:
        signatures: parameters and result of each host function that gets a wrapper, in the order of their positions.
        merged: whether it becomes one module with its guest, whose memory is number 0 then.
    """
    imports, wrappers = [_IMPORTS], []
    for position, (parameters, result) in enumerate(signatures):
        inner = _wat(*_host_types(parameters, result))
        imports.append(f'(import "innkeeper" "{inner_name(position)}" (func $call{position} {inner}))')
        arguments = " ".join(
            f"(local.get {i}) (call $length (local.get {i}))" if value is Value.BYTES else f"(local.get {i})"
            for i, value in enumerate(parameters)
        )
        body = f"(call $call{position} {arguments})"
        if result is Value.BYTES:
            body = f"(call $give {body})"
        outer = _wat(*_guest_types(parameters, result))
        wrappers.append(f'(func (export "{wrapper_name(position)}") {outer} {body})')
    logs = [
        f'(func (export "log_{level}") (param $at i64)'
        f" (call $log (i32.const {number}) (local.get $at) (call $length (local.get $at))))"
        for number, level in enumerate(LOG_LEVELS)
    ]
    state = _STATE.format(pages=FIRST_PAGES, limit=DEFAULTS.kernel_memory // PAGE)
    return "\n".join(["(module", *imports, "(memory 0 0)" if merged else "", state, *logs, *wrappers, ")"])


def capacity(length: int) -> int:
    """The capacity that the kernel gives a block of `length` bytes; the host lays out the input by the same rule."""
    if length > SMALL_MAX:
        return (length + 15) & ~15
    return 16 if length <= 16 else 1 << (length - 1).bit_length()
