"""Bases that change are activated as they are now; nothing of an activation keeps trio from its other tasks."""

from __future__ import annotations

import time

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from activations import Words, active, ask, base, item
from innkeeper.knowledge.activation.base import compile_base
from innkeeper.knowledge.activation.interface import Message, Request
from innkeeper.knowledge.activation.live import LiveActivation
from innkeeper.knowledge.activation.measure import Letters, made_up, measure_activation
from innkeeper.knowledge.activation.native import activate


async def test_a_change_is_active_at_once_and_others_keep_what_they_had() -> None:
    live = LiveActivation("lore")
    live.replace([item("a", "x"), item("b", "y")])
    before = live.compiled()
    assert live.compiled() is before
    live.apply([item("b", "x", text="new"), item("c", "x")], ["a", "nobody"])
    assert active(await ask([live.compiled()], "x")) == ["b", "c"]
    assert active(await ask([before], "x")) == ["a"]


STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["x", "y", "xy", "z", None]), st.sampled_from(["w", "w w", "{{v}}"])),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(steps=STEPS)
def test_whatever_changes_it_is_as_if_made_anew(steps: list[tuple[int, str | None, str]]) -> None:
    live, items = LiveActivation("lore"), {}
    live.replace([])

    async def check() -> None:
        for number, key, text in steps:
            id = f"e{number}"
            if key is None:
                live.apply([], [id])
                items.pop(id, None)
            else:
                made = item(id, key, text=text, st={"matchWholeWords": number % 2 == 0})
                live.apply([made])
                items[id] = made
            request = Request(messages=[], injected=["x xyz"], seed=1, budget=4)
            now = await activate([live.compiled()], request, counter=Words())
            anew = await activate([compile_base("lore", list(items.values()))], request, counter=Words())
            assert now.result == anew.result

    trio.run(check)


async def test_bases_that_are_named_twice_count_once() -> None:
    one = base(item("a", "x"))
    found = await ask([one, one], "x")
    assert active(found) == ["a"]
    assert any("left out" in note for note in found.result.notes)


async def test_an_activation_leaves_trio_to_its_other_tasks() -> None:
    items, messages = made_up(2000, 8000)
    compiled = await trio.to_thread.run_sync(compile_base, "lore", items)
    request = Request(messages=messages, scan_depth=20, budget=2000, seed=1)
    own = 0.0

    class Timed(trio.abc.Instrument):
        since = float("inf")

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.since = time.thread_time()

        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            nonlocal own
            own = max(own, time.thread_time() - self.since)

    timed = Timed()
    trio.lowlevel.add_instrument(timed)
    try:
        found = await activate([compiled], request, counter=Letters())
    finally:
        trio.lowlevel.remove_instrument(timed)
    assert found.result.active
    # Processor time of trio's own thread in one step: a loaded machine makes it no longer.
    assert own < 0.005


def test_the_measure_measures() -> None:
    found = measure_activation(200, 800, rounds=2)
    assert (found.entries, found.messages) == (200, 20)
    assert found.active > 0
    assert found.median >= found.least > 0


async def test_a_caller_that_is_cancelled_does_not_wait_for_the_rest() -> None:
    class Cancelling(Words):
        def __init__(self, scope: trio.CancelScope) -> None:
            self.scope = scope
            self.counted = 0

        def count(self, text: str) -> int:
            self.counted += 1
            if self.counted == 3:
                trio.from_thread.run_sync(self.scope.cancel)
            return 1

    compiled = base(*(item(f"e{number}", "x") for number in range(500)))
    with trio.CancelScope() as scope:
        counter = Cancelling(scope)
        await activate([compiled], Request(messages=[Message("x")]), counter=counter)
    assert scope.cancelled_caught
    assert counter.counted == 3
