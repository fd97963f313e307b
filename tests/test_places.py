"""What calls and guests take of the host's bounds, and what is a guest's time on trio's thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from guests import host_function, opened, options, run, wat
from innkeeper.errors import BusyError
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.capacity import Budget
from innkeeper.sandbox.clock import WallClock
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.inline import LoopBudget
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.limits import DEFAULTS
from innkeeper.sandbox.places import Places
from innkeeper.sandbox.spots import Spot
from innkeeper.sandbox.ticker import TICK

_LIVE, _MEMORY, _CALLS, _BYTES = 3, 100, 2, 50


class _Inn:
    """As much of an engine as places need."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.bounds = Bounds(calls_per_plugin=_CALLS)
        self.live = Budget("live guests", _LIVE, self.lock)
        self.memory = Budget("guest memory", _MEMORY, self.lock)
        self.in_flight = Budget("bytes in flight", _BYTES, self.lock)
        self.one = Spot(1, cast(Any, None))
        self.spares = self
        self.freed = 0

    def spot(self, *_: object) -> Spot:
        return self.one

    def drop(self) -> None:
        pass

    def free(self) -> None:
        self.freed += 1

    def places(self) -> Places:
        return Places(cast(Any, self), cast(Any, None), self.free)


@dataclass
class _Model:
    """What is taken, kept a second time."""

    calls: list[int] = field(default_factory=list)
    outside: list[int] = field(default_factory=list)
    guests: list[tuple[Spot, int]] = field(default_factory=list)

    @property
    def expected(self) -> tuple[int, int, int, int, int]:
        sizes = [size for _, size in self.guests]
        return len(self.calls), sum(self.calls + self.outside), len(sizes), sum(sizes), len(sizes)


_STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "leave", "out", "in", "take", "spare", "give"]), st.integers(0, 60)),
    max_size=40,
)


@given(_STEPS)
def test_whatever_comes_and_goes_nothing_is_taken_twice_or_beyond_its_bound_and_all_of_it_comes_back(
    steps: list[tuple[str, int]],
) -> None:
    inn, model = _Inn(), _Model()
    places = inn.places()
    for step, amount in steps:
        fits = len(model.calls) < _CALLS and sum(model.calls + model.outside) + amount <= _BYTES
        room = len(model.guests) < _LIVE and sum(size for _, size in model.guests) + amount <= _MEMORY
        half = (len(model.guests) + 1) * 2 <= _LIVE and (sum(s for _, s in model.guests) + amount) * 2 <= _MEMORY
        if step == "enter":
            assert places.enter(amount) == fits
            if fits:
                model.calls.append(amount)
        elif step == "leave" and model.calls:
            places.leave(model.calls.pop())
        elif step == "out" and model.calls:
            model.outside.append(model.calls.pop())
            places.step_out()
        elif step == "in" and model.outside:
            model.calls.append(model.outside.pop())
            places.step_in(0)
        elif step in {"take", "spare"}:
            spot = (places.take_guest if step == "take" else places.spare_guest)(amount, DEFAULTS)
            assert (spot is not None) == (room if step == "take" else room and half)
            if spot is not None:
                model.guests.append((spot, amount))
        elif step == "give" and model.guests:
            places.give_guest(*model.guests.pop())
        taken = (inn.in_flight.taken, inn.live.taken, inn.memory.taken, inn.one.taken)
        assert (places.calls.taken, *taken) == model.expected
        assert not inn.freed
    places.release()
    while model.outside:
        places.step_in(0)
        model.calls.append(model.outside.pop())
    while model.calls:
        places.leave(model.calls.pop())
    while model.guests:
        assert not inn.freed
        places.give_guest(*model.guests.pop())
    assert (places.calls.taken, inn.in_flight.taken, inn.live.taken, inn.memory.taken, inn.one.taken) == (0,) * 5
    assert inn.freed == 1


async def test_who_waits_for_room_gets_it_in_the_order_of_arrival_and_one_that_never_fits_is_told_at_once() -> None:
    inn = _Inn()
    places, order = inn.places(), []
    first = [places.take_guest(_MEMORY // _LIVE, DEFAULTS) for _ in range(_LIVE)]
    assert None not in first

    async def wait(number: int) -> None:
        clock = WallClock(10.0)
        await places.wait_for_guest(clock, 1, DEFAULTS)
        order.append(number)
        clock.close(None)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(wait, number)
            await trio.testing.wait_all_tasks_blocked()
        for spot in first:
            assert spot is not None
            places.give_guest(spot, _MEMORY // _LIVE)
            await trio.testing.wait_all_tasks_blocked()
    assert order == [0, 1, 2]
    assert (inn.live.taken, inn.memory.taken) == (3, 3)
    with pytest.raises(BusyError, match="starts with 101 bytes of memory, more than the bound of 100"):
        await places.wait_for_guest(WallClock(10.0), 101, DEFAULTS)
    assert (inn.live.taken, inn.memory.taken) == (3, 3)


async def test_a_call_that_waits_in_vain_leaves_nothing_taken() -> None:
    inn = _Inn()
    places = inn.places()
    assert places.enter(_BYTES)
    for amount in (1, _BYTES + 1):
        clock = WallClock(0.01)
        with pytest.raises((trio.Cancelled, BusyError)) as caught:
            await places.wait_to_enter(clock, amount)
        ended = clock.close(caught.value)
        assert isinstance(ended or caught.value, BusyError)
    assert (places.calls.taken, inn.in_flight.taken) == (1, _BYTES)
    places.release()
    assert not inn.freed
    places.leave(_BYTES)
    assert inn.freed == 1


async def test_what_a_host_function_waits_is_nobodys_time_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    real = LoopBudget.wait

    async def wait(budget: LoopBudget) -> None:
        waits.append(budget)
        await real(budget)

    monkeypatch.setattr(LoopBudget, "wait", wait)

    async def pause() -> None:
        await trio.sleep(0.01)

    async with opened(Bounds(workers=1)) as sandbox:
        function = host_function(pause)
        program = await sandbox.load(wat(run("(call $pause)"), functions=[function]), [function])
        counts = set()
        for _ in range(20):
            waits.clear()
            await program.call("run", b"", options())
            counts.add(len(waits))
    # A machine that is busy may make a slice long; it does not make each of twenty calls wait for another pass.
    assert 0 in counts


async def test_a_guest_that_waited_for_longer_than_a_tick_goes_on_to_its_end_in_one_poll(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    polls = []
    real = Guest.poll

    def poll(guest: Guest, *arguments: Any, **more: Any) -> float:
        polls.append(guest)
        return real(guest, *arguments, **more)

    monkeypatch.setattr(Guest, "poll", poll)

    async def pause() -> None:
        await trio.sleep(3 * TICK)

    async with opened(Bounds(workers=1)) as sandbox:
        function = host_function(pause)
        program = await sandbox.load(wat(run("(call $pause)"), functions=[function]), [function])
        counts = set()
        for _ in range(20):
            polls.clear()
            await program.call("run", b"", options())
            counts.add(len(polls))
    assert min(counts) == 2, "one to the host function, one from there"


@pytest.mark.parametrize("length", [1, 4096, 4097, 60_000])
async def test_what_a_waiting_guest_asked_with_is_in_flight_from_a_page_on(length: int) -> None:
    held = []

    async def ask(data: bytes) -> None:
        held.append((len(data), sandbox.engine.in_flight.taken))
        await trio.lowlevel.checkpoint()
        held.append((len(data), sandbox.engine.in_flight.taken))

    function = HostFunction("ask", ask, (Value.BYTES,), namespace="test")
    async with opened(Bounds(workers=1)) as sandbox:
        body = f"(call $ask (call $alloc (i64.const {length})))"
        program = await sandbox.load(wat(run(body), "alloc", functions=[function]), [function])
        for _ in range(2):
            await program.call("run", b"", options())
        assert held == [(length, length if length > 4096 else 0)] * 4
        assert sandbox.engine.in_flight.taken == 0
