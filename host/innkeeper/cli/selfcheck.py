"""The engine's self-check: three guests whose outcome is known, run for real."""

from __future__ import annotations

from dataclasses import replace

from innkeeper.errors import GuestError, InnkeeperError, LimitError
from innkeeper.plugins.host import Host
from innkeeper.plugins.plugin import Plugin

_GUEST = """
(module
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (memory (export "memory") 1)
  (func (export "echo") (result i32)
    (local $length i64) (local $block i64) (local $i i64)
    (local.set $length (call $input_length))
    (local.set $block (call $alloc (local.get $length)))
    (block $done
      (loop $next
        (br_if $done (i64.ge_u (local.get $i) (local.get $length)))
        (call $store_u8 (i64.add (local.get $block) (local.get $i)) (call $input_load_u8 (local.get $i)))
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br $next)))
    (call $output_set (local.get $block) (local.get $length))
    (i32.const 0))
  (func (export "spin") (loop $again (br $again)))
  (func (export "trap") unreachable))
"""

_INPUT = b"Innkeeper checks itself: \x00\x7f\xff"
_CPU = 0.05


async def check_engine(host: Host) -> list[str]:
    """What of the engine does not work as it must (list of str); empty if all does.

    Runs an echo of bytes, an endless loop that must end at its limit, and a trap; then the echo again.
    """
    from wasmtime import wat2wasm

    plugin = await host.load(bytes(wat2wasm(_GUEST)), plugin_id="self-check")
    try:
        return [
            *await _echoes(plugin),
            *await _ends(plugin, "spin", LimitError),
            *await _ends(plugin, "trap", GuestError),
            *await _echoes(plugin),
        ]
    finally:
        await plugin.aclose()


async def _echoes(plugin: Plugin) -> list[str]:
    result = await plugin.call("echo", _INPUT)
    return [] if result.output == _INPUT else ["a guest that echoes its input gave other bytes"]


async def _ends(plugin: Plugin, function: str, expected: type[InnkeeperError]) -> list[str]:
    limits = replace(plugin.limits, cpu=min(_CPU, plugin.limits.cpu))
    try:
        await plugin.call(function, limits=limits)
    except expected:
        return []
    except InnkeeperError as error:
        return [f"the function {function!r} ended with {error.kind.value}, not {expected.kind.value}: {error.message}"]
    return [f"the function {function!r} ended without an error"]
