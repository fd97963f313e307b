"""A guest that does not end is ended, wherever it loops, recurses or sleeps."""

from __future__ import annotations

import pytest
import trio

from guests import GIVES, NOTHING, SPIN, Sandbox, gives, host_function, number, options, run, wat
from innkeeper.errors import LimitError
from innkeeper.sandbox.interface import Value

LOOPS = {
    "a function": SPIN,
    "a start section": '(module (func $f (loop (br 0))) (start $f) (func (export "run")))',
    "_initialize": '(module (func (export "_initialize") (loop (br 0))) (func (export "run")))',
    "__wasm_call_ctors": '(module (func (export "__wasm_call_ctors") (loop (br 0))) (func (export "run")))',
    "hs_init": '(module (func (export "hs_init") (param i32 i32) (loop (br 0))) (func (export "run")))',
    "tail calls": '(module (func $f (export "run") (return_call $f)))',
    "mutual tail calls": '(module (func $f (export "run") (return_call $g)) (func $g (return_call $f)))',
    "indirect tail calls": "(module (table 1 funcref) (elem (i32.const 0) $f) (type $t (func))"
    ' (func $f (export "run") (return_call_indirect (type $t) (i32.const 0))))',
    "bulk instructions": '(module (memory 700) (func (export "run")'
    " (loop (memory.fill (i32.const 0) (i32.const 7) (i32.const 45000000)) (br 0))))",
    "refused growths": '(module (memory 1) (func (export "run") (loop (drop (memory.grow (i32.const 30000))) (br 0))))',
    "kernel calls": wat(run("(loop (call $free (call $alloc (i64.const 100))) (br 0))"), "alloc free"),
    "yielding": wat(run("(loop (drop (call $sched_yield)) (br 0))"), wasi="sched_yield"),
}


@pytest.mark.parametrize("where", LOOPS)
async def test_an_endless_loop_ends_at_the_cpu_limit(sandbox: Sandbox, where: str) -> None:
    error = await sandbox.fails(LimitError, LOOPS[where], cpu=0.1)
    assert error.limit == "cpu"
    assert error.value == 0.1
    assert 0.1 < (error.used or 0) < 5
    assert error.usage.cpu == error.used


@pytest.mark.parametrize("where", ["a function", "a start section", "_initialize"])
async def test_an_endless_loop_ends_at_the_wall_limit(sandbox: Sandbox, where: str) -> None:
    error = await sandbox.fails(LimitError, LOOPS[where], cpu=60, wall=0.15)
    assert (error.limit, error.value) == ("wall", 0.15)
    assert error.usage.wall >= 0.15


@pytest.mark.parametrize("where", ["a function", "a start section", "_initialize", "bulk instructions"])
async def test_an_endless_loop_can_be_cancelled(sandbox: Sandbox, where: str) -> None:
    program = await sandbox.load(LOOPS[where])
    for _ in range(3):
        with trio.move_on_after(0.02) as scope:
            await sandbox.call(program, cpu=60)
        assert scope.cancelled_caught


async def test_a_loop_that_was_quick_before_is_ended_too(sandbox: Sandbox) -> None:
    # Its first slices earn it trio's thread; there it begins to spin.
    program = await sandbox.load(
        wat(
            run("(if (i64.ne (call $input_length) (i64.const 0)) (then (loop (br 0))))"),
            "input_length",
        )
    )
    for _ in range(50):
        await sandbox.call(program)
    assert (await sandbox.fails(LimitError, program, data=b"x", cpu=0.05)).limit == "cpu"
    with trio.move_on_after(0.05) as scope:
        await sandbox.call(program, data=b"x", cpu=60)
    assert scope.cancelled_caught


async def test_more_loops_than_workers_all_end_and_timers_go_on(sandbox: Sandbox) -> None:
    program = await sandbox.load(SPIN)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await trio.sleep(0.002)
            ticks += 1

    async with trio.open_nursery() as outer:
        outer.start_soon(tick)
        async with trio.open_nursery() as inner:
            for _ in range(12):
                inner.start_soon(lambda: sandbox.fails(LimitError, program, cpu=0.05))
        outer.cancel_scope.cancel()
    assert ticks > 10


DEEP = {
    "a function": '(module (func $f (export "run") (call $f) (call $f)))',
    "a start section": '(module (func $f (call $f) (call $f)) (start $f) (func (export "run")))',
    "_initialize": '(module (func $f (export "_initialize") (call $f) (call $f)) (func (export "run")))',
    "large frames": '(module (func $f (export "run")'
    + "(local v128)" * 1000
    + " (call $f) (call $f)"
    + "".join(f"(drop (local.get {at}))" for at in range(1000))
    + "))",
    "an indirect call": "(module (table 1 funcref) (elem (i32.const 0) $f) (type $t (func))"
    ' (func $f (export "run") (call_indirect (type $t) (i32.const 0)) (call $f)))',
    "calls through the kernel's functions": wat(
        '(func $f (export "run") (drop (call $alloc (i64.const 1))) (call $f) (call $f))', "alloc"
    ),
}


@pytest.mark.parametrize("where", DEEP)
async def test_recursion_without_end_is_a_limit_of_the_stack(sandbox: Sandbox, where: str) -> None:
    error = await sandbox.fails(LimitError, DEEP[where])
    assert (error.limit, error.value) == ("stack", 512 * 1024)


async def test_host_calls_at_the_deepest_point_of_the_stack_have_room_for_python(sandbox: Sandbox) -> None:
    async def echo(data: bytes) -> bytes:
        return data

    function = host_function(echo, [Value.BYTES], Value.BYTES)
    text = wat(
        """(memory 1)
        (func $down (param $left i64) (result i64)
          (if (i64.eqz (local.get $left)) (then
            (call $log_info (call $alloc (i64.const 9)))
            (drop (call $sched_yield))
            (drop (call $config_get (call $alloc (i64.const 9))))
            (return (call $length (call $echo (call $alloc (i64.const 5)))))))
          (i64.add (call $down (i64.sub (local.get $left) (i64.const 1))) (i64.const 0)))
        """
        + gives("(call $down (i64.mul (i64.extend_i32_u (call $input_load_u8 (i64.const 0))) (i64.const 100)))"),
        GIVES + " log_info config_get length input_load_u8",
        "sched_yield",
        [function],
    )
    program = await sandbox.load(text, [function])
    reached, refused = 0, set()
    for hundreds in range(1, 256, 6):
        try:
            assert number(await sandbox.call(program, data=bytes([hundreds]))) == 5
            reached += 1
        except LimitError as error:
            refused.add(error.limit)
    assert reached > 5
    assert refused == {"stack"}


SLEEP = wat(
    """(memory 1)
    (func (export "run")
      ;; one subscription of the monotonic clock: kind 0 at 8, clock 1 at 16, nanoseconds at 24
      (i32.store (i32.const 16) (i32.const 1))
      (i64.store (i32.const 24) (i64.const 3600000000000))
      (loop (drop (call $poll_oneoff (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200))) (br 0)))""",
    wasi="poll_oneoff",
)


async def test_sleeping_ends_at_the_wall_limit(sandbox: Sandbox) -> None:
    error = await sandbox.fails(LimitError, SLEEP, wall=0.1, host_call=0.01)
    assert error.limit == "wall"
    assert error.usage.cpu < 1


async def test_sleeping_can_be_cancelled(sandbox: Sandbox) -> None:
    with trio.move_on_after(0.05) as scope:
        await sandbox.call(SLEEP)
    assert scope.cancelled_caught


async def test_sleeping_for_no_time_over_and_over_ends_at_a_limit(sandbox: Sandbox) -> None:
    error = await sandbox.fails(LimitError, SLEEP.replace("3600000000000", "0"), system_calls=500)
    assert (error.limit, error.value) == ("system_calls", 500)


async def test_a_sleep_of_the_longest_time_there_is_ends_too(sandbox: Sandbox) -> None:
    error = await sandbox.fails(LimitError, SLEEP.replace("3600000000000", "-1"), wall=0.05)
    assert error.limit == "wall"


async def test_the_wall_limit_includes_what_comes_before_the_first_instruction(sandbox: Sandbox) -> None:
    error = await sandbox.fails(LimitError, LOOPS["_initialize"], wall=0.05, cpu=60)
    assert error.limit == "wall"
    assert (await sandbox.call(NOTHING, wall=5)).usage.wall < 5


async def test_a_call_below_a_cancelled_scope_does_not_begin(sandbox: Sandbox) -> None:
    program = await sandbox.load(SPIN)
    with trio.CancelScope() as scope:
        scope.cancel()
        await program.call("run", b"", options())
    assert scope.cancelled_caught
