"""A flood of calls, lines or variables ends at its limit and costs the host a bounded amount."""

from __future__ import annotations

import tracemalloc

import pytest
import trio

from guests import GIVES, Sandbox, gives, host_function, number, run, wat
from innkeeper.errors import LimitError
from innkeeper.sandbox.interface import Value

LOGGING = "alloc log_info log_warn store_u8"


def log_flood(length: int, *, byte: int = 65, times: int = 1 << 62) -> str:
    return wat(
        run(
            f"""(local $a i64) (local $i i64) (local.set $a (call $alloc (i64.const {length})))
            (loop (call $store_u8 (i64.add (local.get $a) (local.get $i)) (i32.const {byte}))
              (br_if 0 (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (i64.const {length}))))
            (local.set $i (i64.const 0))
            (loop (call $log_info (local.get $a))
              (br_if 0 (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (i64.const {times}))))"""
        ),
        LOGGING,
    )


@pytest.mark.parametrize("length", [1, 100, 5000, 1 << 20])
@pytest.mark.parametrize("byte", [65, 10, 255])
async def test_a_flood_of_log_lines_is_kept_within_its_limit(sandbox: Sandbox, length: int, byte: int) -> None:
    program = await sandbox.load(log_flood(length, byte=byte))
    error = await sandbox.fails(LimitError, program, system_calls=3000, cpu=20)
    usage = error.usage
    assert error.limit == "system_calls"
    assert usage.system_calls == 3001
    # An empty line counts as 16 bytes, so there are at most 4,096 of them.
    assert len(usage.log) <= 4097
    assert sum(len(line) for _, line in usage.log) <= 64 * 1024
    assert all(len(line) <= 1024 for _, line in usage.log)
    if byte == 65:
        kept = sum(len(line) for _, line in usage.log)
        assert kept + usage.log_dropped == 3000 * length


async def test_the_host_s_memory_stays_what_it_was_beside_a_flood_of_log(sandbox: Sandbox) -> None:
    program = await sandbox.load(log_flood(1 << 20))
    await sandbox.fails(LimitError, program, system_calls=10)
    tracemalloc.start()
    try:
        error = await sandbox.fails(LimitError, program, system_calls=5000, cpu=20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.usage.log_dropped > 4 << 30
    assert peak < 4 << 20


async def test_a_flood_on_standard_output_is_bounded_too(sandbox: Sandbox) -> None:
    text = wat(
        "(memory 20)"
        + run(
            """(memory.fill (i32.const 64) (i32.const 10) (i32.const 1000000))
            (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1000000))
            (loop (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32))) (br 0))"""
        ),
        wasi="fd_write",
    )
    error = await sandbox.fails(LimitError, text, system_calls=50, cpu=20)
    assert error.limit == "system_calls"
    assert len(error.usage.log) <= 4097


async def test_the_limits_of_the_log_are_the_call_s(sandbox: Sandbox) -> None:
    result = await sandbox.call(log_flood(100, times=50), log=1000, log_line=30)
    assert {len(line) for _, line in result.usage.log} <= {30, 1000 % 30}
    kept = sum(len(line) for _, line in result.usage.log)
    assert 900 <= kept <= 1000
    assert result.usage.log_dropped == 5000 - kept


@pytest.mark.parametrize("waits", [False, True])
async def test_a_flood_of_host_calls_ends_at_its_limit(sandbox: Sandbox, waits: bool) -> None:
    calls = 0

    async def count() -> None:
        nonlocal calls
        calls += 1
        if waits:
            await trio.lowlevel.checkpoint()

    function = host_function(count)
    text = wat(run("(loop (call $count) (br 0))"), functions=[function])
    error = await sandbox.fails(LimitError, text, functions=[function], host_calls=1000)
    assert (error.limit, error.value, error.used) == ("host_calls", 1000, 1001)
    assert calls == 1000
    assert error.usage.host_calls == 1001


@pytest.mark.parametrize(
    "call",
    [
        "(drop (call $config_get (i64.const 0)))",
        "(drop (call $var_get (i64.const 0)))",
        "(call $var_set (i64.const 0) (i64.const 0))",
        "(call $log_warn (i64.const 0))",
        "(drop (call $sched_yield))",
        "(drop (call $random_get (i32.const 0) (i32.const 8)))",
        "(drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 0)))",
    ],
)
async def test_a_flood_of_system_calls_ends_at_its_limit(sandbox: Sandbox, call: str) -> None:
    text = wat(
        "(memory 1)" + run(f"(loop {call} (br 0))"),
        "config_get var_get var_set log_warn",
        "sched_yield random_get clock_time_get",
    )
    error = await sandbox.fails(LimitError, text, system_calls=1000)
    assert (error.limit, error.value, error.used) == ("system_calls", 1000, 1001)


async def test_a_flood_of_variables_ends_at_its_limit(sandbox: Sandbox) -> None:
    text = wat(
        run(
            """(local $key i64) (local $i i64) (local $empty i64)
            (local.set $key (call $alloc (i64.const 8)))
            (local.set $empty (call $alloc (i64.const 1)))
            (call $store_u64 (i64.sub (local.get $empty) (i64.const 16)) (i64.const 0))
            (loop
              (call $store_u64 (local.get $key) (local.get $i))
              (call $var_set (local.get $key) (local.get $empty))
              (local.set $i (i64.add (local.get $i) (i64.const 1))) (br 0))"""
        ),
        "alloc store_u64 var_set",
    )
    error = await sandbox.fails(LimitError, text, variables=10_000, cpu=20)
    assert (error.limit, error.value) == ("variables", 10_000)
    assert error.usage.system_calls <= 1252


async def test_a_variable_set_over_and_over_is_counted_once(sandbox: Sandbox) -> None:
    text = wat(
        "(global $i (mut i64) (i64.const 0))"
        + gives(
            """(block (result i64)
              (loop (call $var_set (call $key) (call $alloc (i64.const 500)))
                (global.set $i (i64.add (global.get $i) (i64.const 1)))
                (br_if 0 (i64.lt_u (global.get $i) (i64.const 100))))
              (call $length (call $var_get (call $key))))"""
        )
        + "(func $key (result i64) (local $a i64) (local.set $a (call $alloc (i64.const 8)))"
        " (call $store_u64 (local.get $a) (i64.const 7)) (local.get $a))",
        GIVES + " var_set var_get length",
    )
    assert number(await sandbox.call(text, variables=1000)) == 500


async def test_a_host_function_s_answer_larger_than_the_kernel_s_memory_is_a_limit(sandbox: Sandbox) -> None:
    async def much() -> bytes:
        return bytes(2 << 20)

    function = host_function(much, (), Value.BYTES)
    text = wat(gives("(call $length (call $much))"), GIVES + " length", functions=[function])
    assert number(await sandbox.call(text, functions=[function])) == 2 << 20
    for limit in (1 << 20, 2 << 20):
        error = await sandbox.fails(LimitError, text, functions=[function], kernel_memory=limit)
        assert error.limit == "kernel_memory"


async def test_random_bytes_for_a_whole_memory_leave_the_loop_to_others(sandbox: Sandbox) -> None:
    text = wat("(memory 100)" + run("(drop (call $random_get (i32.const 0) (i32.const 6000000)))"), wasi="random_get")
    program = await sandbox.load(text)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await trio.sleep(0.001)
            ticks += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await sandbox.call(program, cpu=20)
        nursery.cancel_scope.cancel()
    assert ticks > 5
