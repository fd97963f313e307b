"""Many chunks at once: written and read in one call each, as they were, within the bounds of single ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_guests import NODE, ask, home, opened, refused, relay, write
from innkeeper.bridge.channel import ITEMS, MOST_ITEM, SIZE
from innkeeper.bridge.codec import unpack
from innkeeper.bridge.packed import Packed, array_of, items_of, unpack_but
from innkeeper.bridge.quota import Rate, TokenBucket
from innkeeper.bridge.scan import DataBounds, MalformedError, scan_msgpack
from innkeeper.bridge.stream import MOST_READ
from innkeeper.plugins.runs import Run, RunContext
from innkeeper.sandbox.limits import DEFAULTS

__all__ = ["home"]

RUN = Run("r")
A, B = RunContext(RUN, "a"), RunContext(RUN, "b")


def flow(home: Path, *names: str) -> None:
    for name in names:
        write(home, name, relay("stream"), manifest=NODE)


async def test_what_is_written_at_once_is_read_in_order_and_as_it_was(home: Path) -> None:
    flow(home, "source", "sink")
    items = ["one", {"two": [2, None, {"é": 1.5}]}, b"\xff", [], "", -(2**63), 2**64 - 1]
    async with opened(home) as (host, bridge):
        bridge.streams.connect(RUN, writer=("a", "words"), reader=("b", "words"))
        answer = await ask(host, "source", "stream_write_all", run=A, slot="words", items=items)
        assert answer == {"ok": {"written": 7}}
        assert await ask(host, "source", "stream_write_all", run=A, slot="words", items=[]) == {"ok": {"written": 0}}
        read = await ask(host, "sink", "stream_read", run=B, slot="words", limit=ITEMS)
        assert read == {"ok": {"items": items, "end": False}}


async def test_the_bytes_of_an_item_stay_what_its_writer_made_them(home: Path) -> None:
    flow(home, "source", "sink")
    # A float of four bytes and an integer that is longer than it need be.
    item = b"\x92\xca\x3f\x80\x00\x00\xd3\x00\x00\x00\x00\x00\x00\x00\x01"
    async with opened(home) as (host, bridge):
        channel = bridge.streams.connect(RUN, writer=("a", "words"))
        for name, value in (("item", item), ("items", b"\x91" + item)):
            data = b"\x82" + msgpack.packb("slot") + msgpack.packb("words") + msgpack.packb(name) + value
            function = "stream_write" if name == "item" else "stream_write_all"
            await host.plugins["source"].call(function, data, run=A)
        assert channel.take(9, SIZE) == [item, item]


async def test_all_are_written_in_the_end_though_there_is_room_for_some_alone(home: Path) -> None:
    flow(home, "source")
    got: list[bytes] = []
    answers: list[Any] = []
    items = list(range(ITEMS))
    async with opened(home) as (host, bridge):
        channel = bridge.streams.connect(RUN, writer=("a", "words"))

        async def source() -> None:
            for _ in range(3):
                answers.append(await ask(host, "source", "stream_write_all", run=A, slot="words", items=items))
            channel.end()

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(source)
                while not (channel.ended and channel.empty):
                    if channel.empty:
                        await channel.changed()
                    got += channel.take(7, SIZE)
                    await trio.lowlevel.checkpoint()
    assert answers == [{"ok": {"written": ITEMS}}] * 3
    assert [msgpack.unpackb(item) for item in got] == items * 3


async def test_who_does_not_wait_is_told_how_many_there_was_room_for(home: Path) -> None:
    flow(home, "source")
    async with opened(home) as (host, bridge):
        channel = bridge.streams.connect(RUN, writer=("a", "words"))
        for expected in (ITEMS - 1, 1, 0):
            answer = await ask(
                host, "source", "stream_write_all", run=A, slot="words", items=[None] * (ITEMS - 1), wait=0.0
            )
            assert answer == {"ok": {"written": expected}}
        answer = await ask(host, "source", "stream_write_all", run=A, slot="words", items=[1, 2], wait=0.01)
        assert answer == {"ok": {"written": 0}}
        assert len(channel.take(2 * ITEMS, SIZE)) == ITEMS


async def test_a_writer_whose_reader_leaves_learns_how_many_were_written(home: Path) -> None:
    flow(home, "source")
    answers: list[Any] = []
    async with opened(home) as (host, bridge):
        channel = bridge.streams.connect(RUN, writer=("a", "words"))
        channel.put_all([b"\xc0"] * (ITEMS - 3))

        async def waits() -> None:
            answers.append(await ask(host, "source", "stream_write_all", run=A, slot="words", items=[0] * 10))

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waits)
                while channel.room[0]:
                    await channel.changed()
                channel.abandon()
        assert refused(answers[0], "closed")["written"] == 3
        refused(await ask(host, "source", "stream_write_all", run=A, slot="words", items=[0]), "closed")


@pytest.mark.parametrize(
    "items",
    [
        None,
        "text",
        {"a": 1},
        7,
        [0] * (ITEMS + 1),
        [[None]] * 1010,
        [[None] * 1999],
        [bytes(MOST_ITEM // 2)] * 3,
        [bytes(MOST_ITEM)],
        [{"a": [1]}] * 500,
    ],
)
async def test_what_is_no_list_or_too_much_of_one_is_refused_and_nothing_of_it_is_written(
    home: Path, items: object
) -> None:
    flow(home, "source")
    async with opened(home) as (host, bridge):
        channel = bridge.streams.connect(RUN, writer=("a", "words"))
        answer = await ask(host, "source", "stream_write_all", run=A, slot="words", items=items)
        refused(answer, "invalid")
        refused(await ask(host, "source", "stream_write_all", run=A, slot="words"), "invalid")
        assert channel.empty


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x91\xc1",
        b"\x91\xc7\x01\x01\x01",
        b"\x91\xd4\x00\x00",
        b"\x91\xa1\xff",
        b"\x91\x81\x01\x02",
        b"\x91" * 40 + b"\x01",
        b"\x92\x01",
        b"\x91\x01\x01",
    ],
)
@pytest.mark.parametrize("name", ["item", "items"])
async def test_bytes_that_are_no_plain_data_reach_no_channel(home: Path, hostile: bytes, name: str) -> None:
    flow(home, "source")
    async with opened(home) as (host, bridge):
        channel = bridge.streams.connect(RUN, writer=("a", "words"))
        data = b"\x82" + msgpack.packb("slot") + msgpack.packb("words") + msgpack.packb(name) + hostile
        function = "stream_write" if name == "item" else "stream_write_all"
        result = await host.plugins["source"].call(function, data, run=A)
        refused(msgpack.unpackb(result.output), "invalid")
        assert channel.empty


async def test_several_items_have_so_many_bytes_and_a_single_one_any(home: Path) -> None:
    flow(home, "sink")
    async with opened(home) as (host, bridge):
        channel = bridge.streams.connect(RUN, reader=("b", "words"))
        large, small = msgpack.packb(bytes(MOST_ITEM - 5)), msgpack.packb(bytes(MOST_READ // 4))
        assert channel.put_all([large, *[small] * 5]) == 6
        counts = []
        for _ in range(3):
            answer = await ask(host, "sink", "stream_read", run=B, slot="words", limit=ITEMS)
            counts.append(len(answer["ok"]["items"]))
        assert counts == [1, 3, 2]


async def test_a_guest_that_asks_too_often_waits_for_its_turn_and_is_never_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innkeeper.bridge.stream.RATE", Rate(per_second=200, burst=5, waits=True))
    flow(home, "source")
    async with opened(home) as (host, bridge):
        channel = bridge.streams.connect(RUN, writer=("a", "words"))
        begun = trio.current_time()
        with trio.fail_after(60):
            for number in range(25):
                answer = await ask(host, "source", "stream_write", run=A, slot="words", item=number)
                assert answer == {"ok": {"written": True}}
        assert trio.current_time() - begun > 0.05
        assert len(channel.take(ITEMS, SIZE)) == 25


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50), st.integers(1, 20), st.floats(0.5, 100))
def test_turns_come_no_faster_than_the_rate_and_in_order(gaps: list[float], burst: int, per_second: float) -> None:
    bucket, now, turns = TokenBucket(Rate(per_second, burst, waits=True), 0.0), 0.0, list[float]()
    for gap in gaps:
        now += gap / per_second
        turns.append(now + bucket.turn(now))
    assert turns == sorted(turns)
    for index in range(len(turns) - burst):
        # In any stretch of time as many as the burst, and what came in meanwhile.
        spell = turns[index + burst] - turns[index]
        assert spell * per_second > 1 - 1e-6


async def test_a_plugin_with_streams_has_time_to_wait_and_calls_for_each_chunk(home: Path) -> None:
    flow(home, "node", "own")
    path = home / "manifests" / "own.toml"
    path.write_text(path.read_text() + '[limits]\nhost_call = "20s"\n')
    write(home, "plain", b"\0asm\1\0\0\0")
    async with opened(home) as (host, _):
        limits = {name: host.plugins[name].limits for name in ("node", "own", "plain")}
        assert (limits["node"].wall, limits["node"].host_call, limits["node"].host_calls) == (600.0, 600.0, 100_000)
        assert (limits["own"].host_call, limits["own"].host_calls) == (20.0, 100_000)
        assert limits["plain"] == DEFAULTS


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=40) | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.lists(PLAIN, max_size=20))
def test_items_are_taken_apart_and_put_together_to_the_same_bytes(values: list[Any]) -> None:
    packed = msgpack.packb(values)
    items = items_of(Packed(packed))
    assert items == [msgpack.packb(value) for value in values]
    assert array_of(items) == packed


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(["slot", "items", "wait"]), PLAIN) | PLAIN)
def test_an_argument_that_is_not_built_has_the_bytes_that_were_given(value: Any) -> None:
    data = msgpack.packb(value)
    bounds = DataBounds()
    found = unpack_but(data, bounds, "items")
    if isinstance(found, dict) and "items" in found:
        assert isinstance(found["items"], Packed)
        assert bytes(found["items"]) == msgpack.packb(value["items"])
        found["items"] = msgpack.unpackb(found["items"])
    assert msgpack.packb(found) == msgpack.packb(unpack(data, scan_msgpack(data, bounds).large))


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_are_plain_data(data: bytes) -> None:
    bounds = DataBounds(size=1000, depth=5, elements=20)
    try:
        scan_msgpack(data, bounds)
    except MalformedError:
        with pytest.raises(MalformedError):
            unpack_but(data, bounds, "items")
    else:
        unpack_but(data, bounds, "items")
