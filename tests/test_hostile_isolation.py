"""A guest without capabilities computes the same each time, and no guest sees anything of another."""

from __future__ import annotations

import hashlib

import pytest
import trio

from guests import GIVES, Sandbox, assemble, gives, host_function, number, options, run, wat
from innkeeper.errors import GuestError
from innkeeper.sandbox.interface import Value


async def test_two_fresh_guests_share_no_global_memory_table_or_variable(sandbox: Sandbox) -> None:
    text = wat(
        """(memory 1) (global $g (mut i64) (i64.const 0)) (table $t 1 externref) (table $f 1 funcref)
        (func $touch) (elem declare func $touch)
        (func $key (result i64) (local $a i64) (local.set $a (call $alloc (i64.const 8)))
          (call $store_u64 (local.get $a) (i64.const 7)) (local.get $a))
        (func $seen (result i64)
          (i64.or (i64.or (global.get $g) (i64.load (i32.const 8)))
            (i64.or (call $var_get (call $key))
              (i64.extend_i32_u (i32.or (i32.eqz (ref.is_null (table.get $f (i32.const 0))))
                (i32.ne (memory.size) (i32.const 1)))))))
        """
        + gives(
            """(block (result i64) (call $seen)
              (global.set $g (i64.const 1)) (i64.store (i32.const 8) (i64.const 2))
              (table.set $f (i32.const 0) (ref.func $touch))
              (drop (memory.grow (i32.const 1))) (call $var_set (call $key) (call $key)))"""
        ),
        GIVES + " var_get var_set",
    )
    program = await sandbox.load(text)
    for _ in range(5):
        assert number(await sandbox.call(program)) == 0
    async with trio.open_nursery() as nursery:

        async def call() -> None:
            assert number(await sandbox.call(program)) == 0

        for _ in range(50):
            nursery.start_soon(call)


async def test_a_fresh_kernel_has_nothing_of_the_last_input_or_output(sandbox: Sandbox) -> None:
    # Sums up every byte of the kernel's memory beyond its state and its input.
    text = wat(
        """(global $sum (mut i64) (i64.const 0))
        (func $look (local $at i64) (local.set $at (i64.const 1024))
          (loop (global.set $sum (i64.add (global.get $sum) (call $load_u64 (local.get $at))))
            (br_if 0 (i64.lt_u (local.tee $at (i64.add (local.get $at) (i64.const 8))) (i64.const 65528)))))
        (func $spill (local $at i64) (local.set $at (i64.const 1024))
          (loop (call $store_u64 (local.get $at) (i64.const 0x5ec7e7))
            (br_if 0 (i64.lt_u (local.tee $at (i64.add (local.get $at) (i64.const 8))) (i64.const 65528)))))
        """
        + gives("(block (result i64) (call $look) (call $spill) (global.get $sum))"),
        GIVES + " load_u64",
    )
    program = await sandbox.load(text)
    for data in (b"", b"secret" * 10_000, b""):
        result = await sandbox.call(program, data=data)
        if not data:
            assert number(result) == 0


CLOCK = wat(
    "(memory 1)"
    + gives(
        """(block (result i64)
          (drop (call $clock_time_get (i32.const CLOCK) (i64.const 1) (i32.const 0)))
          WORK
          (drop (call $clock_time_get (i32.const CLOCK) (i64.const 1) (i32.const 8)))
          (i64.sub (i64.load (i32.const 8)) (i64.load (i32.const 0))))"""
    ),
    GIVES,
    "clock_time_get poll_oneoff",
)
WORK = """(loop $l (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
  (br_if $l (i32.lt_u (i32.load (i32.const 64)) (i32.const 3000000))))"""
SLEEP = """(i32.store (i32.const 116) (i32.const 1)) (i64.store (i32.const 124) (i64.const 2000001))
  (drop (call $poll_oneoff (i32.const 100) (i32.const 200) (i32.const 1) (i32.const 300)))"""


@pytest.mark.parametrize("clock", range(4))
async def test_the_clock_stands_still_but_for_what_the_guest_sleeps(sandbox: Sandbox, clock: int) -> None:
    text = CLOCK.replace("CLOCK", str(clock))
    assert number(await sandbox.call(text.replace("WORK", WORK))) == 0
    assert number(await sandbox.call(text.replace("WORK", SLEEP))) == 2_000_001


RANDOM = wat(
    '(memory 1) (global $salt (export "salt") i32 (i32.const SALT))'
    + run(
        """(local $out i64) (local $i i64)
        (local.set $out (call $alloc (i64.const 64)))
        (drop (call $random_get (i32.const 0) (i32.const 10)))
        (drop (call $random_get (i32.const 10) (i32.const 54)))
        (loop (call $store_u64 (i64.add (local.get $out) (local.get $i)) (i64.load (i32.wrap_i64 (local.get $i))))
          (br_if 0 (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 8))) (i64.const 64))))
        (call $output_set (local.get $out) (i64.const 64))"""
    ),
    "alloc store_u64 output_set",
    "random_get",
)


async def test_random_numbers_are_the_same_for_each_guest_of_a_module_and_others_for_another(sandbox: Sandbox) -> None:
    first = await sandbox.load(RANDOM.replace("SALT", "1"))
    second = await sandbox.load(RANDOM.replace("SALT", "2"))
    outputs = {(await sandbox.call(program)).output for program in (first, second) for _ in range(4)}
    assert len(outputs) == 2
    assert all(len(output) == 64 for output in outputs)
    assert options().rights is None


NANS = {
    "f32 0/0": "(i64.extend_i32_u (i32.reinterpret_f32 (f32.div (f32.const 0) (f32.const 0))))",
    "f32 -0/0": "(i64.extend_i32_u (i32.reinterpret_f32 (f32.div (f32.const -0.0) (f32.const 0))))",
    "f32 inf-inf": "(i64.extend_i32_u (i32.reinterpret_f32 (f32.sub (f32.const inf) (f32.const inf))))",
    "f32 sqrt": "(i64.extend_i32_u (i32.reinterpret_f32 (f32.sqrt (f32.const -1))))",
    "f32 payload": "(i64.extend_i32_u (i32.reinterpret_f32 (f32.add (f32.const -nan:0x234567) (f32.const 1))))",
    "f32 min": "(i64.extend_i32_u (i32.reinterpret_f32 (f32.min (f32.const nan:0x400001) (f32.const 1))))",
    "demoted": "(i64.extend_i32_u (i32.reinterpret_f32 (f32.demote_f64 (f64.const -nan:0xfffffffffffff))))",
    "f64 0/0": "(i64.reinterpret_f64 (f64.div (f64.const 0) (f64.const 0)))",
    "f64 sqrt": "(i64.reinterpret_f64 (f64.sqrt (f64.const -1)))",
    "f64 payload": "(i64.reinterpret_f64 (f64.mul (f64.const nan:0x8000000000001) (f64.const -1)))",
    "promoted": "(i64.reinterpret_f64 (f64.promote_f32 (f32.const -nan:0x400001)))",
    "f64 max": "(i64.reinterpret_f64 (f64.max (f64.const -nan:0x8000000000001) (f64.const 1)))",
    "f32x4": "(i64.extend_i32_u (i32x4.extract_lane 0 (f32x4.sqrt (v128.const f32x4 -1 -1 -1 -1))))",
    "f64x2": "(i64x2.extract_lane 1 (f64x2.sqrt (v128.const f64x2 -1 -1)))",
}


@pytest.mark.parametrize("how", NANS)
async def test_nans_are_canonical(sandbox: Sandbox, how: str) -> None:
    expected = 0x7FF8 << 48 if how.startswith(("f64", "promoted")) else 0x7FC0 << 16
    assert number(await sandbox.call(wat(gives(NANS[how]), GIVES))) == expected


async def test_a_guest_does_not_see_what_it_has_used_or_how_busy_the_host_is(sandbox: Sandbox) -> None:
    # All that a guest can ask for, folded into one number: the same alone and in a crowd.
    async def wait() -> int:
        await trio.sleep(0.001)
        return 1

    function = host_function(wait, (), Value.I64)
    text = wat(
        "(memory 1)"
        + gives(
            """(block (result i64)
              (drop (call $random_get (i32.const 0) (i32.const 64)))
              (drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 64)))
              (drop (call $clock_time_get (i32.const 3) (i64.const 1) (i32.const 72)))
              (drop (call $environ_sizes_get (i32.const 80) (i32.const 84)))
              (drop (call $args_sizes_get (i32.const 88) (i32.const 92)))
              (drop (call $fd_prestat_get (i32.const 3) (i32.const 96)))
              (drop (call $fd_fdstat_get (i32.const 1) (i32.const 104)))
              (i64.add (call $wait) (i64.add (i64.load (i32.const 8)) (i64.add (i64.load (i32.const 64))
                (i64.add (i64.load (i32.const 72)) (i64.add (i64.load (i32.const 80))
                (i64.load (i32.const 104))))))))"""
        ),
        GIVES,
        "random_get clock_time_get environ_sizes_get args_sizes_get fd_prestat_get fd_fdstat_get",
        [function],
    )
    program = await sandbox.load(text, [function])
    assert program.digest == hashlib.sha256(assemble(text)).hexdigest()
    alone = number(await sandbox.call(program))
    seen: set[int] = set()

    async def call() -> None:
        seen.add(number(await program.call("run", b"", options())))

    async with trio.open_nursery() as nursery:
        for _ in range(60):
            nursery.start_soon(call)
    assert seen == {alone}


async def test_each_of_several_linked_modules_runs_its_own_start_function_once(sandbox: Sandbox) -> None:
    counted = '(module (global $n (export "n") (mut i32) (i32.const 0)) (func $s {adds}) (start $s))'
    adds = "(global.set $n (i32.add (global.get $n) (i32.const 1)))"
    own = """(module (import "one" "n" (global $one (mut i32))) (import "other" "n" (global $other (mut i32)))
      (global $own (mut i32) (i32.const 0))
      (func $s (global.set $own (i32.add (global.get $own) (i32.const 1)))) (start $s)
      (func (export "run") (result i32)
        (i32.add (i32.mul (i32.const 100) (global.get $one))
          (i32.add (i32.mul (i32.const 10) (global.get $other)) (global.get $own)))))"""
    modules = {name: counted.format(adds=adds) for name in ("one", "other")}
    program = await sandbox.load(own, modules=modules)
    assert (await sandbox.fails(GuestError, program)).code == 111
    session = await program.open(options())
    for _ in range(2):
        with pytest.raises(GuestError, match="code 111"):
            await session.call("run", b"", options())
    await session.aclose()
