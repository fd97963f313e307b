"""Calls that are recorded and run again without a host, for tests of tapes and journals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from guests import Sandbox, assemble, wat
from innkeeper.bridge.journal.format import read_journal, write_journal
from innkeeper.bridge.journal.keeper import ending_of
from innkeeper.bridge.journal.model import OUTPUT, Ending, Journal
from innkeeper.bridge.journal.recorder import Recorder
from innkeeper.bridge.journal.replay import Verdict, replay
from innkeeper.bridge.journal.room import Room
from innkeeper.errors import InnkeeperError
from innkeeper.sandbox.interface import CallOptions, HostFunction
from innkeeper.sandbox.limits import MIB, Limits
from innkeeper.sandbox.usage import Usage
from innkeeper.sandbox.wasi import NONE, WasiRights

EMIT = """
  (memory (export "memory") 2)
  (data (i32.const 0) "keys and other bytes of the guest's own, some 64 in all........\\n")
  (global $out (mut i64) (i64.const 0)) (global $end (mut i64) (i64.const 0))
  ;; Adds bytes of its memory to its output.
  (func $emit (param $at i32) (param $length i32)
    (loop $next (if (local.get $length) (then
      (call $store_u8 (global.get $end) (i32.load8_u (local.get $at)))
      (global.set $end (i64.add (global.get $end) (i64.const 1)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (local.set $length (i32.sub (local.get $length) (i32.const 1)))
      (br $next)))))
  (func $word (param $value i64)
    (i64.store (i32.const 1024) (local.get $value)) (call $emit (i32.const 1024) (i32.const 8)))
  ;; Adds the bytes of a block to its output.
  (func $block (param $at i64) (local $left i64)
    (local.set $left (call $length (local.get $at)))
    (loop $next (if (i64.ne (local.get $left) (i64.const 0)) (then
      (call $store_u8 (global.get $end) (call $load_u8 (local.get $at)))
      (global.set $end (i64.add (global.get $end) (i64.const 1)))
      (local.set $at (i64.add (local.get $at) (i64.const 1)))
      (local.set $left (i64.sub (local.get $left) (i64.const 1)))
      (br $next)))))
  ;; A block with so many bytes of its memory.
  (func $own (param $at i32) (param $length i64) (result i64) (local $block i64) (local $i i64)
    (local.set $block (call $alloc (local.get $length)))
    (loop $next (if (i64.lt_u (local.get $i) (local.get $length)) (then
      (call $store_u8 (i64.add (local.get $block) (local.get $i))
        (i32.load8_u (i32.add (local.get $at) (i32.wrap_i64 (local.get $i)))))
      (local.set $i (i64.add (local.get $i) (i64.const 1))) (br $next))))
    (local.get $block))
"""
"""What `guest` has for its body: `$emit`, `$word`, `$block` and `$own`."""

ENV = "alloc length store_u8 load_u8 output_set"
MOST_OUTPUT = 60_000


def guest(body: str, wasi: str = "", functions: Sequence[HostFunction] = (), more: str = "") -> bytes:
    """A module whose `run` does `body`, and whose output is what that emits."""
    run = f"""(func (export "run") (local $x i64)
      (global.set $out (call $alloc (i64.const {MOST_OUTPUT}))) (global.set $end (global.get $out))
      {body}
      (call $output_set (global.get $out) (i64.sub (global.get $end) (global.get $out))))"""
    return assemble(wat(EMIT + more + run, ENV, wasi, functions))


async def record(
    sandbox: Sandbox,
    wasm: bytes,
    functions: Sequence[HostFunction] = (),
    *,
    rights: WasiRights = NONE,
    data: bytes = b"",
    config: Mapping[str, str] | None = None,
    most: int = 16 * MIB,
    **limits: Any,
) -> Journal:
    """The journal of one call of `run`, as it is after having been bytes."""
    program = await sandbox.engine.load(wasm, functions=functions, plugin="taped")
    room = Room(64 * MIB)
    recorder = Recorder(room.of("taped"), most)
    options = CallOptions(
        Limits(**limits), config or {}, "taped", rights=None if rights == NONE else rights, tape=recorder
    )
    usage = Usage()
    try:
        result = await program.call("run", data, options)
        ending, usage = Ending(OUTPUT, output=result.output), result.usage
    except BaseException as error:
        if isinstance(error, InnkeeperError) and isinstance(error.usage, Usage):
            usage = error.usage
        ending = ending_of(error)
    recorder.release()
    assert room.taken == 0
    journal = Journal(
        at=1.5,
        host="tests",
        plugin="taped",
        version="1.0",
        digest=program.digest,
        function="run",
        run="",
        node="",
        config=config or {},
        limits=asdict(options.limits),
        rights=(),
        real=bool(recorder.real),
        why_not=recorder.lost or "",
        input=data,
        functions=tuple(function for _, function in recorder.functions.values()),
        calls=(),
        log=tuple(usage.log),
        log_dropped=usage.log_dropped,
        usage={"cpu": usage.cpu},
        ending=ending,
    )
    written = read_journal(write_journal(journal, recorder.calls))
    assert replace(written, calls=()) == journal
    assert read_journal(write_journal(written)) == written
    return written


async def again(sandbox: Sandbox, journal: Journal, wasm: bytes) -> Verdict:
    """Runs it again."""
    return await replay(journal, wasm, sandbox.engine)
