"""Spare guests: a plugin that starts slowly is started ahead, and nobody can tell but by the time that it takes."""

from __future__ import annotations

import ctypes
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
import trio
import trio.testing

from guests import (
    GIVES,
    NOTHING,
    PAGE,
    Sandbox,
    gives,
    host_function,
    nothing_is_held,
    number,
    opened,
    options,
    wat,
)
from innkeeper.errors import BusyError, GuestError, LimitError, RejectedError, UsageError
from innkeeper.sandbox import engine as engine_module
from innkeeper.sandbox import spares, starting
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.clock import WallClock
from innkeeper.sandbox.engine import FiberEngine, open_engine
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.interface import Value
from innkeeper.sandbox.program import FiberProgram
from innkeeper.sandbox.spares import EACH, Spares, Stock
from innkeeper.sandbox.wasi import NONE, WasiRights

LOOP = """(loop $again
  (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3000000))))"""
"""Some milliseconds of processor time; its function has a local `$i`."""

KEY = """(local.set $key (call $alloc (i64.const 1))) (call $store_u8 (local.get $key) (i32.const 107))
  (local.set $value (call $config_get (local.get $key)))
  (if (i64.ne (local.get $value) (i64.const 0))
    (then (global.set $config (i64.extend_i32_u (call $load_u8 (local.get $value))))))"""
"""Asks for the configuration's `k` and keeps its first byte, in a function with the locals `$key` and `$value`."""

ENV = f"{GIVES} load_u64 store_u8 config_get log_info input_length length load_u8"

GUEST = wat(
    f"""(memory 1)
    (global $config (mut i64) (i64.const 0)) (global $count (mut i64) (i64.const 0))
    (global $grown (mut i64) (i64.const 0))
    (func (export "_initialize") (local $i i32) (local $key i64) (local $value i64)
      {LOOP} {KEY} (call $log_info (local.get $key))
      (global.set $grown (i64.extend_i32_s (memory.grow (i32.const 16))))
      (global.set $count (i64.add (global.get $count) (i64.const 1))))
    {gives("(global.get $count) (global.set $count (i64.add (global.get $count) (i64.const 1)))")}
    {gives("(global.get $grown)").replace('"run"', '"grown"')}
    {gives("(call $input_length)").replace('"run"', '"given"')}
    {gives("(global.get $config)").replace('"run"', '"config"')}
    (func (export "trap") unreachable)
    (func (export "spin") (loop (br 0)))""",
    ENV,
)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each guest that was started, whether it was started ahead."""
    seen: list[bool] = []
    start = starting.start

    async def watched(guest: Guest) -> bool:
        seen.append(guest.call.ahead)
        return await start(guest)

    monkeypatch.setattr(starting, "start", watched)
    return seen


@pytest.fixture
def forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """No spare guest gets too old."""
    monkeypatch.setattr(engine_module, "AGE", 1e9)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110 (nobody tells)
            await trio.sleep(0.001)


async def stocked(program: FiberProgram, count: int = EACH) -> None:
    """Waits until there are so many spare guests."""
    await until(lambda: len(program.stock) == count)


async def idle(engine: FiberEngine) -> None:
    """Waits until no spare guest is wanted or on its way."""
    await until(lambda: not engine.spares._wanting and engine.spares._wake is not None)


async def called_until_stocked(sandbox: Sandbox, program: FiberProgram, count: int) -> None:
    """Calls until there are so many: where bounds are small, the guest of a call that has just ended is in the way."""
    with trio.fail_after(60):
        while len(program.stock) != count:
            await sandbox.call(program)
            await idle(sandbox.engine)
    await until(lambda: sandbox.engine.live.taken == count)


@pytest.fixture
async def sandbox(sandbox: Sandbox) -> AsyncIterator[Sandbox]:
    """As everywhere; at its end no spare guest is on its way."""
    yield sandbox
    await idle(sandbox.engine)


async def test_a_plugin_that_starts_slowly_has_spare_guests_from_its_first_call_on(
    sandbox: Sandbox, started: list[bool]
) -> None:
    program = await sandbox.load(GUEST)
    assert len(program.stock) == 0
    await sandbox.call(program)
    assert started[0] is False
    for _ in range(5):
        await stocked(program)
        started.clear()
        await sandbox.call(program)
        assert False not in started, "it waited for a guest of its own"


async def test_a_plugin_that_starts_fast_or_not_at_all_has_none(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine is.
    monkeypatch.setattr(spares, "SLOW", 10.0)
    for text in (NOTHING, '(module (func (export "_initialize")) (func (export "run")))', GUEST):
        program = await sandbox.load(text)
        await sandbox.call(program)
        await idle(sandbox.engine)
        assert len(program.stock) == 0
        assert program.stock.options is None


async def test_a_spare_guest_is_used_once(sandbox: Sandbox, started: list[bool]) -> None:
    program = await sandbox.load(GUEST)
    for _ in range(8):
        assert number(await sandbox.call(program)) == 1
        await stocked(program)
    assert started.count(False) == 1
    with pytest.raises(GuestError):
        await sandbox.call(program, "trap")
    assert number(await sandbox.call(program)) == 1


async def test_calls_at_the_same_time_share_no_spare_guest(sandbox: Sandbox) -> None:
    program = await sandbox.load(GUEST)
    counts: list[int] = []

    async def call() -> None:
        counts.append(number(await sandbox.call(program)))

    for _ in range(5):
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(call)
    assert counts == [1] * 30


async def test_a_call_of_a_spare_guest_gives_and_counts_what_one_of_its_own_would(started: list[bool]) -> None:
    seen: list[list[Any]] = []
    for most in (0, 16):
        async with opened(Bounds(workers=2, spare_guests=most)) as sandbox:
            program = await sandbox.load(GUEST)
            outcomes: list[Any] = []
            started.clear()
            for _ in range(4):
                result = await sandbox.call(program, "given", b"x" * 5000, config={"k": "!"})
                usage = result.usage
                # What starting took is the call's.
                assert usage.cpu >= spares.SLOW
                assert usage.wall > 0
                outcomes.append(
                    (result.output, usage.log, usage.system_calls, usage.memory, usage.bytes_in, usage.bytes_out)
                )
                if most:
                    await stocked(program)
            assert started.count(False) == (1 if most else 4)
            assert outcomes[0][1] == [("info", "k")]
            seen.append(outcomes)
            await idle(sandbox.engine)
    assert seen[0] == seen[1]


async def test_what_the_start_logged_leaves_the_call_as_much_room_as_it_would_otherwise(sandbox: Sandbox) -> None:
    text = wat(
        f"""(func (export "_initialize") (local $i i32) {LOOP} (call $log_info (call $alloc (i64.const 30))))
        (func (export "run") (call $log_info (call $alloc (i64.const 30))))""",
        "alloc log_info",
    )
    program = await sandbox.load(text)
    for _ in range(3):
        usage = (await sandbox.call(program, log=40, system_calls=2)).usage
        assert ([len(line) for _, line in usage.log], usage.log_dropped, usage.system_calls) == ([30, 10], 20, 2)
        await stocked(program)
    # The limit on all of the call's counts what the start did.
    for _ in range(2):
        error = await sandbox.fails(LimitError, program, system_calls=1)
        assert error.limit == "system_calls"
        assert error.usage.system_calls == 2
        await idle(sandbox.engine)


async def test_there_are_never_more_than_the_bounds_on_one_plugin_and_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 3
    keep, counts = Stock.keep, []

    def counted(stock: Stock, guest: Guest) -> None:
        keep(stock, guest)
        assert len(stock) <= EACH
        counts.append(stock._program.engine.spares._count())

    monkeypatch.setattr(Stock, "keep", counted)
    async with opened(Bounds(workers=2, spare_guests=most)) as sandbox:
        programs = [await sandbox.load(GUEST) for _ in range(3)]
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for program in programs:
                    nursery.start_soon(sandbox.call, program)
            await idle(sandbox.engine)
        assert max(counts) == most
        # Workers free guests that have been used a little later.
        with trio.fail_after(20):
            while sandbox.engine.live.taken != most:  # noqa: ASYNC110 (workers tell nobody)
                await trio.sleep(0.001)


async def test_without_spare_guests_in_the_bounds_there_are_none(started: list[bool]) -> None:
    async with opened(Bounds(workers=2, spare_guests=0)) as sandbox:
        program = await sandbox.load(GUEST)
        for _ in range(3):
            await sandbox.call(program)
            await trio.sleep(0.01)
        assert started == [False] * 3


async def test_they_go_when_they_are_old(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "AGE", 1e9)
    program = await sandbox.load(GUEST)
    await sandbox.call(program)
    await stocked(program)
    monkeypatch.setattr(engine_module, "AGE", 0.0)
    await until(lambda: len(program.stock) == 0 and not sandbox.engine.live.taken)
    assert number(await sandbox.call(program)) == 1


async def test_the_youngest_are_taken_care_of_by_their_own_age(sandbox: Sandbox, forever: None) -> None:
    program = await sandbox.load(GUEST)
    await sandbox.call(program)
    await stocked(program)
    first, second = program.stock._born
    assert first < second
    program.stock.drop(older_than=second)
    assert list(program.stock._born) == [second]


async def test_they_go_with_their_plugin(sandbox: Sandbox, forever: None) -> None:
    program = await sandbox.load(GUEST)
    await sandbox.call(program)
    await stocked(program)
    program.close()
    await until(lambda: not sandbox.engine.live.taken)
    with pytest.raises(UsageError, match="unloaded"):
        await sandbox.call(program)
    # A call that was under way asks for none any more, or the engine would know the plugin for ever.
    sandbox.engine.spares.want(program.stock)
    assert program.stock not in sandbox.engine.spares._stocks


async def test_a_plugin_that_is_closed_while_a_spare_guest_starts_keeps_nothing(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, forever: None
) -> None:
    gate = _gate(monkeypatch)
    program = await sandbox.load(GUEST)
    await sandbox.call(program)
    await gate.reached.wait()
    program.close()
    gate.go.set()
    await idle(sandbox.engine)
    assert len(program.stock) == 0
    assert program.stock not in sandbox.engine.spares._stocks


async def test_they_go_when_the_engine_is_closed() -> None:
    async with open_engine(Bounds(workers=2)) as engine:
        program = await Sandbox(engine).load(GUEST)
        await program.call("run", b"", options())
        await stocked(program)
    assert (len(program.stock), engine.live.taken, engine.memory.taken, engine.in_flight.taken) == (0, 0, 0, 0)


class _Gate:
    """Where spare guests stop before they start."""

    def __init__(self) -> None:
        self.reached, self.go = trio.Event(), trio.Event()


def _gate(monkeypatch: pytest.MonkeyPatch) -> _Gate:
    gate, start = _Gate(), starting.start

    async def gated(guest: Guest) -> bool:
        if guest.call.ahead:
            gate.reached.set()
            await gate.go.wait()
        return await start(guest)

    monkeypatch.setattr(starting, "start", gated)
    return gate


async def test_an_engine_closes_while_a_spare_guest_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = _gate(monkeypatch)
    async with open_engine(Bounds(workers=2)) as engine:
        program = await Sandbox(engine).load(GUEST)
        await program.call("run", b"", options())
        await gate.reached.wait()
        await until(lambda: engine.live.taken == 1)
    assert (len(program.stock), engine.live.taken, engine.memory.taken) == (0, 0, 0)


class _Crowd:
    """A host function that waits until so many calls are inside of it."""

    def __init__(self, size: int) -> None:
        self._missing, self._all = size, trio.Event()

    async def meet(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._all.set()
        await self._all.wait()

    async def gathers(self, sandbox: Sandbox, size: int, pages: int = 0) -> None:
        function = host_function(self.meet)
        text = wat(f'(memory {pages}) (func (export "run") (call $meet))', functions=[function])
        program = await sandbox.load(text, [function])
        async with trio.open_nursery() as nursery:
            for _ in range(size):
                nursery.start_soon(lambda: sandbox.call(program, host_call=100.0, wall=100.0))


async def test_they_make_way_for_whoever_wants_their_places(forever: None) -> None:
    async with opened(Bounds(workers=2, live_guests=6)) as sandbox:
        program = await sandbox.load(GUEST)
        await called_until_stocked(sandbox, program, EACH)
        with trio.fail_after(60):
            await _Crowd(6).gathers(sandbox, 6)
        assert len(program.stock) == 0


async def test_they_make_way_for_whoever_wants_their_memory(forever: None) -> None:
    bound = 200 * PAGE
    async with opened(Bounds(workers=2, guest_memory=bound)) as sandbox:
        program = await sandbox.load(GUEST)
        await called_until_stocked(sandbox, program, EACH)
        # What they have grown by while they started is counted.
        assert sandbox.engine.memory.taken > EACH * 17 * PAGE
        with trio.fail_after(60):
            await _Crowd(2).gathers(sandbox, 2, pages=95)
        assert len(program.stock) == 0


async def test_one_that_is_still_starting_makes_way_too(monkeypatch: pytest.MonkeyPatch, forever: None) -> None:
    gate = _gate(monkeypatch)
    async with opened(Bounds(workers=2, live_guests=4)) as sandbox:
        program = await sandbox.load(GUEST)
        await sandbox.call(program)
        await gate.reached.wait()
        await until(lambda: sandbox.engine.live.taken == 1)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_Crowd(4).gathers, sandbox, 4)
                await until(lambda: bool(sandbox.engine.live.waiting))
                gate.go.set()
        await idle(sandbox.engine)


async def test_none_is_started_where_half_of_what_there_may_be_is_taken(started: list[bool]) -> None:
    async with opened(Bounds(workers=2, live_guests=4)) as sandbox:
        program = await sandbox.load(GUEST)
        inside = 0
        out = trio.Event()

        async def wait() -> None:
            nonlocal inside
            inside += 1
            await out.wait()

        function = host_function(wait)
        other = await sandbox.load(wat('(func (export "run") (call $wait))', functions=[function]), [function])
        await sandbox.call(program)
        await idle(sandbox.engine)
        sandbox.engine.spares.drop()
        await until(lambda: not sandbox.engine.live.taken)
        started.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(sandbox.call, other)
            await until(lambda: inside == 2)
            sandbox.engine.spares.want(program.stock)
            await idle(sandbox.engine)
            assert True not in started
            out.set()
        sandbox.engine.spares.want(program.stock)
        await idle(sandbox.engine)
        assert True in started


async def test_a_configuration_is_never_served_by_a_guest_that_was_started_with_another(sandbox: Sandbox) -> None:
    program = await sandbox.load(GUEST)
    for turn in range(12):
        letter = "abbacc"[turn % 6]
        output = number(await sandbox.call(program, "config", config={"k": letter}))
        assert chr(output) == letter
        if turn % 4:
            await idle(sandbox.engine)
            assert len(program.stock) in (0, EACH)


async def test_limits_are_never_served_by_a_guest_that_was_started_with_others(sandbox: Sandbox) -> None:
    program = await sandbox.load(GUEST)
    refused = (1 << 64) - 1
    for turn in range(12):
        pages = (8, 32, 32)[turn % 3]
        assert number(await sandbox.call(program, "grown", memory=pages * PAGE)) == (refused if pages == 8 else 1)
        await idle(sandbox.engine)


@pytest.mark.parametrize("wrap", [lambda config: config, MappingProxyType])
async def test_a_configuration_that_its_owner_changes_is_seen_as_it_is_at_the_call(sandbox: Sandbox, wrap: Any) -> None:
    program = await sandbox.load(GUEST)
    own = {"k": "a"}
    given = options()
    object.__setattr__(given, "config", wrap(own))
    for letter in "aabba":
        own["k"] = letter
        assert chr(number(await program.call("config", b"", given))) == letter
        await idle(sandbox.engine)
        assert len(program.stock) in (0, EACH)


ASKS = f"""(global $config (mut i64) (i64.const 0))
  (func (export "_initialize") (local $i i32) (local $key i64) (local $value i64)
    {LOOP} {KEY}
    (if (i64.ne (global.get $config) (i64.const 0)) (then (call $ask (i64.const 1)))))
  (func (export "run"))"""
"""Its start calls the host where the configuration has a `k`."""


@pytest.mark.parametrize("quick", [False, True])
async def test_a_plugin_whose_start_calls_the_host_has_none(sandbox: Sandbox, quick: bool, started: list[bool]) -> None:
    asked: list[int] = []
    function = _asked(asked.append, quick)
    program = await sandbox.load(wat(ASKS, ENV, functions=[function]), [function])
    for _ in range(4):
        await sandbox.call(program, config={"k": "x"})
        await idle(sandbox.engine)
    assert started == [False] * 4
    assert asked == [1] * 4
    assert len(program.stock) == 0


def _asked(note: Callable[[int], None], quick: bool) -> Any:
    if quick:

        def ask(number: int) -> None:
            note(number)

        made = host_function(ask, [Value.I64])
        object.__setattr__(made, "quick", True)
        return made

    async def ask_later(number: int) -> None:
        note(number)

    ask_later.__name__ = "ask"
    return host_function(ask_later, [Value.I64])


@pytest.mark.parametrize("quick", [False, True])
async def test_a_start_that_calls_the_host_under_another_configuration_does_so_inside_of_calls_alone(
    sandbox: Sandbox, quick: bool
) -> None:
    asked: list[int] = []
    calls = 0

    def fail(number: int) -> None:
        asked.append(number)
        raise KeyError("a service that is not there")

    function = _asked(fail, quick)
    program = await sandbox.load(wat(ASKS, ENV, functions=[function]), [function])
    for config in ({}, {}, {"k": "1"}, {"k": "1"}, {}, {"k": "2"}):
        if config:
            calls += 1
            with pytest.raises(KeyError, match="a service"):
                await sandbox.call(program, config=config)
        else:
            await sandbox.call(program)
        await idle(sandbox.engine)
        assert len(asked) == calls


@pytest.mark.parametrize("quick", [False, True])
async def test_a_start_ahead_that_wants_the_host_after_all_is_ended_before_the_host_hears_of_it(
    sandbox: Sandbox, quick: bool
) -> None:
    asked: list[int] = []
    function = _asked(asked.append, quick)
    program = await sandbox.load(wat(ASKS, ENV, functions=[function]), [function])
    await sandbox.call(program)
    await stocked(program)
    # As though it had been seen to start without a call of the host.
    program.stock.drop()
    program.stock._options = options({"k": "x"})
    sandbox.engine.spares.want(program.stock)
    await idle(sandbox.engine)
    assert (asked, len(program.stock), program.stock.refused) == ([], 0, True)
    await sandbox.call(program, config={"k": "x"})
    assert asked == [1]


@pytest.mark.parametrize("rights", [WasiRights(clock=True), WasiRights(random=True)])
async def test_a_call_with_rights_has_none(sandbox: Sandbox, rights: WasiRights, started: list[bool]) -> None:
    assert rights != NONE
    program = await sandbox.load(GUEST)
    with_rights = replace(options(), rights=rights)
    for _ in range(3):
        await program.call("run", b"", with_rights)
        await idle(sandbox.engine)
    assert started == [False] * 3
    # A guest that was started for a call without rights serves none that has some.
    await sandbox.call(program)
    await stocked(program)
    started.clear()
    await program.call("run", b"", with_rights)
    assert started == [False]


async def test_a_start_that_traps_under_some_configurations_is_an_error_of_those_calls_alone(sandbox: Sandbox) -> None:
    text = wat(
        f"""(global $config (mut i64) (i64.const 0))
        (func (export "_initialize") (local $i i32) (local $key i64) (local $value i64)
          {LOOP} {KEY} (if (i64.ne (global.get $config) (i64.const 0)) (then unreachable)))
        {gives("(i64.const 7)")}""",
        ENV,
    )
    program = await sandbox.load(text)
    for turn in range(12):
        if turn % 3 == 2:
            error = await sandbox.fails(RejectedError, program, config={"k": "x"})
            assert error.usage.cpu >= spares.SLOW
        else:
            assert number(await sandbox.call(program)) == 7
        if turn % 2:
            await idle(sandbox.engine)


async def test_a_start_that_fails_ahead_is_not_tried_again(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    start, tried = starting.start, []

    async def fails_ahead(guest: Guest) -> bool:
        if guest.call.ahead:
            tried.append(guest)
            raise RejectedError("not this time")
        return await start(guest)

    monkeypatch.setattr(starting, "start", fails_ahead)
    program = await sandbox.load(GUEST)
    for _ in range(4):
        assert number(await sandbox.call(program)) == 1
        await idle(sandbox.engine)
    assert len(tried) == 1


async def test_a_start_ahead_for_which_the_host_was_busy_is_tried_again(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, tried = starting.start, []

    async def busy_once(guest: Guest) -> bool:
        if guest.call.ahead:
            tried.append(guest.call)
            if len(tried) == 1:
                raise BusyError("busy", bound="guest memory")
        return await start(guest)

    monkeypatch.setattr(starting, "start", busy_once)
    program = await sandbox.load(GUEST)
    await sandbox.call(program)
    await idle(sandbox.engine)
    assert len(program.stock) == 0
    await sandbox.call(program)
    await stocked(program)


async def test_a_guest_that_exits_while_it_starts_is_not_started_ahead_for_nothing(
    sandbox: Sandbox, started: list[bool]
) -> None:
    text = wat(
        f"""(memory (export "memory") 1) (func (export "_initialize") (local $i i32)
          {LOOP} (call $proc_exit (i32.const 0))) (func (export "run") unreachable)""",
        wasi="proc_exit",
    )
    program = await sandbox.load(text)
    for _ in range(5):
        assert (await sandbox.call(program)).output == b""
        await idle(sandbox.engine)
    assert started.count(True) <= 1


async def test_a_start_ahead_that_takes_longer_than_the_wall_limit_harms_nobody(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = starting.start

    async def slow_ahead(guest: Guest) -> bool:
        if guest.call.ahead:
            guest.call.clock = WallClock(0.01)
            guest.call.clock.arm()
            await trio.sleep_forever()
        return await start(guest)

    monkeypatch.setattr(starting, "start", slow_ahead)
    program = await sandbox.load(GUEST)
    for _ in range(3):
        assert number(await sandbox.call(program)) == 1
        await idle(sandbox.engine)
    assert program.stock.refused
    assert len(program.stock) == 0


async def test_a_guest_that_cannot_be_made_ahead_harms_nobody(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(FiberProgram, "spare_guest", fail)
    program = await sandbox.load(GUEST)
    for _ in range(3):
        assert number(await sandbox.call(program)) == 1
        await idle(sandbox.engine)


async def test_a_call_of_a_spare_guest_is_cancelled_like_any_other(sandbox: Sandbox) -> None:
    program = await sandbox.load(GUEST)
    for _ in range(3):
        await sandbox.call(program)
        await stocked(program)
        with trio.move_on_after(0.02) as scope:
            await sandbox.call(program, "spin", cpu=60.0)
        assert scope.cancelled_caught
        await sandbox.call(program)
        await stocked(program)
        error = await sandbox.fails(LimitError, program, "spin", cpu=0.05)
        assert error.limit == "cpu"
        await idle(sandbox.engine)
    await nothing_is_held(sandbox.engine)


async def test_a_call_that_is_cancelled_as_it_begins_uses_up_no_spare_guest(sandbox: Sandbox, forever: None) -> None:
    program = await sandbox.load(GUEST)
    await sandbox.call(program)
    await stocked(program)
    with trio.CancelScope() as scope:
        scope.cancel()
        await sandbox.call(program)
    assert scope.cancelled_caught
    assert len(program.stock) == EACH


@pytest.fixture
def alone() -> tuple[Spares, Any]:
    """What starts spare guests, and a plugin that wants none."""

    class Wants:
        missing = refused = False

        def drop(self, older_than: float | None = None) -> None:
            pass

    return Spares(4), Wants()


async def test_whoever_wants_one_while_the_engine_closes_wakes_nobody_twice(alone: tuple[Spares, Any]) -> None:
    made, stock = alone
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        made.want(stock)


async def test_whoever_wants_two_at_once_wakes_nobody_twice(alone: tuple[Spares, Any]) -> None:
    made, stock = alone
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
            made.want(stock)
            made.want(type(stock)())
            made.want(stock)
        await trio.testing.wait_all_tasks_blocked()
        assert not made._wanting
        nursery.cancel_scope.cancel()


async def test_what_a_start_allocated_for_nothing_holds_up_nobody_when_it_is_forgotten(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleared: list[int] = []
    memset = ctypes.memset

    def watched(at: int, byte: int, size: int) -> None:
        cleared.append(size)
        memset(at, byte, size)

    monkeypatch.setattr(ctypes, "memset", watched)
    text = """(global $kept (mut i64) (i64.const 0))
      (func (export "_initialize") (global.set $kept (call $alloc (i64.const {size}))))"""
    for size in (1000, 30_000_000):
        body = text.format(size=size) + gives("(call $load_u64 (global.get $kept))")
        assert number(await sandbox.call(wat(body, ENV))) == 0
        await idle(sandbox.engine)
    assert len(cleared) >= 2
    assert max(cleared) <= 65_536
