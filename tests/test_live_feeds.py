"""Runs that many watch: each gets every event once and in order, however slow it is, and one reader serves all."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest
import trio

from innkeeper.errors import BusyError, InternalError
from innkeeper.server.live.board import WAITING, Board
from innkeeper.server.live.feeds import Feeds
from innkeeper.server.live.messages import Message
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.location import Location
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import StoredRun
from innkeeper.storage.run_store import RunStore
from innkeeper.workflow.engine.events import COMPLETE, RunEvent
from innkeeper.workflow.scheduling.dispatch import SqlDispatch
from innkeeper.workflow.scheduling.events import SqlEvents
from innkeeper.workflow.scheduling.seams import Lease
from run_fakes import chunk, event, new_run

NOW = 1_000_000.0


class Running:
    """A run that somebody has, and says things of."""

    def __init__(
        self, db: Database, store: RunStore, events: SqlEvents, feeds: Feeds, lease: Lease, run: StoredRun
    ) -> None:
        self.db = db
        self.store = store
        self.events = events
        self.feeds = feeds
        self.lease = lease
        self.run = run
        self.last = 0

    async def say(self, count: int = 1, *, chunks: bool = False) -> None:
        """So many events more."""
        numbers = range(self.last + 1, self.last + count + 1)
        await self.events.publish(self.lease, [chunk(n) if chunks else event(n, nodeId=f"n{n}") for n in numbers])
        self.last += count

    async def end(self) -> None:
        """It has ended, and says so with one event more."""
        await self.events.end(self.lease, self.run, "complete", NOW, events=[], outputs=b"\x80")
        self.last += 1


@asynccontextmanager
async def running(place: Location, *, chunk_bytes: int = 4 << 20, **bounds: int) -> AsyncIterator[Running]:
    with trio.fail_after(120):
        async with open_database(place) as db, trio.open_nursery() as tasks:
            store, leases = RunStore(db), RunLeases(db)
            events = SqlEvents(db, chunk_bytes=chunk_bytes, poll=0.01)
            dispatch = SqlDispatch(store, leases, "host", seconds=600, now=lambda: NOW)
            assert await store.submit(new_run("r"), NOW) == "accepted"
            [lease] = await dispatch.claim(1, among=["r"])
            found = await store.find("r", NOW)
            assert found is not None
            yield Running(db, store, events, Feeds(events, tasks, **bounds), lease, found)
            tasks.cancel_scope.cancel()


def numbers(told: list[Message]) -> list[int]:
    return [each.seq for each in told if each.seq]


@pytest.mark.parametrize("seed", range(6))
async def test_each_watcher_gets_each_event_once_and_in_order(database_place: Location, seed: int) -> None:
    """Whenever it came, wherever it begins, however slowly it reads: with an outbox of a few events, so that watchers
    fall behind and catch up all the time."""
    chance = random.Random(seed)
    told: dict[int, tuple[int, list[Message]]] = {}
    async with running(database_place, outbox=1500) as it:

        async def watch(name: int, after: int, often: float) -> None:
            own = random.Random(name)
            found: list[Message] = []
            async with it.feeds.watch(it.run, after, who="w") as watcher:
                async for message in watcher:
                    found.append(message)
                    if own.random() < 0.2:
                        found += watcher.ready(own.randrange(4), 4000)
                    if own.random() < often:
                        await trio.sleep(own.choice([0, 0, 0.001, 0.01]))
            told[name] = after, found

        async with trio.open_nursery() as nursery:
            for name in range(20):
                await it.say(chance.randrange(1, 12), chunks=chance.random() < 0.5)
                nursery.start_soon(watch, name, chance.randrange(it.last + 3), chance.choice([0, 0.1, 0.9]))
                if chance.random() < 0.5:
                    await trio.sleep(chance.choice([0, 0.002, 0.02]))
            await it.end()
        for after, found in told.values():
            assert numbers(found) == list(range(after + 1, it.last + 1))
            assert not found or found[-1].ends or after >= it.last
        assert (it.feeds.room.used, it.feeds.watchers, it.feeds.reading) == (0, 0, 0)


async def test_what_all_watch_is_read_and_encoded_once(
    database_place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(database_place) as it:
        encoded: list[int] = []
        message = it.feeds.encoder.message

        async def counting(run: str, item: Any) -> Message:
            encoded.append(item.seq)
            return await message(run, item)

        monkeypatch.setattr(it.feeds.encoder, "message", counting)
        got: list[Message] = []

        async def watch() -> None:
            async with it.feeds.watch(it.run, who="w") as watcher:
                async for each in watcher:
                    got.append(each)

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(watch)
            while it.feeds.sharing < 50:  # noqa: ASYNC110 (nobody is told)
                await trio.sleep(0.005)
            assert it.feeds.reading == 1
            await it.say(20)
            await it.end()
        assert encoded == list(range(1, 22))
        assert len(got) == 50 * 21
        # One text for all of them.
        assert len({id(each.text) for each in got}) == 21


async def test_one_that_reads_nothing_keeps_a_bounded_amount_and_holds_up_nobody(database_place: Location) -> None:
    async with running(database_place, outbox=4000) as it:
        async with it.feeds.watch(it.run, who="w") as stopped, it.feeds.watch(it.run, who="w") as watcher:
            await it.say()
            assert [(await anext(each)).seq for each in (stopped, watcher)] == [1, 1]
            seen = []
            for _ in range(40):
                await it.say(10)
                seen += [(await anext(watcher)).seq for _ in range(10)]
                # Each has its outbox, and one page of a few events that was read.
                assert it.feeds.room.used <= 4 * 4000
            assert seen == list(range(2, 402))
            await it.end()
            # It has lost nothing by it.
            assert [each.seq async for each in stopped] == list(range(2, 403))
        assert it.feeds.room.used == 0


async def test_what_is_not_kept_any_more_is_told_before_what_follows(database_place: Location) -> None:
    async with running(database_place, chunk_bytes=2000) as it:
        for _ in range(40):
            await it.say(10, chunks=True)
            await it.say()
        await it.end()
        async with it.feeds.watch(it.run, who="w") as watcher:
            found = [each async for each in watcher]
        gone = json.loads(found[0].text)
        assert gone["type"] == "EVENTS_GONE"
        first, last = gone["payload"]["first"], gone["payload"]["last"]
        missing = set(range(1, it.last + 1)) - set(numbers(found))
        assert missing
        assert min(missing) >= first == 1
        assert max(missing) <= last < it.last
        # Whoever had all of that is told nothing of it.
        async with it.feeds.watch(it.run, last, who="w") as watcher:
            assert [each.kind async for each in watcher][:1] != ["EVENTS_GONE"]


async def test_there_are_only_so_many_watchers_and_one_user_has_half_of_them(database_place: Location) -> None:
    async with running(database_place, watchers=4) as it:
        async with it.feeds.watch(it.run, who="ada"), it.feeds.watch(it.run, who="ada"):
            with pytest.raises(BusyError):
                async with it.feeds.watch(it.run, who="ada"):
                    pass
            async with it.feeds.watch(it.run, who="bo"), it.feeds.watch(it.run, who="bo"):
                with pytest.raises(BusyError):
                    async with it.feeds.watch(it.run, who="cy"):
                        pass
        async with it.feeds.watch(it.run, who="ada"):
            assert it.feeds.watchers == 1


async def test_a_run_that_is_forgotten_ends_its_watching(database_place: Location) -> None:
    async with running(database_place) as it:
        await it.say(3)
        await it.end()
        async with it.feeds.watch(it.run, who="w") as watcher:
            assert await it.store.forget("r")
            assert [each async for each in watcher] == []


async def test_large_outputs_come_whole_up_to_a_bound_and_then_are_left_out(database_place: Location) -> None:
    async with running(database_place, outbox=2000) as it:
        for size in (100_000, 9 << 20):
            it.last += 1
            values = {"out": msgpack.packb(b"x" * size), "small": b"\x01"}
            await it.events.publish(it.lease, [RunEvent(it.last, COMPLETE, {"nodeId": "n"}, values)])
        await it.end()
        async with it.feeds.watch(it.run, who="w") as watcher:
            whole, cut, _ = [json.loads(each.text) async for each in watcher]
        assert len(whole["payload"]["output"]["out"]) == 133_336
        assert cut["payload"]["output"] == {}
        assert cut["payload"]["outputOmitted"] is True
        assert cut["payload"]["outputBytes"] > 9 << 20


async def test_a_defect_of_a_feed_ends_the_watching_and_neither_waits_nor_goes_round(
    database_place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(database_place) as it, it.feeds.watch(it.run, who="w") as watcher:
        await it.say()
        assert (await anext(watcher)).seq == 1

        async def broken(run: str, item: Any) -> Message:
            raise KeyError(run)

        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                with pytest.raises(InternalError, match="log says more"):
                    await anext(watcher)

            nursery.start_soon(watch)
            while not it.feeds.sharing:  # noqa: ASYNC110 (nobody is told)
                await trio.sleep(0.005)
            monkeypatch.setattr(it.feeds.encoder, "message", broken)
            await it.say()
        assert it.feeds.reading == 0


async def test_the_length_of_the_queue_counts_what_goes_on_and_what_waits(database_place: Location) -> None:
    async with running(database_place) as it:
        board = Board(it.db)
        for name in ("a", "b"):
            await it.store.submit(new_run(name), NOW)
        # One that nobody may take yet waits for nothing.
        await it.store.submit(new_run("c"), NOW, offered=False)
        counts = {"runningExecutions": 1, "pendingExecutions": 2}
        assert json.loads(await board.queue()) == {"type": "SYSTEM_QUEUE_UPDATE", "payload": counts}


async def test_a_socket_that_hears_nothing_keeps_the_newest_of_what_is_told(database_place: Location) -> None:
    async with open_database(database_place) as db:
        board = Board(db)
        with board.hearing() as ear:
            for number in range(3 * WAITING):
                board._tell(b"%d" % number)
            assert [await anext(ear) for _ in range(WAITING)] == [b"%d" % n for n in range(2 * WAITING, 3 * WAITING)]
