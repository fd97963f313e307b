"""The guests that are measured, as small modules in text form."""

from __future__ import annotations

from functools import cache

import trio
import wasmtime

from innkeeper.sandbox.interface import HostFunction, Value

PAGE = 1 << 16
FILLED = 915 * PAGE
"""Bytes that `filler` fills: 60 MB, in one bulk instruction."""
RANDOM = 32 << 20
"""Bytes that `random_bytes` asks for at a time: 32 MiB."""

_HOST = '(import "extism:host/user" "host" (func $host (param i64) (result i64)))'


@cache
def assemble(text: str) -> bytes:
    """A module's bytes."""
    return bytes(wasmtime.wat2wasm(text))


def spinner() -> bytes:
    """`run` never ends."""
    return assemble('(module (func (export "run") (loop $again (br $again))))')


def counter(iterations: int) -> bytes:
    """`run` goes through a loop so many times; to find out how long one takes."""
    return assemble(f'(module (func (export "run") (local $left i64) {_loop(iterations)}))')


def computer(iterations: int) -> bytes:
    """`run` goes through a loop so many times, calls the host, and begins again, for ever."""
    return assemble(
        f'(module {_HOST} (func (export "run") (local $left i64) (loop $again {_loop(iterations)}'
        " (drop (call $host (i64.const 1))) (br $again))))"
    )


def filler() -> bytes:
    """`run` fills 60 MB in one instruction, calls the host, and begins again, for ever."""
    return assemble(
        f'(module {_HOST} (memory {FILLED // PAGE}) (func (export "run") (loop $again'
        f" (memory.fill (i32.const 0) (i32.const 7) (i32.const {FILLED})) (drop (call $host (i64.const 1)))"
        " (br $again))))"
    )


def random_bytes() -> bytes:
    """`run` asks WASI for 32 MiB of random bytes, again and again."""
    return assemble(
        '(module (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))'
        f' (memory (export "memory") {RANDOM // PAGE}) (func (export "run") (loop $again'
        f" (drop (call $random (i32.const 0) (i32.const {RANDOM}))) (br $again))))"
    )


def waiter(pages: int) -> bytes:
    """`run` uses the kernel and a memory of so many pages, and then waits for the host."""
    return assemble(
        f"""(module {_HOST}
          (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
          (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
          (memory {pages})
          (func (export "run") (result i32)
            (call $store (call $alloc (i64.const 64)) (i64.const 1))
            (i32.store (i32.const 0) (i32.const 1))
            (drop (call $host (i64.const 1)))
            (i32.const 0)))"""
    )


def every_end() -> bytes:
    """One function for each way in which a call can end: `ok`, `trap`, `spin`, `host`, `large`; it uses the kernel."""
    return assemble(
        f"""(module {_HOST}
          (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
          (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
          (import "extism:host/env" "output_set" (func $output (param i64 i64)))
          (memory 1)
          (func (export "ok") (result i32) (local $at i64)
            (local.set $at (call $alloc (i64.const 64)))
            (call $store (local.get $at) (i64.const 0x2121212121212121))
            (i32.store (i32.const 0) (i32.const 1))
            (call $output (local.get $at) (i64.const 8))
            (i32.const 0))
          (func (export "trap") (result i32) (unreachable))
          (func (export "spin") (loop $again (br $again)))
          (func (export "host") (result i32) (drop (call $host (i64.const 1))) (i32.const 0))
          (func (export "large") (result i32)
            (call $output (call $alloc (i64.const 4096)) (i64.const 4096)) (i32.const 0)))"""
    )


ECHO = """
  (func (export "echo") (result i32) (local $at i64) (local $out i64) (local $length i64)
    (local.set $length (call $length))
    (local.set $out (call $alloc (local.get $length)))
    (block $end (loop $again
      (br_if $end (i64.ge_u (local.get $at) (local.get $length)))
      (call $store (i64.add (local.get $out) (local.get $at)) (call $load (local.get $at)))
      (local.set $at (i64.add (local.get $at) (i64.const 8)))
      (br $again)))
    (call $output (local.get $out) (local.get $length))
    (i32.const 0))"""


def echo() -> bytes:
    """`echo` gives its input back, 8 bytes at a time; the input's length is a multiple of 8."""
    return assemble(
        f"""(module
          (import "extism:host/env" "input_length" (func $length (result i64)))
          (import "extism:host/env" "input_load_u64" (func $load (param i64) (result i64)))
          (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
          (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
          (import "extism:host/env" "output_set" (func $output (param i64 i64)))
          (memory 1) {ECHO})"""
    )


def _loop(iterations: int) -> str:
    return (
        f"(local.set $left (i64.const {iterations})) (loop $count (br_if $count"
        " (i64.ne (i64.const 0) (local.tee $left (i64.sub (local.get $left) (i64.const 1))))))"
    )


async def at_once(value: int) -> int:
    """A host function that awaits nothing."""
    return value


async def after_a_checkpoint(value: int) -> int:
    """A host function that really awaits."""
    await trio.lowlevel.checkpoint()
    return value


def host(handler: object = at_once) -> HostFunction:
    """The function that the guests above import as `host`."""
    assert callable(handler)
    return HostFunction("host", handler, (Value.I64,), Value.I64)
