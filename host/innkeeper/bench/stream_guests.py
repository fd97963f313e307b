"""Nodes that do nothing but write or read a stream, as fast as a guest can ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack
import wasmtime as w

SLOT = "chunks"

_MANIFEST = """id = "{name}"
version = "1.0.0"
codec = "msgpack"
[[nodes]]
type = "{type}"
function = "flow"
displayName = "{type}"
category = "bench"
{slots}.{slot} = {{dataFlowType = "WILDCARD", isStream = true}}
"""

_ENV = {
    "alloc": "(param i64) (result i64)",
    "free": "(param i64)",
    "length": "(param i64) (result i64)",
    "load_u8": "(param i64) (result i32)",
    "store_u8": "(param i64 i32)",
    "output_set": "(param i64 i64)",
    "error_set": "(param i64)",
}

_COPIES = """(func $block (param $at i32) (param $size i32) (result i64) (local $b i64) (local $i i32)
  (local.set $b (call $alloc (i64.extend_i32_u (local.get $size))))
  (loop
    (call $store_u8 (i64.add (local.get $b) (i64.extend_i32_u (local.get $i)))
      (i32.load8_u (i32.add (local.get $at) (local.get $i))))
    (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $size))))
  (local.get $b))"""
"""What lies in the guest's memory, in a block that the host can be given."""


def writer(chunks: Sequence[Any], calls: int, *, singly: bool = False) -> bytes:
    """A node that writes the same chunks again and again.

    Args:
        chunks: of one call; with `singly` one.
        calls: of the service.
        singly: asks `write` and not `write_all`.
    """
    operation = "write" if singly else "write_all"
    asked = {"slot": SLOT, "item": chunks[0]} if singly else {"slot": SLOT, "items": chunks}
    repeats = "(i32.gt_u (local.tee $left (i32.sub (local.get $left) (i32.const 1))) (i32.const 0))"
    return _node(operation, asked, calls, repeats)


def reader(limit: int) -> bytes:
    """A node that reads to the end, so many chunks at once at the most, and looks at none."""
    # The last byte of an answer says whether more comes: msgpack's false.
    last = "(call $load_u8 (i64.add (local.get $r) (i64.sub (call $length (local.get $r)) (i64.const 1))))"
    return _node("read", {"slot": SLOT, "limit": limit}, 0, f"(i32.eq {last} (i32.const 0xC2))")


def _node(operation: str, asked: Mapping[str, Any], count: int, again: str) -> bytes:
    data, answer = msgpack.packb(asked), msgpack.packb({"outputs": {}})
    imports = "".join(f'(import "extism:host/env" "{name}" (func ${name} {type}))' for name, type in _ENV.items())
    # The first byte of an answer's first key is the "o" of "ok" or the "e" of "error".
    return bytes(
        w.wat2wasm(f"""(module {imports}
          (import "extism:host/user" "innkeeper_stream_{operation}" (func $ask (param i64) (result i64)))
          (memory (export "memory") {1 + (len(data) + len(answer)) // 65536})
          (data (i32.const 0) "{wat_text(data + answer)}")
          {_COPIES}
          (func (export "flow") (result i32) (local $b i64) (local $r i64) (local $more i32) (local $left i32)
            (local.set $left (i32.const {count}))
            (local.set $b (call $block (i32.const 0) (i32.const {len(data)})))
            (loop
              (local.set $r (call $ask (local.get $b)))
              (if (i32.ne (call $load_u8 (i64.add (local.get $r) (i64.const 2))) (i32.const {ord("o")}))
                (then (call $error_set (local.get $r)) (return (i32.const 1))))
              (local.set $more {again})
              (call $free (local.get $r))
              (br_if 0 (local.get $more)))
            (call $output_set (call $block (i32.const {len(data)}) (i32.const {len(answer)}))
              (i64.const {len(answer)}))
            (i32.const 0)))""")
    )


def wat_text(data: bytes) -> str:
    """Bytes as the text of a module has them."""
    return "".join(f"\\{byte:02x}" for byte in data)


def install(home: Path, name: str, wasm: bytes, *, writes: bool) -> None:
    """Puts such a node into a home, as the plugin `name` with the node type "name:Name".

    Args:
        home: the folder.
        name: of lower-case letters.
        wasm: of `writer` or `reader`.
        writes: which of them.
    """
    plugins = home / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    (plugins / f"{name}.wasm").write_bytes(wasm)
    slots = "outputs" if writes else "inputs"
    (plugins / f"{name}.toml").write_text(
        _MANIFEST.format(name=name, type=name.capitalize(), slots=slots, slot=SLOT), "utf-8"
    )
