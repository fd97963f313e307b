"""Places that are used again: nothing of a guest reaches the next one, and every place is given back.

The pool belongs to the process: places are counted for all of its engines together, and whoever finds none, or needs
more than a place has, is made on demand.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
import trio.lowlevel

from guests import (
    GIVES,
    NOTHING,
    PAGE,
    SPIN,
    Sandbox,
    host_function,
    nothing_is_held,
    number,
    opened,
    options,
    run,
    wat,
)
from innkeeper.errors import GuestError, LimitError, RejectedError
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.engine import FiberEngine
from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.joined import Joined
from innkeeper.sandbox.limits import DEFAULTS, MIB, Limits
from innkeeper.sandbox.pool import PLACES, SLOT, TABLE_ELEMENTS
from innkeeper.sandbox.program import FiberProgram
from innkeeper.sandbox.spots import Spot

_CROWD = Bounds(live_guests=PLACES + 64, workers=2)


def spot(engine: FiberEngine, program: FiberProgram, limits: Limits = DEFAULTS) -> Spot:
    """Where the program's next guest would live."""
    return engine.spot(program.layout, limits)


async def pooled(sandbox: Sandbox) -> Spot:
    """The pool."""
    found = spot(sandbox.engine, await sandbox.load(NOTHING))
    assert found.places == PLACES
    return found


# --- nothing stays ----------------------------------------------------------------------------------------------------

# All that a guest has: 64 MiB of memory and 64 MiB of its kernel's, two tables, globals of every type, its stack.
_STATE = """
  (memory 0) (table $t 5 funcref) (table $u 5 externref)
  (global $a (mut i32) (i32.const 0)) (global $b (mut i64) (i64.const 0)) (global $c (mut f64) (f64.const 0))
  (global $d (mut v128) (v128.const i64x2 0 0)) (global $e (mut funcref) (ref.null func))
"""
_LEAVES_ALL = wat(
    _STATE
    + """(func $f) (elem declare func $f)
    (func $down (param i64 i64 i64) (call $down (local.get 1) (local.get 2) (local.get 0)) unreachable)
    (func $leave
      (drop (memory.grow (i32.const 1024))) (memory.fill (i32.const 0) (i32.const 0xAA) (i32.const 0x4000000))
      (drop (table.grow $t (ref.func $f) (i32.const 9995)))
      (table.fill $t (i32.const 0) (ref.func $f) (i32.const 10000))
      (drop (table.grow $u (ref.null extern) (i32.const 9995)))
      (global.set $a (i32.const -1)) (global.set $b (i64.const -1)) (global.set $c (f64.const -1))
      (global.set $d (v128.const i64x2 -1 -1)) (global.set $e (ref.func $f)))
    (func $leave_kernel (local $at i64) (local $end i64)
      (local.set $at (call $alloc (i64.const 0x3fe0000)))
      (local.set $end (i64.add (local.get $at) (i64.const 0x3fe0000)))
      (loop (call $store_u64 (local.get $at) (i64.const -1))
        (br_if 0 (i64.lt_u (local.tee $at (i64.add (local.get $at) (i64.const 8))) (local.get $end)))))
    (func (export "run") (call $leave) (call $leave_kernel))
    (func (export "trap") (call $leave) (call $leave_kernel) unreachable)
    (func (export "overflow") (call $leave) (call $leave_kernel)
      (call $down (i64.const -1) (i64.const -1) (i64.const -1)))
    (func (export "spin") (call $leave) (call $leave_kernel) (loop (br 0)))""",
    "alloc store_u64",
)
# How many of them are not as the first guest of all finds them; $locals would be what is left of a stack.
_COUNTS_ALL = wat(
    _STATE
    + """(func $memory (param $from i32) (param $to i32) (result i64) (local $n i64)
      (if (i32.ge_u (local.get $from) (local.get $to)) (then (return (i64.const 0))))
      (loop
        (local.set $n (i64.add (local.get $n) (i64.extend_i32_u (v128.any_true (v128.load (local.get $from))))))
        (br_if 0 (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 16))) (local.get $to))))
      (local.get $n))
    (func $tables (result i64) (local $i i32) (local $n i64)
      (loop
        (local.set $n (i64.add (local.get $n) (i64.extend_i32_u (i32.eqz (ref.is_null (table.get $t (local.get $i)))))))
        (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10000))))
      (local.get $n))
    (func $kernel (result i64) (local $at i64) (local $end i64) (local $n i64)
      (local.set $at (call $alloc (i64.const 0x3fe0000)))
      (local.set $end (i64.add (local.get $at) (i64.const 0x3fe0000)))
      (loop
        (local.set $n (i64.or (local.get $n) (call $load_u64 (local.get $at))))
        (br_if 0 (i64.lt_u (local.tee $at (i64.add (local.get $at) (i64.const 8))) (local.get $end))))
      (i64.extend_i32_u (i64.ne (local.get $n) (i64.const 0))))
    (func $locals (param $deep i32) (result i64) (local i64 i64 i64 i64 i64 i64 i64 i64)
      (if (result i64) (local.get $deep)
        (then (i64.or (i64.or (i64.or (local.get 1) (local.get 2)) (i64.or (local.get 7) (local.get 8)))
          (call $locals (i32.sub (local.get $deep) (i32.const 1)))))
        (else (i64.const 0))))
    (func $state (result i64)
      (i64.extend_i32_u (i32.or
        (i32.or (i32.or (i32.ne (memory.size) (i32.const 0)) (i32.ne (table.size $t) (i32.const 5)))
          (i32.or (i32.ne (table.size $u) (i32.const 5)) (i32.ne (global.get $a) (i32.const 0))))
        (i32.or (i32.or (i64.ne (global.get $b) (i64.const 0)) (f64.ne (global.get $c) (f64.const 0)))
          (i32.or (v128.any_true (global.get $d)) (i32.eqz (ref.is_null (global.get $e))))))))
    (func $grown (result i64)
      (drop (memory.grow (i32.const 1024))) (drop (table.grow $t (ref.null func) (i32.const 9995)))
      (i64.add (call $memory (i32.const 0) (i32.const 0x4000000)) (call $tables)))
    (func (export "run") (local $block i64) (local $found i64)
      (local.set $found (i64.add (i64.add (call $state) (call $locals (i32.const 2000)))
        (i64.add (call $grown) (call $kernel))))
      (local.set $block (call $alloc (i64.const 8)))
      (call $store_u64 (local.get $block) (local.get $found))
      (call $output_set (local.get $block) (i64.const 8)))""",
    "alloc store_u64 load_u64 output_set",
)
_ALL = Limits(memory=SLOT, kernel_memory=SLOT, cpu=20, wall=60)


@pytest.mark.parametrize("ending", ["run", "trap", "overflow", "spin"])
async def test_a_guest_finds_nothing_of_the_one_before_it(sandbox: Sandbox, ending: str) -> None:
    leaves, counts = await sandbox.load(_LEAVES_ALL), await sandbox.load(_COUNTS_ALL)
    assert spot(sandbox.engine, leaves, _ALL).places == PLACES
    assert spot(sandbox.engine, counts, _ALL).places == PLACES
    for _ in range(2):
        limits = Limits(memory=SLOT, kernel_memory=SLOT, cpu=0.5, wall=60) if ending == "spin" else _ALL
        try:
            await leaves.call(ending, b"secret" * 1000, CallOptions(limits))
        except (LimitError, GuestError):
            assert ending != "run"
        else:
            assert ending == "run"
        assert number(await counts.call("run", b"", CallOptions(_ALL))) == 0


async def test_a_guest_starts_as_its_module_says_whatever_another_made_of_the_same_places(sandbox: Sandbox) -> None:
    text = wat(
        """(memory 2 4) (table $t 3 funcref) (func $f) (elem (i32.const 1) $f) (data (i32.const 70000) "as built")
        (global $g (mut i64) (i64.const 5))"""
        + """(func (export "run") (local $block i64) (local $sum i64)
          (local.set $sum (i64.add (i64.load (i32.const 70000)) (global.get $g)))
          (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u
            (i32.add (memory.size) (i32.add (table.size $t) (ref.is_null (table.get $t (i32.const 1))))))))
          (memory.fill (i32.const 0) (i32.const 255) (i32.const 131072)) (drop (memory.grow (i32.const 2)))
          (table.set $t (i32.const 1) (ref.null func)) (drop (table.grow $t (ref.func $f) (i32.const 9)))
          (global.set $g (i64.const -1))
          (local.set $block (call $alloc (i64.const 8)))
          (call $store_u64 (local.get $block) (local.get $sum)) (call $output_set (local.get $block) (i64.const 8)))""",
        GIVES,
    )
    program = await sandbox.load(text)
    expected = int.from_bytes(b"as built", "little") + 5 + 2 + 3
    assert {number(await sandbox.call(program)) for _ in range(20)} == {expected}


# --- what a place has -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "fits"),
    [
        ({"memory": SLOT}, True),
        ({"memory": SLOT - 1}, True),
        ({"memory": SLOT + 1}, False),
        ({"memory": SLOT + PAGE}, False),
        ({"kernel_memory": SLOT}, True),
        ({"kernel_memory": SLOT + 1}, False),
        ({"table_elements": TABLE_ELEMENTS}, True),
        ({"table_elements": TABLE_ELEMENTS + 1}, False),
    ],
)
async def test_limits_up_to_a_places_size_are_exact_on_both_sides_of_it(
    sandbox: Sandbox, limits: dict[str, int], fits: bool
) -> None:
    program = await sandbox.load(
        wat(
            """(memory 0) (table $t 0 funcref) (func $pages (result i64) (local $n i64)
              (loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
              (loop (if (i32.ne (table.grow $t (ref.null func) (i32.const 1)) (i32.const -1)) (then
                (br 1))))
              (i64.add (i64.mul (i64.extend_i32_u (memory.size)) (i64.const 1000000))
                (i64.extend_i32_u (table.size $t))))
            (func (export "run") (local $block i64) (local.set $block (call $alloc (i64.const 8)))
              (call $store_u64 (local.get $block) (call $pages))
              (call $output_set (local.get $block) (i64.const 8)))""",
            GIVES,
        )
    )
    wanted = Limits(**limits)
    assert (spot(sandbox.engine, program, wanted).places is not None) is fits
    assert number(await sandbox.call(program, **limits)) == wanted.memory // PAGE * 1_000_000 + wanted.table_elements


@pytest.mark.parametrize(
    ("module", "fits"),
    [
        ("(memory 1024)", True),
        ("(memory 1025)", False),
        ("(table 10000 funcref)", True),
        ("(table 10001 funcref)", False),
        ("(table 1 funcref) (table 1 externref)", True),
        ("(table 1 funcref)" * 3, False),
        ("(global (mut i64) (i64.const 1))" * 1_000, True),
        ("(global (mut i64) (i64.const 1))" * 100_000, False),
    ],
)
async def test_a_module_that_no_place_can_hold_runs_all_the_same(sandbox: Sandbox, module: str, fits: bool) -> None:
    program = await sandbox.load(f'(module {module} (func (export "run")))')
    limits = Limits(memory=SLOT + MIB, table_elements=2 * TABLE_ELEMENTS)
    assert (spot(sandbox.engine, program).places is not None) is fits
    await program.call("run", b"", CallOptions(limits))


def joined(program: FiberProgram) -> Joined:
    assert isinstance(program.layout, Joined)
    return program.layout


async def test_what_takes_long_to_become_an_instance_is_the_guests_own_processor_time(sandbox: Sandbox) -> None:
    quick = await sandbox.load('(module (memory 1) (data (i32.const 0) "x") (func (export "run")))')
    assert joined(quick).quick
    slow = await sandbox.load(
        "(module (func $f) " + "(global funcref (ref.func $f))" * 100_000 + ' (func (export "run")))'
    )
    assert not joined(slow).quick
    result = await sandbox.call(slow)
    assert result.usage.cpu > 0.0002
    spread = "".join(f'(data (i32.const {at * 65536}) "x")' for at in range(1_000))
    pages = await sandbox.load(f'(module (memory 1000) {spread} (func (export "run")))')
    assert not joined(pages).quick


async def test_what_a_guest_imports_is_counted_among_what_guests_take(sandbox: Sandbox) -> None:
    one = '(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))'
    small = await sandbox.load(f'(module {one} (func (export "run")))')
    large = await sandbox.load(f'(module {one * 50_000} (func (export "run")))')
    assert large.layout.memory_to_start(DEFAULTS) - small.layout.memory_to_start(DEFAULTS) > 3_000_000
    held = await large.open(options())
    assert sandbox.engine.memory.taken > 3_000_000
    await held.aclose()


# --- how many there are -----------------------------------------------------------------------------------------------

_REFERENCES = """(module (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (memory 1) (table 10 externref) (table 10 funcref)
  (func (export "run") (local externref) (drop (call $alloc (i64.const 10)))))"""


@pytest.mark.parametrize("module", [NOTHING, _REFERENCES], ids=["least", "most"])
async def test_who_finds_no_place_is_made_on_demand_whatever_the_others_have(module: str) -> None:
    async with opened(_CROWD) as sandbox:
        program = await sandbox.load(module)
        pool = spot(sandbox.engine, program)
        sessions = [await program.open(options()) for _ in range(PLACES)]
        assert pool.taken == PLACES
        assert spot(sandbox.engine, program) is not pool
        sessions += [await program.open(options()) for _ in range(5)]
        await sandbox.call(program)
        assert pool.taken == PLACES
        for session in sessions:
            await session.call("run", b"", options())
        for session in sessions:
            await session.aclose()
        assert pool.taken == 0
        assert spot(sandbox.engine, program) is pool


async def test_two_engines_of_one_process_count_its_places_together() -> None:
    async with opened(_CROWD) as one, opened(_CROWD) as other:
        first, second = await one.load(NOTHING), await other.load(NOTHING)
        held = [await first.open(options()) for _ in range(PLACES - 1)]
        held.append(await second.open(options()))
        pool = await pooled_or_none(one)
        assert pool is None
        held += [await program.open(options()) for program in (first, second) for _ in range(5)]
        await one.call(first)
        await other.call(second)
        for session in held:
            await session.aclose()
        assert (await pooled(one)).taken == 0
        assert await pooled(one) is await pooled(other)


async def pooled_or_none(sandbox: Sandbox) -> Spot | None:
    """The pool, if it has a place."""
    found = spot(sandbox.engine, await sandbox.load(NOTHING))
    return found if found.places else None


async def test_a_session_that_outlives_its_engine_keeps_its_place_until_it_is_closed() -> None:
    async with opened() as other:
        pool = await pooled(other)
        before = pool.taken
        async with opened() as sandbox:
            program = await sandbox.load(NOTHING)
            session = await program.open(options())
            assert pool.taken == before + 1
            await session.aclose()
        assert pool.taken == before


async def _raises() -> None:
    await trio.lowlevel.checkpoint()
    raise ZeroDivisionError


async def _at_once() -> None:
    raise ZeroDivisionError


async def _long() -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("handler", [_raises, _at_once, _long], ids=lambda handler: handler.__name__)
async def test_a_place_is_given_back_however_a_host_function_ends(
    sandbox: Sandbox, handler: Callable[[], object]
) -> None:
    function = host_function(handler)
    program = await sandbox.load(wat(run(f"(call ${handler.__name__})"), functions=[function]), [function])
    pool = await pooled(sandbox)
    for _ in range(5):
        with pytest.raises((ZeroDivisionError, LimitError)):
            await sandbox.call(program, host_call=0.02)
        with trio.move_on_after(0.005):
            with pytest.raises((ZeroDivisionError, trio.Cancelled)):
                await sandbox.call(program)
            await trio.lowlevel.checkpoint()
    await nothing_is_held(sandbox.engine)
    assert pool.taken == 0


@pytest.mark.parametrize(
    ("module", "limits"),
    [
        (NOTHING, {}),
        ('(module (func (export "run") unreachable))', {}),
        (SPIN, {"cpu": 0.01}),
        (SPIN, {"wall": 0.01}),
        ('(module (func unreachable) (start 0) (func (export "run")))', {}),
        ('(module (table 1 funcref) (func) (elem (i32.const 1) 0) (func (export "run")))', {}),
        ('(module (memory 1) (data (i32.const 65536) "x") (func (export "run")))', {}),
        (f"(module (memory 1024) {run('(memory.fill (i32.const 0) (i32.const 1) (i32.const 0x4000000))')})", {}),
        ('(module (memory 2) (func (export "run")))', {"memory": PAGE}),
        ('(module (func (export "run")) ' + "(table 1 funcref)" * 9 + ")", {}),
    ],
)
async def test_a_place_is_given_back_however_a_guest_ends(
    sandbox: Sandbox, module: str, limits: dict[str, float]
) -> None:
    pool = await pooled(sandbox)
    program = await sandbox.load(module)
    for _ in range(3):
        with suppress(GuestError, LimitError, RejectedError):
            await sandbox.call(program, **limits)
        await nothing_is_held(sandbox.engine)
        assert pool.taken == 0


async def test_a_session_that_is_forgotten_gives_its_place_back(sandbox: Sandbox) -> None:
    pool = await pooled(sandbox)
    program = await sandbox.load(NOTHING)
    for _ in range(20):
        await program.open(options())
    gc.collect()
    assert pool.taken == 0
    await nothing_is_held(sandbox.engine)
