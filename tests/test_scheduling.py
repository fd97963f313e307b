"""Where guests run and how they wait: habits, the loop's budget, tickers, workers, budgets of the host."""

from __future__ import annotations

import threading
import time

import pytest
import trio
import trio.lowlevel
import trio.testing
import wasmtime

from innkeeper.errors import BusyError, LimitError
from innkeeper.sandbox import capi
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.capacity import Budget
from innkeeper.sandbox.clock import WallClock
from innkeeper.sandbox.engine import FiberEngine, open_engine
from innkeeper.sandbox.inline import PASS, SHORT, Habit, Lockout, LoopBudget
from innkeeper.sandbox.interface import CallOptions, HostFunction, Value
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.program import FiberProgram
from innkeeper.sandbox.ticker import ThreadTicker, ticker_of
from innkeeper.sandbox.workers import Workers

SPIN = bytes(
    wasmtime.wat2wasm("""(module
      (import "test" "thread" (func $thread (result i64)))
      (func (export "spin") (loop (br 0)))
      (func (export "short") (drop (call $thread)))
      (func (export "long") (local i32)
        (local.set 0 (i32.const 20000000))
        (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0)))
        (drop (call $thread))))""")
)


def test_a_function_that_is_not_known_starts_on_a_worker_and_one_short_slice_earns_the_loop() -> None:
    habit = Habit()
    assert not habit.inline
    habit.record(SHORT / 2)
    assert habit.inline


def test_each_long_slice_doubles_what_it_takes_to_earn_the_loop_again() -> None:
    habit = Habit()
    for round_ in range(15):
        habit.record(SHORT * 2)
        streak = 0
        while not habit.inline:
            habit.record(0.0)
            streak += 1
        assert streak == min(2 ** (round_ + 1), 1024)


def test_who_is_long_on_trios_thread_is_kept_from_it_two_hundred_times_as_long_and_twice_that_the_next_time() -> None:
    lockout = Lockout()
    assert not lockout.barred(0.0)
    lockout.slip(0.02, 10.0)
    assert lockout.barred(13.9)
    assert not lockout.barred(14.1)
    lockout.slip(0.02, 14.1)
    assert lockout.barred(22.0)
    assert not lockout.barred(22.2)
    lockout.slip(0.02, 100.0)
    assert not lockout.barred(104.1), "a minute without another forgives it"
    for _ in range(100):
        lockout.slip(0.02, 104.1)
    assert lockout.barred(104.1 + 3599)
    assert not lockout.barred(104.1 + 3601)


async def test_a_function_that_alternates_between_short_and_long_does_not_get_back_to_trios_thread() -> None:
    async with open_engine() as engine:
        program = await engine.load(SPIN, functions=[_thread_function([])])
        while not program.habit("short").inline:
            await program.call("short", b"", CallOptions())
        polls = 0
        held = program.poll

        def counted(future: int) -> bool:
            nonlocal polls
            polls += 1
            return bool(held(future))

        program.poll = counted
        await program.call("short", b"", CallOptions())
        assert polls, "it is polled here"
        program.lockout.slip(1.0, time.monotonic())
        polls = 0
        for _ in range(3):
            await program.call("short", b"", CallOptions())
        assert polls == 0


async def test_what_wasi_does_for_a_guest_is_its_processor_time_and_ends_at_the_limit() -> None:
    text = """(module
      (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
      (memory 512)
      (func (export "f") (loop (drop (call $random (i32.const 0) (i32.const 33554432))) (br 0))))"""
    async with open_engine() as engine:
        program = await engine.load(bytes(wasmtime.wat2wasm(text)))
        with pytest.raises(LimitError, match="'cpu'"):
            await program.call("f", b"", CallOptions(limits=Limits(cpu=0.05, wall=600.0)))


async def test_every_pass_of_the_loop_gives_guests_a_new_budget() -> None:
    budget = LoopBudget()
    trio.lowlevel.add_instrument(budget)
    try:
        budget.left = -1.0
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        assert budget.left == PASS
    finally:
        trio.lowlevel.remove_instrument(budget)


async def test_guests_beyond_the_budget_of_a_pass_wait_for_a_later_one_and_all_end_right() -> None:
    async with open_engine() as engine:
        program = await engine.load(SPIN, functions=[_thread_function([])])
        await program.call("short", b"", CallOptions())
        passes = _Passes()
        trio.lowlevel.add_instrument(passes)
        before = passes.count
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(_after_a_full_pass, engine, program, passes)
        trio.lowlevel.remove_instrument(passes)
        assert passes.count - before >= 2


class _Passes(trio.abc.Instrument):
    """Counts the passes of the loop."""

    def __init__(self) -> None:
        self.count = 0

    def after_io_wait(self, timeout: float) -> None:
        self.count += 1


async def _after_a_full_pass(engine: FiberEngine, program: FiberProgram, passes: _Passes) -> None:
    engine.loop_budget.left = -1.0
    before = passes.count
    await program.call("short", b"", CallOptions())
    assert passes.count > before, "it waited for a pass that had room"


async def test_who_waits_for_a_pass_can_be_cancelled_and_the_others_go_on() -> None:
    async with open_engine() as engine:
        program = await engine.load(SPIN, functions=[_thread_function([])])
        await program.call("short", b"", CallOptions())
        with trio.CancelScope() as scope:
            # In the next pass, before those who wait for it are woken.
            trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
            engine.loop_budget.left = -1.0
            await program.call("short", b"", CallOptions())
        assert scope.cancelled_caught
        await program.call("short", b"", CallOptions())


async def test_a_thread_that_cannot_start_makes_the_host_busy_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with open_engine() as engine:
        program = await engine.load(SPIN, functions=[_thread_function([])])
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            with pytest.raises(BusyError, match="starts no more threads"):
                await program.call("short", b"", CallOptions())
        assert (engine.live.taken, engine.memory.taken, program.calls.taken) == (0, 0, 0)
        await program.call("short", b"", CallOptions())


async def test_host_functions_run_on_trios_thread_wherever_the_guest_runs() -> None:
    seen: list[int] = []
    async with open_engine() as engine:
        program = await engine.load(SPIN, functions=[_thread_function(seen)])
        for _ in range(3):
            await program.call("short", b"", CallOptions())
            await program.call("long", b"", CallOptions(limits=Limits(cpu=30)))
    assert set(seen) == {threading.get_ident()}
    assert len(seen) == 6


async def test_a_thread_ticks_where_there_is_no_timer_and_guests_then_give_the_gil_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_engine() as engine:
        tickers = []
        for spot in (engine._on_demand, engine._pooled):
            tickers.append(ThreadTicker(spot.engine))
            monkeypatch.setattr(spot, "ticker", tickers[-1])
        engine.poll = capi.future_poll_free
        program = await engine.load(SPIN, functions=[_thread_function([])])
        with pytest.raises(LimitError, match="'cpu'"):
            await program.call("spin", b"", CallOptions(limits=Limits(cpu=0.02)))
        with trio.move_on_after(0.02) as scope:
            await program.call("spin", b"", CallOptions())
        assert scope.cancelled_caught
        await program.call("short", b"", CallOptions())
        await program.call("short", b"", CallOptions())
    for ticker in tickers:
        ticker.need(time.perf_counter() - 1)
        assert ticker.rest(running=False), "it ticks no more in the tests that follow"


@pytest.mark.parametrize("make", [ticker_of, ThreadTicker])
def test_a_ticker_rests_only_when_nothing_has_run_for_a_while(make: object) -> None:
    engine = wasmtime.Engine()
    _immortal.append(engine)
    ticker = make(capi.address(engine))  # type: ignore[operator]
    for _ in range(2):
        # However slow the machine is: a minute ahead is never a while ago.
        ticker.need(time.perf_counter() + 60)
        assert not ticker.rest(running=False), "it was needed just now"
        ticker.need(time.perf_counter() - 0.06)
        assert not ticker.rest(running=True), "a guest runs"
        assert ticker.rest(running=False)


_immortal: list[wasmtime.Engine] = []
"""A ticker uses its engine's address until the process ends."""


class _Turns:
    """Counts its turns and is ready after a number of them."""

    def __init__(self, ready_after: float) -> None:
        self.lent = False
        self.turns = 0
        self.thread: int | None = None
        self._ready_after = ready_after

    def step(self) -> bool:
        self.turns += 1
        self.thread = threading.get_ident()
        time.sleep(0.0005)
        return self.turns >= self._ready_after

    def abandon(self) -> None:
        raise AssertionError("nobody threw its task away")


async def test_many_long_guests_take_turns_on_few_threads() -> None:
    workers = Workers(2)
    turns = [_Turns(5) for _ in range(20)]
    try:
        async with trio.open_nursery() as nursery:
            for turn in turns:
                nursery.start_soon(workers.run, turn)
        assert all(turn.turns == 5 and not turn.lent for turn in turns)
        assert len({turn.thread for turn in turns}) <= 2
    finally:
        workers.close()


async def test_a_cancelled_turn_is_handed_back_before_the_call_ends() -> None:
    workers = Workers(1)
    turn = _Turns(float("inf"))
    try:
        with trio.move_on_after(0.02) as scope:
            await workers.run(turn)
        assert scope.cancelled_caught
        assert not turn.lent
        seen = turn.turns
        await trio.sleep(0.01)
        assert turn.turns == seen, "no thread has it any more"
    finally:
        workers.close()


def test_closing_the_workers_frees_what_nobody_waits_for_any_more() -> None:
    workers = Workers(1)
    turn = _Turns(float("inf"))

    async def main() -> None:
        async def run() -> None:
            await workers.run(turn)

        coroutine = run()
        trio.lowlevel.spawn_system_task(lambda: coroutine)
        await trio.sleep(0.01)
        turn._ready_after = 0

    trio.run(main)
    workers.close()
    workers.close()
    assert not turn.lent


def test_work_after_the_close_is_done_at_once() -> None:
    workers = Workers(1)
    workers.close()
    done: list[bool] = []
    workers.submit(lambda: done.append(True))
    assert done == [True]


async def test_a_budget_serves_in_the_order_of_arrival_and_small_requests_do_not_overtake() -> None:
    budget = Budget("rooms", 10)
    assert budget.take_now(8)
    order: list[int] = []

    async def take(amount: int) -> None:
        clock = WallClock(60)
        await budget.take(amount, clock)
        order.append(amount)
        clock.close(None)

    async with trio.open_nursery() as nursery:
        for amount in (9, 1, 2):
            nursery.start_soon(take, amount)
            await trio.testing.wait_all_tasks_blocked()
        assert not budget.take_now(1), "somebody waits"
        budget.give(8)
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(order) == [1, 9], "both at once, in whichever order they run"
        assert budget.waiting == 1
        budget.give(9)
    assert order[2] == 2
    assert budget.taken == 3


async def test_who_waits_for_a_budget_until_the_deadline_is_told_its_name_and_takes_nothing() -> None:
    budget = Budget("rooms", 1)
    assert budget.take_now(1)
    clock = WallClock(0.01)
    with pytest.raises(trio.Cancelled) as caught:
        await budget.take(1, clock)
    error = clock.close(caught.value)
    assert isinstance(error, BusyError)
    assert error.bound == "rooms"
    assert (budget.taken, budget.waiting) == (1, 0)


async def test_a_budget_can_be_given_back_from_a_thread() -> None:
    budget = Budget("rooms", 1)
    assert budget.take_now(1)
    clock = WallClock(60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(budget.take, 1, clock)
        await trio.testing.wait_all_tasks_blocked()
        await trio.to_thread.run_sync(budget.give, 1)
    assert budget.taken == 1


async def test_a_call_that_waits_in_a_host_function_gives_its_plugins_place_to_others() -> None:
    wat = '(module (import "test" "wait" (func $wait)) (func (export "f") (call $wait)))'
    both = trio.Event()
    waiting = 0

    async def wait() -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 2:
            both.set()
        await both.wait()

    async with open_engine(Bounds(calls_per_plugin=1)) as engine:
        program = await engine.load(
            bytes(wasmtime.wat2wasm(wat)), functions=[HostFunction("wait", wait, namespace="test")]
        )
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(program.call, "f", b"", CallOptions())
        assert program.calls.taken == 0


def _thread_function(seen: list[int]) -> HostFunction:
    async def thread() -> int:
        seen.append(threading.get_ident())
        return len(seen)

    return HostFunction("thread", thread, (), Value.I64, "test")
