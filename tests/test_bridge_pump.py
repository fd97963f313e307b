"""What passes streams on: everything, in order, to all that read, bounded, and waking once for many."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.bridge.channel import HELD_ITEM, ITEMS, MOST_ITEM, SIZE, Channel, Hold
from innkeeper.bridge.pump import HoldFullError, pump


async def write(channel: Channel, items: Sequence[bytes], at_once: int) -> None:
    done = 0
    while done < len(items):
        done += channel.put_all(items[done : done + at_once])
        if done < len(items):
            await channel.changed() if not channel.room[0] else await trio.lowlevel.checkpoint()
    channel.end()


async def read(channel: Channel, limit: int, got: list[bytes]) -> None:
    while not (channel.ended and channel.empty):
        if channel.empty:
            await channel.changed()
            continue
        got += channel.take(limit, SIZE)
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("readers", [0, 1, 3])
@pytest.mark.parametrize(("at_once", "limit"), [(1, ITEMS), (ITEMS, 1), (100, 7)])
async def test_every_reader_gets_all_in_order_and_each_sees_the_end(readers: int, at_once: int, limit: int) -> None:
    items = [b"%d" % number for number in range(3 * ITEMS)]
    source, targets = Channel(), [Channel() for _ in range(readers)]
    got: list[list[bytes]] = [[] for _ in targets]
    seen: list[bytes] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, source, items, at_once)
            for target, kept in zip(targets, got, strict=True):
                nursery.start_soon(read, target, limit, kept)
            await pump(source, targets, seen=seen.extend)
    assert seen == items
    assert got == [items] * readers


async def test_it_goes_as_fast_as_the_slowest_and_holds_nothing_itself() -> None:
    source, quick, slow = Channel(), Channel(), Channel()
    items = [b"%d" % number for number in range(3 * ITEMS)]
    got: list[bytes] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump, source, [quick, slow])
        nursery.start_soon(write, source, items, ITEMS)
        nursery.start_soon(read, quick, ITEMS, got)
        await trio.testing.wait_all_tasks_blocked()
        # Nobody reads from the slow one: it is full, the source is full, and nothing lies between them.
        assert slow.room[0] == 0
        assert source.room[0] == 0
        assert got == items[:ITEMS]
        nursery.cancel_scope.cancel()
    rest = slow.take(ITEMS, SIZE) + source.take(ITEMS, SIZE)
    assert rest == items[: 2 * ITEMS]
    assert not slow.ended


async def test_a_reader_that_closes_its_end_holds_nobody_up_and_one_that_stays_gets_all() -> None:
    source, gone, stays = Channel(), Channel(), Channel()
    items = [b"%d" % number for number in range(3 * ITEMS)]
    got: list[bytes] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump, source, [gone, stays])
            nursery.start_soon(write, source, items, ITEMS)
            nursery.start_soon(read, stays, ITEMS, got)
            await trio.testing.wait_all_tasks_blocked()
            assert len(got) < len(items)
            gone.abandon()
    assert got == items
    assert gone.empty


async def test_items_of_the_largest_size_pass_beside_small_ones() -> None:
    items = [bytes(MOST_ITEM), b"1", b"2", bytes(MOST_ITEM), bytes(MOST_ITEM), b"3", *[bytes(MOST_ITEM)] * 4, b"4"]
    source, target, got = Channel(), Channel(), list[bytes]()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump, source, [target])
            nursery.start_soon(read, target, 2, got)
            for item in items:
                while not source.put(item):
                    await source.changed()
            source.end()
    assert got == items


async def test_what_looks_on_may_stop_it_before_anybody_reads_what_it_saw() -> None:
    source, target = Channel(), Channel()
    source.put_all([b"a", b"b"])
    source.end()

    def refuses(items: Sequence[bytes]) -> None:
        raise ValueError(items)

    with pytest.raises(ValueError, match="b'a'"):
        await pump(source, [target], seen=refuses)
    assert target.empty
    assert not target.ended


async def test_it_asks_for_room_before_it_takes_anything() -> None:
    source, target = Channel(), Channel()
    source.put_all([b"a", b"b", b"c"])
    source.end()
    asked: list[bool] = []

    async def room() -> None:
        asked.append(source.empty)
        await trio.lowlevel.checkpoint()

    await pump(source, [target], room=room, most=2)
    assert asked == [False, False]
    assert target.take(9, SIZE) == [b"a", b"b", b"c"]
    assert target.ended


async def test_a_source_is_woken_once_for_many_items() -> None:
    source, target, batches = Channel(), Channel(), list[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: pump(source, [target], seen=lambda items: batches.append(len(items))))
        await trio.testing.wait_all_tasks_blocked()
        for number in range(500):
            assert source.put(b"%d" % number)
        source.end()
    assert batches == [500]


async def test_what_waits_for_nodes_that_begin_later_is_bounded_for_all_of_them_together() -> None:
    hold = Hold(100 * (1 + HELD_ITEM))
    one, other = Channel(hold), Channel(hold)
    assert one.put_all([b"x"] * 60) == 60
    assert other.put_all([b"x"] * 60) == 40
    assert hold.left == 0
    assert not one.put(b"y")
    assert one.take(10, SIZE) == [b"x"] * 10
    assert hold.left == 10 * (1 + HELD_ITEM)
    other.abandon()
    assert hold.left == 50 * (1 + HELD_ITEM)
    one.take(ITEMS, SIZE)
    assert hold.left == 100 * (1 + HELD_ITEM)


async def test_more_than_is_held_for_a_node_that_has_not_begun_ends_the_pump_and_says_which() -> None:
    source, late, early = Channel(), Channel(Hold(2000 * (1 + HELD_ITEM))), Channel()
    got: list[bytes] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, early, ITEMS, got)
            nursery.start_soon(write, source, [b"x"] * 5 * ITEMS, ITEMS)
            with pytest.raises(HoldFullError) as caught:
                await pump(source, [early, late])
            nursery.cancel_scope.cancel()
    assert caught.value.channel is late
    assert len(late.take(9 * ITEMS, 9 * SIZE)) == 2000


async def test_as_soon_as_a_node_has_begun_its_writer_waits_for_it() -> None:
    hold = Hold(4 * ITEMS * (1 + HELD_ITEM))
    source, late, got = Channel(), Channel(hold), list[bytes]()
    items = [b"%d" % (number % 10) for number in range(9 * ITEMS)]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump, source, [late])
            assert source.put_all(items[:ITEMS]) == ITEMS
            await trio.testing.wait_all_tasks_blocked()
            assert source.put_all(items[ITEMS : 2 * ITEMS]) == ITEMS
            await trio.testing.wait_all_tasks_blocked()
            assert source.empty
            late.begin()
            # It holds twice as much as any other by now: nothing more goes in until that is read.
            assert late.room[0] == 0
            nursery.start_soon(write, source, items[2 * ITEMS :], ITEMS)
            nursery.start_soon(read, late, 100, got)
    assert got == items
    assert hold.left == 4 * ITEMS * (1 + HELD_ITEM)


def test_what_nobody_will_read_is_dropped_as_it_is_put() -> None:
    channel = Channel()
    channel.abandon()
    assert channel.put_all([b"a"] * 5 * ITEMS) == 5 * ITEMS
    assert channel.empty


def test_items_before_one_that_is_too_large_are_put() -> None:
    channel = Channel()
    with pytest.raises(ValueError, match="the most is"):
        channel.put_all([b"a", b"b", bytes(MOST_ITEM + 1), b"c"])
    assert channel.take(9, SIZE) == [b"a", b"b"]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.lists(st.integers(1, 300_000), max_size=40) | st.integers(1, 2000) | st.sampled_from(["begin", "abandon"]),
        max_size=40,
    ),
    st.booleans(),
)
def test_whatever_happens_to_a_channel_its_bounds_and_its_hold_are_true(steps: list[object], held: bool) -> None:
    whole = 3 * SIZE
    hold = Hold(whole)
    channel, inside = Channel(hold if held else None), list[bytes]()
    for step in steps:
        before = channel.room
        if isinstance(step, list):
            items = [bytes(size) for size in step]
            try:
                put = channel.put_all(items)
            except ValueError:
                put = next(index for index, item in enumerate(items) if len(item) > MOST_ITEM)
                put = min(put, len(channel._items) - len(inside))
            if not channel.abandoned:
                inside += items[:put]
                if not channel.held:
                    fits = len(items) <= before[0] and sum(map(len, items)) <= before[1]
                    assert put == len(items) or not fits or max(map(len, items)) > MOST_ITEM
        elif isinstance(step, int):
            taken = channel.take(step, 300_000)
            assert taken == inside[: len(taken)]
            assert taken or not inside
            del inside[: len(taken)]
        elif step == "begin":
            channel.begin()
        else:
            channel.abandon()
            inside.clear()
        assert list(channel._items) == inside
        assert channel._bytes == sum(map(len, inside))
        assert 0 <= hold.left <= whole
        charged = inside[: channel._charged]
        assert whole - hold.left == sum(map(len, charged)) + HELD_ITEM * len(charged)
        if not held:
            assert len(inside) <= ITEMS
            assert channel._bytes <= SIZE
