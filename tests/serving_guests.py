"""Guests that answer HTTP requests, and a home that has them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgpack

from guests import assemble, text_block, wat

ECHO = wat(
    """(memory (export "memory") 1)
    (func (export "answer") (local $n i64) (local $b i64) (local $i i64)
      (local.set $n (call $input_length))
      (local.set $b (call $alloc (i64.add (local.get $n) (i64.const 11))))"""
    # A msgpack map of one text, "body", whose value are the bytes of the input.
    + "".join(
        f"(call $store_u8 (i64.add (local.get $b) (i64.const {at})) (i32.const {byte}))"
        for at, byte in enumerate(b"\x81\xa4body\xc6")
    )
    + "".join(
        f"(call $store_u8 (i64.add (local.get $b) (i64.const {7 + at})) (i32.wrap_i64 (i64.and "
        f"(i64.shr_u (local.get $n) (i64.const {24 - 8 * at})) (i64.const 255))))"
        for at in range(4)
    )
    + """(block $end (loop $next
        (br_if $end (i64.ge_u (local.get $i) (local.get $n)))
        (call $store_u8 (i64.add (local.get $b) (i64.add (local.get $i) (i64.const 11)))
          (call $input_load_u8 (local.get $i)))
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br $next)))
      (call $output_set (local.get $b) (i64.add (local.get $n) (i64.const 11))))""",
    "alloc store_u8 output_set input_length input_load_u8",
)
"""Gives back what it was given, as the body of its answer."""


def says(data: bytes) -> str:
    """A guest whose output is always this."""
    return wat(
        f"""(func (export "answer") (local $b i64)
        {text_block("output", data, "b")}
        (call $output_set (local.get $b) (i64.const {len(data)})))""",
        "alloc store_u8 output_set",
    )


def packed(**answer: Any) -> str:
    """A guest that always gives this answer."""
    return says(msgpack.packb(answer))


TRAPS = wat('(func (export "answer") (unreachable))')
SPINS = wat('(func (export "answer") (loop $l (br $l)))')


def serving(
    home: Path,
    id: str,
    text: str,
    *,
    granted: str | None = "http.serve",
    requested: str = "http.serve:public",
    codec: str = "msgpack",
    **serve: Any,
) -> None:
    """Puts a plugin into a home that answers requests.

    Args:
        home: the home.
        id: of the plugin.
        text: of its module.
        granted: what its grant gives; None: it has none.
        requested: what its manifest asks for.
        codec: of the plugin.
        serve: what the table [serve] says beside the function.
    """
    wasm = assemble(text)
    (home / "plugins").mkdir(parents=True, exist_ok=True)
    (home / "plugins" / f"{id}.wasm").write_bytes(wasm)
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"function": "answer", **serve}.items()]
    (home / "plugins" / f"{id}.toml").write_text(
        f'id = "{id}"\nversion = "1"\ncodec = "{codec}"\n[[capabilities]]\nname = "{requested}"\nreason = "answers"\n'
        "[serve]\n" + "\n".join(lines)
    )
    if granted is not None:
        (home / "manifests").mkdir(exist_ok=True)
        (home / "manifests" / f"{id}.toml").write_text(
            f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\ncapabilities = ["{granted}"]\n'
        )
