"""Places for nodes: bounded per run and per host, first come first served, and none is ever lost."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import Builder, Listener, execute
from innkeeper.workflow.engine.pacing import SPAN, Pace
from innkeeper.workflow.engine.run import FEW, WorkflowRun, made
from innkeeper.workflow.engine.slots import HostSlots, RunSlots
from innkeeper.workflow.engine.streams import PASSED
from node_fakes import FakeHost, Flow


async def test_nodes_of_all_runs_together_are_bounded_and_runs_take_turns() -> None:
    host, order = FakeHost(), list[str]()
    now = most = 0

    async def meets(inputs: Any, config: Any, run: Any) -> Any:
        nonlocal now, most
        now += 1
        most = max(most, now)
        order.append(run["id"])
        await trio.testing.wait_all_tasks_blocked()
        now -= 1
        return {}

    host.add("Meets", meets)
    places = HostSlots(4)
    build = Builder(host)
    for number in range(30):
        build.add(f"n{number}", "Meets")
    graph = build.graph()
    runs = [WorkflowRun(graph, prompt_id=each, slots=places) for each in "abc"]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for run in runs:
                nursery.start_soon(run.execute)
    assert {run.outcome.status for run in runs} == {"complete"}
    assert most == 4
    # None of them waits for another to end.
    assert {order.index(each) < 30 for each in "abc"} == {True}
    assert places._free == 4


async def test_a_run_that_is_cancelled_while_it_waits_for_a_place_is_forgotten() -> None:
    host = FakeHost()
    begun = trio.Event()

    async def waits(inputs: Any, config: Any, run: Any) -> Any:
        begun.set()
        await trio.sleep_forever()

    host.add("Waits", waits)
    host.add("Quick", lambda i, c, r: {})
    places = HostSlots(1)
    slow = WorkflowRun(Builder(host).add("w", "Waits").graph(), slots=places)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow.execute)
            await begun.wait()
            for _ in range(3):
                with trio.move_on_after(0.001):
                    await WorkflowRun(Builder(host).add("w", "Waits").graph(), slots=places).execute()
            assert places.contended is False
            nursery.cancel_scope.cancel()
    assert (await execute(Builder(host).add("q", "Quick").graph(), host, host_slots=places)).status == "complete"


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 5), st.integers(1, 4), st.lists(st.tuples(st.integers(0, 2), st.sampled_from("taag")), max_size=60)
)
def test_whatever_is_taken_asked_for_and_given_back_the_bounds_hold(most: int, each: int, steps: Any) -> None:
    host = HostSlots(most)
    runs = [RunSlots(host, each) for _ in range(3)]
    held, asked = [0, 0, 0], deque[int]()

    def granted(run: int) -> None:
        asked.remove(run)
        held[run] += 1

    for run, step in steps:
        if step == "t":
            held[run] += runs[run].take()
        elif step == "a":
            asked.append(run)
            runs[run].ask(lambda run=run: granted(run))
        elif held[run]:
            held[run] -= 1
            runs[run].give()
        assert sum(held) <= most
        assert max(held) <= each
        # Nobody waits for what is free.
        assert not any(held[waiting] < each for waiting in asked) or sum(held) == most
    while any(held):
        run = next(index for index, count in enumerate(held) if count)
        held[run] -= 1
        runs[run].give()
    assert not asked
    assert host._free == most


async def test_many_lanes_together_keep_the_thread_no_longer_than_a_pass_may_take() -> None:
    count, now, passes = 0, 0.0, list[int]()
    pace = Pace(lambda: now)

    class Watch(trio.abc.Instrument):
        def after_io_wait(self, timeout: float) -> None:
            nonlocal count
            passes.append(count)
            count = 0

    async def lane() -> None:
        nonlocal count, now
        await pace.enter()
        for _ in range(50):
            count += 1
            now += SPAN / 10
            await pace.breathe()

    watch = Watch()
    trio.lowlevel.add_instrument(watch)
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(lane)
    finally:
        trio.lowlevel.remove_instrument(watch)
    assert sum(passes) + count == 5000
    # Ten nodes of the first lane, one of each other, and none after forty, whoever it is.
    assert max(passes[2:]) <= 41
    assert len(passes) > 100


async def test_a_run_whose_events_nobody_takes_in_time_waits() -> None:
    host = FakeHost()
    host.add("Quick", lambda i, c, r: {"n": 1}, outputs={"n": "INTEGER"})
    chunks = {"dataFlowType": "STRING", "isStream": True}

    async def talks(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        for _ in range(500):
            await flow.write("words", "word")
        return {}

    host.add("Talks", talks, outputs={"words": chunks})

    class Slow(Listener):
        """Takes ten events at a time."""

        taken = 10
        most = 0

        async def room(self) -> None:
            self.most = max(self.most, len(self.events) - self.taken)
            if len(self.events) >= self.taken:
                await trio.testing.wait_all_tasks_blocked()
                self.taken = len(self.events) + 10

    build = Builder(host).add("t", "Talks")
    for number in range(100):
        build.add(f"n{number}", "Quick")
    heard = Slow()
    outcome = await execute(build.graph(), host, listener=heard)
    assert outcome.status == "complete"
    assert len(heard.events) > 700
    # Each of those that ran at the same time said no more than one thing, and how it ended; a stream what it passes on.
    assert heard.most <= 3 * 16 + PASSED
    assert len([event for event in heard.events if event.kind == "NODE_YIELD"]) > 3 * PASSED


async def test_a_run_of_a_large_graph_is_made_in_a_thread_and_runs_like_any_other() -> None:
    host = FakeHost()
    host.add("Quick", lambda i, c, r: {})
    build = Builder(host)
    for number in range(FEW + 1):
        build.add(f"n{number}", "Quick")
    graph = build.graph()
    threads: list[int] = []

    def make() -> WorkflowRun:
        threads.append(threading.get_ident())
        return WorkflowRun(graph)

    outcome = await (await made(graph, make)).execute()
    assert outcome.status == "complete"
    assert threads != [threading.get_ident()]
