"""A guest that stays keeps its state, does one call at a time, and is gone after the first thing that goes wrong."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import trio
import trio.testing

from guests import (
    GIVES,
    PAGE,
    Sandbox,
    gives,
    host_function,
    nothing_is_held,
    number,
    opened,
    options,
    text_block,
    wat,
)
from innkeeper.errors import BusyError, GuestError, InnkeeperError, LimitError, UsageError
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.interface import Session


async def _wait() -> None:
    await trio.sleep_forever()


async def _pause() -> None:
    await trio.sleep(0.02)


FUNCTIONS = [host_function(_wait), host_function(_pause)]
COUNTER = wat(
    """(memory 1) (global $n (mut i64) (i64.const 0))
    (func (export "trap") unreachable)
    (func (export "spin") (loop (br 0)))
    (func (export "wait") (call $_wait))
    (func (export "pause") (call $_pause))
    (func (export "exit") (call $proc_exit (i32.const 0)))
    (func (export "exit3") (call $proc_exit (i32.const 3)))
    (func (export "code") (result i32) (i32.const 9))
    (func (export "grow") (drop (memory.grow (i32.const 60000))))
    (func (export "hog") (drop (memory.grow (i32.const 100))))
    (func (export "deep") (call $deep)) (func $deep (call $deep) (call $deep))
    (func (export "kernel") (drop (call $alloc (i64.const 0x7fffffff))))
    (func (export "forge") (local $i i64)
      (loop (call $store_u64 (local.get $i) (i64.const -1))
        (br_if 0 (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 8))) (i64.const 192)))))
    """
    + gives("(block (result i64) (global.set $n (i64.add (global.get $n) (i64.const 1))) (global.get $n))"),
    GIVES,
    "proc_exit",
    FUNCTIONS,
)


async def opened_session(sandbox: Sandbox, **limits: Any) -> Session:
    program = await sandbox.load(COUNTER, FUNCTIONS)
    return await program.open(options(**limits))


async def ended(session: Session) -> str:
    """What a further call says."""
    with pytest.raises(GuestError) as caught:
        await session.call("run", b"", options())
    assert caught.value.plugin == "hostile"
    await session.aclose()
    return caught.value.message


async def test_state_stays_from_call_to_call_and_is_no_other_guest_s(sandbox: Sandbox) -> None:
    program = await sandbox.load(COUNTER, FUNCTIONS)
    first, second = await program.open(options()), await program.open(options())
    assert [number(await first.call("run", b"x" * at, options())) for at in range(4)] == [1, 2, 3, 4]
    assert number(await second.call("run", b"", options())) == 1
    assert number(await program.call("run", b"", options())) == 1
    await second.aclose()
    await first.aclose()


async def test_variables_stay_as_long_as_the_guest(sandbox: Sandbox) -> None:
    program = await sandbox.load(VARIABLES)
    session = await program.open(options())
    assert number(await session.call("run", b"", options())) == 0
    assert number(await session.call("run", b"", options())) == 8
    assert number(await program.call("run", b"", options())) == 0
    await session.aclose()


VARIABLES = wat(
    gives("(block (result i64) (call $length (call $var_get (call $key))) (call $var_set (call $key) (call $key)))")
    + "(func $key (result i64) (local $a i64) (local.set $a (call $alloc (i64.const 8)))"
    " (call $store_u64 (local.get $a) (i64.const 7)) (local.get $a))",
    GIVES + " var_get var_set length",
)


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        ("trap", GuestError),
        ("exit3", GuestError),
        ("spin", LimitError),
        ("deep", LimitError),
        ("kernel", LimitError),
        ("wait", LimitError),
    ],
)
async def test_whatever_goes_wrong_ends_the_guest_and_later_calls_say_so(
    sandbox: Sandbox, function: str, kind: type[InnkeeperError]
) -> None:
    session = await opened_session(sandbox)
    await session.call("run", b"", options())
    with pytest.raises(kind):
        await session.call(function, b"", options(cpu=0.05, host_call=0.05))
    await nothing_is_held(sandbox.engine)
    assert "ended" in await ended(session)


@pytest.mark.parametrize("function", ["code", "forge"])
async def test_an_error_that_the_guest_reports_itself_does_not_end_it(sandbox: Sandbox, function: str) -> None:
    session = await opened_session(sandbox)
    for at in range(3):
        assert number(await session.call("run", b"abc", options())) == at + 1
        with pytest.raises(GuestError):
            await session.call(function, b"", options())
    await session.aclose()


async def test_an_exit_with_0_is_a_result_and_ends_the_guest(sandbox: Sandbox) -> None:
    session = await opened_session(sandbox)
    assert (await session.call("exit", b"", options())).output == b""
    assert "exit" in await ended(session)


@pytest.mark.parametrize("function", ["wait", "spin", "pause"])
async def test_a_cancelled_call_ends_the_guest(sandbox: Sandbox, function: str) -> None:
    session = await opened_session(sandbox)
    with trio.move_on_after(0.01) as scope:
        await session.call(function, b"", options())
    assert scope.cancelled_caught
    await nothing_is_held(sandbox.engine)
    await ended(session)


async def test_a_caller_s_mistake_leaves_the_guest_as_it_is(sandbox: Sandbox) -> None:
    session = await opened_session(sandbox)
    await session.call("run", b"", options())
    with pytest.raises(UsageError):
        await session.call("rum", b"", options())
    assert number(await session.call("run", b"", options())) == 2
    await session.aclose()


async def test_a_second_call_at_the_same_time_is_an_error_and_the_first_goes_on(sandbox: Sandbox) -> None:
    session = await opened_session(sandbox)
    refused: list[InnkeeperError] = []

    async def second() -> None:
        try:
            await session.call("run", b"", options())
        except InnkeeperError as error:
            refused.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.call, "pause", b"", options())
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            nursery.start_soon(second)
    assert len(refused) == 3
    assert all("one at a time" in error.message for error in refused)
    assert number(await session.call("run", b"", options())) == 1
    await session.aclose()


async def test_a_session_closed_during_a_call_stays_closed(sandbox: Sandbox) -> None:
    session = await opened_session(sandbox)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.call, "pause", b"", options())
        await trio.testing.wait_all_tasks_blocked()
        await session.aclose()
    assert "closed" in await ended(session)
    await nothing_is_held(sandbox.engine)


async def test_closing_twice_and_calling_after_it_are_harmless(sandbox: Sandbox) -> None:
    session = await opened_session(sandbox)
    await session.aclose()
    await session.aclose()
    assert "closed" in await ended(session)


async def test_a_session_that_is_dropped_gives_everything_back(sandbox: Sandbox) -> None:
    sessions = [await opened_session(sandbox) for _ in range(5)]
    assert sandbox.engine.live.taken == len(sessions) == 5
    sessions.clear()
    gc.collect()
    await nothing_is_held(sandbox.engine)


async def test_a_growth_refused_in_one_call_is_not_the_fault_of_the_next(sandbox: Sandbox) -> None:
    session = await opened_session(sandbox)
    await session.call("grow", b"", options())
    with pytest.raises(GuestError) as caught:
        await session.call("trap", b"", options())
    assert "unreachable" in caught.value.message
    await session.aclose()


async def test_an_input_larger_than_the_guest_was_opened_for_is_a_limit(sandbox: Sandbox) -> None:
    session = await opened_session(sandbox, kernel_memory=1 << 20)
    with pytest.raises(LimitError) as caught:
        await session.call("run", bytes(2 << 20), options())
    assert caught.value.limit == "kernel_memory"
    await session.aclose()


async def test_a_call_may_not_use_more_memory_than_its_own_limit(sandbox: Sandbox) -> None:
    session = await opened_session(sandbox)
    result = await session.call("hog", b"", options())
    assert result.usage.memory > 100 * PAGE
    with pytest.raises(LimitError) as caught:
        await session.call("run", b"", options(memory=4 * PAGE))
    assert caught.value.limit == "memory"
    await session.aclose()


async def test_a_plugin_that_was_unloaded_ends_its_sessions_calls_well() -> None:
    async with opened() as sandbox:
        program = await sandbox.load(COUNTER, FUNCTIONS)
        session = await program.open(options())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.call, "pause", b"", options())
            await trio.testing.wait_all_tasks_blocked()
            program.close()
            program.close()
        with pytest.raises(UsageError):
            await session.call("run", b"", options())
        await session.aclose()
        with pytest.raises(UsageError):
            await program.open(options())
        with pytest.raises(UsageError):
            await program.call("run", b"", options())


async def test_sessions_count_against_the_live_guests() -> None:
    async with opened(Bounds(live_guests=2, workers=1)) as sandbox:
        program = await sandbox.load(COUNTER, FUNCTIONS)
        sessions = [await program.open(options()) for _ in range(2)]
        with pytest.raises(BusyError) as caught:
            await program.open(options(wall=0.05))
        assert caught.value.bound == "live guests"
        assert number(await sessions[0].call("run", b"", options())) == 1
        await sessions.pop().aclose()
        sessions.append(await program.open(options(wall=5)))
        for session in sessions:
            await session.aclose()


async def test_a_guest_that_does_not_start_is_no_session(sandbox: Sandbox) -> None:
    program = await sandbox.load('(module (func (export "_initialize") (loop (br 0))) (func (export "run")))')
    with pytest.raises(LimitError):
        await program.open(options(cpu=0.02))
    with trio.move_on_after(0.02) as scope:
        await program.open(options())
    assert scope.cancelled_caught


def _says(function: str, text: bytes) -> str:
    return f"""(func (export "{function}") (local $a i64)
      {text_block("text", text, "a")} (call $log_info (local.get $a)))"""


async def test_what_it_logs_while_it_starts_is_in_the_log_of_its_first_call_and_counts_there(sandbox: Sandbox) -> None:
    program = await sandbox.load(
        wat(_says("_initialize", b"began") + _says("run", b"called"), "alloc store_u8 log_info")
    )
    session = await program.open(options())
    assert (await session.call("run", b"", options())).usage.log == [("info", "began"), ("info", "called")]
    assert (await session.call("run", b"", options())).usage.log == [("info", "called")]
    await session.aclose()

    session = await program.open(options())
    usage = (await session.call("run", b"", options(log=16))).usage
    assert (usage.log, usage.log_dropped) == ([("info", "began")], len("called"))
    await session.aclose()
