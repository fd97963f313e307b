"""The service `stream`: chunks between nodes, bounded on the way, and within reach of no other node or run."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_guests import NODE, ask, guest, home, opened, refused, relay, write
from innkeeper.bridge.bridge import bridge_of
from innkeeper.bridge.channel import ITEMS, MOST_ITEM, SIZE, Channel
from innkeeper.bridge.run_streams import RunStreams
from innkeeper.errors import LimitError, RejectedError, UsageError
from innkeeper.plugins.host import open_host as open_bare_host
from innkeeper.plugins.runs import Run, RunContext
from innkeeper.sandbox.limits import Limits

__all__ = ["home"]


def flow(home: Path, *names: str) -> None:
    for name in names:
        write(home, name, relay("stream"), manifest=NODE)


async def test_what_one_node_writes_another_reads_in_order_to_the_end(home: Path) -> None:
    flow(home, "source", "sink")
    run = Run("r")
    first, second = RunContext(run, "a"), RunContext(run, "b")
    async with opened(home) as (host, bridge):
        bridge.streams.connect(run, writer=("a", "words"), reader=("b", "words"))
        for item in ("one", {"two": [2, None]}, b"\xff"):
            answer = await ask(host, "source", "stream_write", run=first, slot="words", item=item)
            assert answer == {"ok": {"written": True}}
        assert await ask(host, "source", "stream_close", run=first, slot="words") == {"ok": None}
        read = await ask(host, "sink", "stream_read", run=second, slot="words")
        assert read == {"ok": {"items": ["one"], "end": False}}
        read = await ask(host, "sink", "stream_read", run=second, slot="words", limit=64)
        assert read == {"ok": {"items": [{"two": [2, None]}, b"\xff"], "end": True}}
        read = await ask(host, "sink", "stream_read", run=second, slot="words")
        assert read == {"ok": {"items": [], "end": True}}
        refused(await ask(host, "source", "stream_write", run=first, slot="words", item="x"), "closed")


async def test_a_program_can_hold_either_end(home: Path) -> None:
    flow(home, "node")
    run = Run("r")
    context = RunContext(run, "n")
    async with opened(home) as (host, bridge):
        inputs = bridge.streams.connect(run, reader=("n", "words"))
        outputs = bridge.streams.connect(run, writer=("n", "words"))
        assert inputs.put(msgpack.packb("in"))
        assert (await ask(host, "node", "stream_read", run=context, slot="words"))["ok"]["items"] == ["in"]
        await ask(host, "node", "stream_write", run=context, slot="words", item="out")
        assert outputs.take(5, 100) == [msgpack.packb("out")]


async def test_a_writer_waits_until_there_is_room_and_a_reader_until_there_is_something(home: Path) -> None:
    flow(home, "source", "sink")
    run = Run("r")
    first, second = RunContext(run, "a"), RunContext(run, "b")
    got: list[Any] = []
    async with opened(home) as (host, bridge):
        bridge.streams.connect(run, writer=("a", "words"), reader=("b", "words"))
        count = 3 * ITEMS

        async def source() -> None:
            for number in range(count):
                answer = await ask(host, "source", "stream_write", run=first, slot="words", item=number)
                assert answer == {"ok": {"written": True}}
            await ask(host, "source", "stream_close", run=first, slot="words")

        async def sink() -> None:
            while True:
                answer = await ask(host, "sink", "stream_read", run=second, slot="words", limit=7)
                got.extend(answer["ok"]["items"])
                if answer["ok"]["end"]:
                    return

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(source)
                nursery.start_soon(sink)
    assert got == list(range(count))


async def test_a_full_channel_holds_what_it_may_and_a_guest_that_does_not_wait_is_told(home: Path) -> None:
    flow(home, "source")
    run = Run("r")
    context = RunContext(run, "a")
    async with opened(home) as (host, bridge):
        channel = bridge.streams.connect(run, writer=("a", "words"))
        large = bytes(MOST_ITEM - 5)
        for expected in (True, True, True, True, False):
            answer = await ask(host, "source", "stream_write", run=context, slot="words", item=large, wait=0.0)
            assert answer == {"ok": {"written": expected}}
        assert len(channel.take(ITEMS, 10 * SIZE)) == 4
        for number in range(ITEMS + 1):
            answer = await ask(host, "source", "stream_write", run=context, slot="words", item=None, wait=0.0)
            assert answer == {"ok": {"written": number < ITEMS}}
        too_large = await ask(host, "source", "stream_write", run=context, slot="words", item=bytes(MOST_ITEM))
        refused(too_large, "invalid")
        many = await ask(host, "source", "stream_write", run=context, slot="words", item=[None] * 3000)
        refused(many, "invalid")


async def test_a_reader_that_does_not_wait_gets_nothing_and_may_ask_again(home: Path) -> None:
    flow(home, "sink")
    run = Run("r")
    context = RunContext(run, "b")
    async with opened(home) as (host, bridge):
        channel = bridge.streams.connect(run, reader=("b", "words"))
        for wait in (0.0, 0.01):
            answer = await ask(host, "sink", "stream_read", run=context, slot="words", wait=wait)
            assert answer == {"ok": {"items": [], "end": False}}
        channel.put(b"\x01")
        answer = await ask(host, "sink", "stream_read", run=context, slot="words", wait=0.0)
        assert answer == {"ok": {"items": [1], "end": False}}
        for wait in (-1.0, float("inf"), float("nan"), 601.0):
            refused(await ask(host, "sink", "stream_read", run=context, slot="words", wait=wait), "invalid")


async def test_nobody_waits_longer_than_a_host_call_may_take_and_who_is_cancelled_has_lost_nothing(home: Path) -> None:
    flow(home, "sink", "source")
    run = Run("r")
    reader, writer = RunContext(run, "b"), RunContext(run, "a")
    async with opened(home) as (host, bridge):
        channel = bridge.streams.connect(run, reader=("b", "words"), writer=("a", "words"))
        data = msgpack.packb({"slot": "words"})
        with pytest.raises(LimitError) as caught:
            await host.plugins["sink"].call("stream_read", data, run=reader, limits=Limits(host_call=0.05))
        assert caught.value.limit == "host_call"
        with trio.move_on_after(0.05) as scope:
            await ask(host, "sink", "stream_read", run=reader, slot="words")
        assert scope.cancelled_caught
        for number in range(ITEMS):
            assert channel.put(msgpack.packb(number))
        with trio.move_on_after(0.05) as scope:
            await ask(host, "source", "stream_write", run=writer, slot="words", item="too late")
        assert scope.cancelled_caught
        read = await ask(host, "sink", "stream_read", run=reader, slot="words", limit=ITEMS)
        assert read["ok"]["items"] == list(range(ITEMS))
        assert channel.empty


async def test_a_write_that_nobody_will_read_is_refused_also_while_it_waits(home: Path) -> None:
    flow(home, "source", "sink")
    run = Run("r")
    first, second = RunContext(run, "a"), RunContext(run, "b")
    answers: list[Any] = []
    async with opened(home) as (host, bridge):
        channel = bridge.streams.connect(run, writer=("a", "words"), reader=("b", "words"))
        for _ in range(ITEMS):
            channel.put(b"\xc0")

        async def waits() -> None:
            answers.append(await ask(host, "source", "stream_write", run=first, slot="words", item="x"))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waits)
                await trio.testing.wait_all_tasks_blocked(0.01)
                await ask(host, "sink", "stream_close", run=second, slot="words", end="read")
        refused(answers[0], "closed")
        refused(await ask(host, "sink", "stream_read", run=second, slot="words"), "closed")


@pytest.mark.parametrize("how", ["release", "end"])
async def test_a_node_or_a_run_that_is_over_leaves_nobody_waiting(home: Path, how: str) -> None:
    flow(home, "sink")
    run = Run("r")
    answers: list[Any] = []
    async with opened(home) as (host, bridge):
        bridge.streams.connect(run, writer=("a", "words"), reader=("b", "words"))

        async def waits() -> None:
            answers.append(await ask(host, "sink", "stream_read", run=RunContext(run, "b"), slot="words"))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waits)
                await trio.testing.wait_all_tasks_blocked(0.01)
                if how == "release":
                    bridge.streams.release(run, "a")
                else:
                    bridge.streams.end(run)
        if how == "release":
            assert answers == [{"ok": {"items": [], "end": True}}]
        else:
            refused(answers[0], "closed")


async def test_streams_of_other_nodes_and_runs_cannot_be_named(home: Path) -> None:
    flow(home, "spy")
    mine, other = Run("same"), Run("same")
    async with opened(home) as (host, bridge):
        secret = bridge.streams.connect(other, reader=("b", "words"), writer=("a", "words"))
        beside = bridge.streams.connect(mine, reader=("b", "words"), writer=("a", "words"))
        secret.put(msgpack.packb("secret"))
        beside.put(msgpack.packb("secret"))
        spies = (None, RunContext(mine), RunContext(mine, "c"), RunContext(mine, "B"), RunContext(Run("same"), "b"))
        for context in spies:
            for slot in ("words", "b.words", "../b/words", "b", "*"):
                refused(await ask(host, "spy", "stream_read", run=context, slot=slot, wait=0.0), "not_found")
                refused(await ask(host, "spy", "stream_write", run=context, slot=slot, item="x"), "not_found")
                for end in ("read", "write"):
                    refused(await ask(host, "spy", "stream_close", run=context, slot=slot, end=end), "not_found")
        # The writer cannot read back, nor the reader write.
        refused(await ask(host, "spy", "stream_read", run=RunContext(mine, "a"), slot="words"), "not_found")
        refused(await ask(host, "spy", "stream_write", run=RunContext(mine, "b"), slot="words", item="x"), "not_found")
        assert not secret.empty
        assert not secret.ended
        assert not beside.abandoned


async def test_a_plugin_without_a_node_that_has_a_stream_cannot_import_it(home: Path) -> None:
    write(home, "plain", relay("stream"))
    write(home, "node", relay("stream"), manifest=NODE.replace(", isStream = true", ""))
    write(home, "output", relay("stream"), manifest=NODE.replace(", isStream = true", "", 1))
    async with opened(home) as (host, _):
        for name in ("plain", "node"):
            with pytest.raises(RejectedError, match="innkeeper_stream_"):
                await host.plugins[name].call("stream_read")
        refused(await ask(host, "output", "stream_read", slot="words"), "not_found")


GREEDY = """(func (export "stream_read") (local $b i64)
  (loop (local.set $b (call $innkeeper_stream_write (call $input_offset))) (br 0)))"""


async def test_a_node_that_writes_for_ever_ends_at_its_limits_and_fills_no_more_than_the_channel(home: Path) -> None:
    write(home, "greedy", guest(GREEDY, "stream"), manifest=NODE)
    run = Run("r")
    async with opened(home) as (host, bridge):
        channel = bridge.streams.connect(run, writer=("a", "words"))
        data = msgpack.packb({"slot": "words", "item": bytes(500), "wait": 0.0})
        limits = Limits(host_calls=2 * ITEMS)
        with pytest.raises(LimitError) as caught:
            await host.plugins["greedy"].call("stream_read", data, run=RunContext(run, "a"), limits=limits)
        assert caught.value.limit == "host_calls"
        assert len(channel.take(10_000, 1 << 40)) == ITEMS


async def test_a_slot_has_one_channel_and_all_of_them_end_with_the_run() -> None:
    streams, run = RunStreams(), Run("r")
    streams.connect(run, writer=("a", "x"), reader=("b", "x"))
    for more in ({"writer": ("a", "x")}, {"reader": ("b", "x")}, {"writer": ("c", "x"), "reader": ("b", "x")}):
        with pytest.raises(UsageError, match="connected already"):
            streams.connect(run, **more)
    assert streams.channel(run, "c", "x", "write") is None
    streams.connect(run, writer=("b", "x"), reader=("a", "x"))
    del run
    gc.collect()
    assert len(streams._runs) == 0


async def test_a_host_without_services_has_no_streams_to_connect(home: Path) -> None:
    async with open_bare_host(home, watch=False) as host:
        with pytest.raises(UsageError, match="without services"):
            bridge_of(host)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.binary(min_size=1, max_size=40_000) | st.integers(1, 70), max_size=60))
def test_whatever_is_put_and_taken_comes_out_once_and_in_order_and_within_the_bounds(steps: list[Any]) -> None:
    channel, inside = Channel(), list[bytes]()
    for step in steps:
        if isinstance(step, bytes):
            room = len(inside) < ITEMS and sum(map(len, inside)) + len(step) <= SIZE
            assert channel.put(step) == room
            inside += [step] if room else []
        else:
            taken = channel.take(step, 8192)
            assert taken == inside[: len(taken)]
            assert len(taken) == 1 or sum(map(len, taken)) <= 8192 or not inside
            del inside[: len(taken)]
        assert channel.empty == (not inside)
    with pytest.raises(ValueError, match="the most is"):
        channel.put(bytes(MOST_ITEM + 1))
