"""Rows: what a call takes that was remembered, beside the same call of a fresh guest."""

from __future__ import annotations

import trio
import wasmtime as w

import innkeeper
from innkeeper import Plugin
from innkeeper.bench import samples
from innkeeper.bench.measured import INNKEEPER, Figure, Measured
from innkeeper.bench.timing import Batch, in_turns
from innkeeper.bench.workspace import Workspace
from innkeeper.sandbox.limits import KIB

_LENGTHS = {"memo-small": 64, "memo-64k": 64 * KIB}

_GUEST = """(module
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u64" (func $input_load_u64 (param i64) (result i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (func (export "echo") (local $at i64) (local $length i64) (local $block i64)
    (local.set $length (call $input_length))
    (local.set $block (call $alloc (local.get $length)))
    (loop
      (call $store_u64 (i64.add (local.get $block) (local.get $at)) (call $input_load_u64 (local.get $at)))
      (local.set $at (i64.add (local.get $at) (i64.const 8)))
      (br_if 0 (i64.lt_u (local.get $at) (local.get $length))))
    (call $output_set (local.get $block) (local.get $length))))"""
"""Copies word by word, as the guest of the other rows does, and asks the host for nothing."""


def _calls(plugin: Plugin, data: memoryview, memo: bool) -> Batch:
    """A batch of calls, each with an input of its own, as calls of different runs have: what Python knows of bytes that
    it has seen before would be another memory."""

    async def batch(count: int) -> object:
        output = b""
        for _ in range(count):
            output = (await plugin.call("echo", data, memo=memo)).output
        return output

    return batch


def measure(name: str, workspace: Workspace) -> Measured:
    """Per cent of a fresh guest's call."""
    return trio.run(_measure, _LENGTHS[name], workspace)


async def _measure(length: int, workspace: Workspace) -> Measured:
    data = memoryview(samples.data(length))
    async with innkeeper.open_host(workspace.home, catalogue=False) as host:
        plugin = await host.load(bytes(w.wat2wasm(_GUEST)))
        batches = {"fresh": _calls(plugin, data, False), "remembered": _calls(plugin, data, True)}
        figures = await in_turns(batches, rounds=60, seconds=2.0 * workspace.patience, scale=1e6)
    hit, fresh = figures["remembered"], figures["fresh"]
    share = 100.0 / fresh.median
    part = Figure(hit.median * share, hit.low * share, hit.high * share, hit.rounds)
    return Measured({INNKEEPER: part}, {"remembered_us": hit.median, "fresh_us": fresh.median})
