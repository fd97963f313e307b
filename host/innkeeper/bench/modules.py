"""Forty different core modules with the sizes that plugins of fourteen languages and tool chains have."""

from __future__ import annotations

import itertools
from pathlib import Path

import wasmtime as w

from innkeeper.bench import samples

KB, MB = 1000, 1_000_000

SIZES = (
    *(900, 900, 25 * KB, 1200, 243 * KB, 2600, 19 * KB, 31 * KB),
    *(21 * KB, 28 * KB, int(4.4 * MB), int(1.9 * MB), 5400, 586 * KB),
)
"""Bytes: C, C with libc, C++, C and C++ of Debian, Zig, Rust (three), Rust with serde, Go (two), AssemblyScript,
JavaScript. Plugins of a host are such a mixture; the list begins again where more are wanted."""

_HEAD = """(module
  (import "extism:host/env" "input_offset" (func $input (result i64)))
  (import "extism:host/env" "input_length" (func $length (result i64)))
  (import "extism:host/env" "output_set" (func $output (param i64 i64)))
  (memory (export "memory") 2)
  (func (export "echo") (result i32) (call $output (call $input) (call $length)) (i32.const 0))"""
_BYTES_OF_FUNCTION = 61


def write(folder: Path, count: int) -> list[Path]:
    """Writes so many modules, no two alike, each with a function `echo`; gives their files."""
    paths = []
    for number, size in enumerate(itertools.islice(itertools.cycle(SIZES), count)):
        path = folder / f"module-{number:02}.wasm"
        path.write_bytes(_different(samples.bytes_of(samples.GO) if size > 4 * MB else made(size), number))
        paths.append(path)
    return paths


def made(size: int) -> bytes:
    """A module of about so many bytes of small functions."""
    functions = "".join(
        f"""(func (param i64 i64) (result i64) (local i64)
          (local.set 2 (i64.mul (local.get 0) (i64.const {number * 2_654_435_761 + 1})))
          (if (i64.gt_u (local.get 2) (local.get 1)) (then
            (i64.store offset={number % 60_000} (i32.const 0) (i64.rotl (local.get 2) (i64.const {number % 63})))))
          (loop (br_if 0 (i64.gt_s (local.tee 1 (i64.shr_s (local.get 1) (i64.const 1))) (i64.const 3))))
          (i64.xor (local.get 2) (i64.load offset={number % 50_000} (i32.const 8))))"""
        for number in range(max(0, size - 250) // _BYTES_OF_FUNCTION)
    )
    return bytes(w.wat2wasm(f"{_HEAD} {functions})"))


def _different(wasm: bytes, number: int) -> bytes:
    """The module with a custom section at its end that makes it another file."""
    content = b"\x05nonce" + number.to_bytes(4, "little")
    return wasm + b"\0" + bytes([len(content)]) + content
