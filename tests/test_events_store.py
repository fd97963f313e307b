"""What waits for handlers, row by row: nothing is lost unsaid, nothing grows without bound, nobody sees another's."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable

import msgpack
import pytest
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from innkeeper.storage.database import Database, open_database
from innkeeper.storage.events import EventStore
from innkeeper.storage.events_model import MOST_DATA, OVERHEAD, Delivery, EventBounds, Subscription, TooManyError
from innkeeper.storage.location import Location
from innkeeper.storage.schema import events, events_waiting, subscriptions
from test_storage_schema import HOSTILE, watched

LEASE = 15.0
DAY = 86400.0
BOUNDS = EventBounds(plugin=3, owner=5, events=4, bytes=4 * (OVERHEAD + 100))


class Desk:
    """A store with a clock in hand."""

    def __init__(self, db: Database, bounds: EventBounds = BOUNDS) -> None:
        self.time = 1_000_000.0
        self.db = db
        self.store = EventStore(db, now=lambda: self.time, bounds=bounds)

    async def publish(
        self, topic: str = "t", data: object = None, owner: str = "o", matches: Callable[[str], bool] | None = None
    ) -> tuple[int | None, int]:
        return await self.store.publish(
            owner, "p", topic, msgpack.packb(data), matches=matches or (lambda pattern: pattern == topic)
        )

    async def first(self, holder: str = "me") -> Delivery:
        """Of the only subscription for which something waits."""
        (waiting,) = await self.store.pending()
        found = await self.store.begin(waiting.id, holder, LEASE)
        assert isinstance(found, Delivery)
        return found

    async def take(self) -> tuple[object, int]:
        delivery = await self.first()
        assert await self.store.end(delivery, "me", "taken")
        return msgpack.unpackb(delivery.data), delivery.dropped

    async def one(self, plugin: str = "p", owner: str = "o") -> Subscription:
        (found,) = await self.store.of_plugin(owner, plugin)
        return found

    async def rows(self) -> tuple[int, int, int]:
        """Subscriptions, events, and what waits."""
        counts = [select(func.count()).select_from(table) for table in (subscriptions, events, events_waiting)]
        found = await self.db.read(lambda connection: [connection.scalar(each) for each in counts])
        return found[0] or 0, found[1] or 0, found[2] or 0

    async def check(self) -> None:
        """What is counted is what is there, and no event is kept for nobody."""
        waiting = (
            select(func.count(events_waiting.c.event), func.coalesce(func.sum(events_waiting.c.size), 0))
            .where(events_waiting.c.subscription == subscriptions.c.id)
            .correlate(subscriptions)
        )
        query = select(
            subscriptions.c.waiting,
            waiting.with_only_columns(waiting.selected_columns[0]).scalar_subquery(),
            subscriptions.c.bytes,
            waiting.with_only_columns(waiting.selected_columns[1]).scalar_subquery(),
        )
        for row in await self.db.read(lambda connection: connection.execute(query).all()):
            assert row[0] == row[1]
            assert row[2] == row[3]
        wanted = select(func.count(events_waiting.c.event.distinct()))
        assert (await self.rows())[1] == await self.db.read(lambda connection: connection.scalar(wanted))


@pytest.fixture
async def desk(database_place: Location) -> AsyncIterator[Desk]:
    async with open_database(database_place) as db:
        made = Desk(db)
        yield made
        await made.check()


async def test_events_come_in_the_order_in_which_they_were_published_with_numbers_that_grow(desk: Desk) -> None:
    assert await desk.store.subscribe("o", "p", "t", "h")
    assert not await desk.store.subscribe("o", "p", "t", "h"), "once more is no more"
    ids = [(await desk.publish(data=number))[0] for number in range(3)]
    assert ids == sorted({each for each in ids if each is not None})
    assert [await desk.take() for _ in range(3)] == [(0, 0), (1, 0), (2, 0)]
    assert await desk.rows() == (1, 0, 0)


async def test_an_event_for_nobody_is_not_kept(desk: Desk) -> None:
    await desk.store.subscribe("o", "p", "other", "h")
    assert await desk.publish() == (None, 0)
    assert (await desk.rows())[1:] == (0, 0)


async def test_events_reach_subscriptions_of_their_owner_alone(desk: Desk) -> None:
    for owner in ("one", "two"):
        await desk.store.subscribe(owner, "p", "t", "h")
    assert (await desk.publish(owner="one", matches=lambda _: True))[1] == 1
    assert (await desk.one(owner="one")).waiting == 1
    assert (await desk.one(owner="two")).waiting == 0
    assert await desk.store.unsubscribe("three", "p", "t", "h") is None
    assert await desk.store.owners() == ["one", "two"]


async def test_an_event_is_kept_once_for_many_and_goes_with_the_last_of_them(desk: Desk) -> None:
    for plugin in ("a", "b", "c"):
        await desk.store.subscribe("o", plugin, "t", "h")
    assert (await desk.publish(data=b"x" * 50))[1] == 3
    assert await desk.rows() == (3, 1, 3)
    for left, waiting in enumerate(await desk.store.pending()):
        delivery = await desk.store.begin(waiting.id, "me", LEASE)
        assert isinstance(delivery, Delivery)
        assert (await desk.rows())[1] == 1
        assert await desk.store.end(delivery, "me", "taken")
        assert (await desk.rows())[2] == 2 - left
    assert await desk.rows() == (3, 0, 0)


async def test_beyond_the_queue_the_oldest_go_and_the_next_delivery_says_how_many(desk: Desk) -> None:
    await desk.store.subscribe("o", "p", "t", "h")
    for number in range(10):
        await desk.publish(data=number)
    assert (await desk.one()).waiting == BOUNDS.events
    assert (await desk.rows())[1] == BOUNDS.events, "what went is on no disk either"
    assert [await desk.take() for _ in range(4)] == [(6, 6), (7, 0), (8, 0), (9, 0)]


async def test_large_events_drive_out_as_many_bytes_as_they_need(desk: Desk) -> None:
    await desk.store.subscribe("o", "p", "t", "h")
    for number in range(3):
        await desk.publish(data=number)
    await desk.publish(data=b"x" * 550)
    assert (await desk.one()).dropped == 2
    assert [await desk.take() for _ in range(2)] == [(2, 2), (b"x" * 550, 0)]


async def test_what_is_being_delivered_is_not_driven_out_and_what_goes_meanwhile_is_said_next_time(desk: Desk) -> None:
    await desk.store.subscribe("o", "p", "t", "h")
    await desk.publish(data="first")
    delivery = await desk.first()
    for number in range(10):
        await desk.publish(data=number)
    assert await desk.store.end(delivery, "me", "taken")
    assert await desk.take() == (7, 7)


async def test_a_number_that_no_handler_was_there_to_hear_is_said_again(desk: Desk) -> None:
    await desk.store.subscribe("o", "p", "t", "h")
    for number in range(5):
        await desk.publish(data=number)
    for outcome in ("failed", "put back", "given up"):
        delivery = await desk.first()
        assert delivery.dropped == 1
        assert await desk.store.end(delivery, "me", outcome)
    assert await desk.take() == (2, 1)
    assert await desk.take() == (3, 0)
    assert (await desk.one()).failed == 1


async def test_an_attempt_is_counted_before_it_is_made_and_what_is_put_back_is_none(desk: Desk) -> None:
    await desk.store.subscribe("o", "p", "t", "h")
    await desk.publish()
    delivery = await desk.first()
    assert delivery.attempt == 1
    # As after a process that was killed: nobody ended it.
    assert (await desk.first()).attempt == 2
    assert await desk.store.end(await desk.first(), "me", "put back")
    assert (await desk.first()).attempt == 3


async def test_a_pause_is_kept_with_the_queue(desk: Desk) -> None:
    await desk.store.subscribe("o", "p", "t", "h")
    await desk.publish()
    assert await desk.store.end(await desk.first(), "me", "failed", pause=30)
    assert (await desk.one()).due == desk.time + 30


async def test_two_hosts_never_deliver_to_one_subscription_at_the_same_time(desk: Desk) -> None:
    await desk.store.subscribe("o", "p", "t", "h")
    await desk.publish(data=1)
    await desk.publish(data=2)
    delivery = await desk.first("one")
    assert await desk.store.begin(delivery.subscription, "two", LEASE) == "held"
    desk.time += LEASE - 1
    await desk.store.renew("one", LEASE)
    desk.time += LEASE - 1
    assert await desk.store.begin(delivery.subscription, "two", LEASE) == "held"
    desk.time += 2
    again = await desk.first("two")
    assert (again.event, again.attempt) == (delivery.event, 2)
    assert not await desk.store.end(delivery, "one", "taken"), "one that was late changes nothing"
    assert (await desk.one()).waiting == 2
    assert await desk.store.end(again, "two", "taken")


async def test_a_clock_that_was_set_back_does_not_hold_a_queue_for_ever(desk: Desk) -> None:
    await desk.store.subscribe("o", "p", "t", "h")
    await desk.publish()
    await desk.first("one")
    desk.time -= 1000 * DAY
    assert (await desk.first("two")).attempt == 2


async def test_a_subscription_that_ends_during_a_delivery_leaves_nothing(desk: Desk) -> None:
    await desk.store.subscribe("o", "p", "t", "h")
    await desk.publish()
    await desk.publish()
    delivery = await desk.first()
    assert await desk.store.unsubscribe("o", "p", "t", "h") == 2
    assert await desk.rows() == (0, 0, 0)
    await desk.store.subscribe("o", "p", "t", "h")
    await desk.publish()
    assert not await desk.store.end(delivery, "me", "taken"), "it is another subscription"
    assert (await desk.one()).waiting == 1


async def test_neither_a_plugin_nor_an_owner_has_more_subscriptions_than_they_may(desk: Desk) -> None:
    for number in range(3):
        await desk.store.subscribe("o", "a", f"t{number}", "h")
    with pytest.raises(TooManyError) as caught:
        await desk.store.subscribe("o", "a", "t3", "h")
    assert (caught.value.whose, caught.value.value) == ("plugin", 3)
    assert not await desk.store.subscribe("o", "a", "t2", "h")
    for number in range(2):
        await desk.store.subscribe("o", "b", f"t{number}", "h")
    with pytest.raises(TooManyError) as caught:
        await desk.store.subscribe("o", "c", "t", "h")
    assert (caught.value.whose, caught.value.value) == ("owner", 5)
    assert await desk.store.subscribe("another", "a", "t", "h")


async def test_what_is_too_old_goes_and_is_counted_as_dropped(desk: Desk) -> None:
    await desk.store.subscribe("o", "p", "t", "h")
    await desk.publish(data="old")
    desk.time += 6 * DAY
    await desk.publish(data="new")
    await desk.store.saw({"p"})
    assert await desk.store.sweep(7) == 0
    desk.time += 2 * DAY
    assert await desk.store.sweep(7) == 1
    assert await desk.take() == ("new", 1)


async def test_a_plugin_that_is_gone_keeps_its_subscription_for_some_days(desk: Desk) -> None:
    for plugin in ("here", "gone"):
        await desk.store.subscribe("o", plugin, "t", "h")
    desk.time += 6 * DAY
    await desk.publish()
    await desk.store.saw({"here", "another"})
    assert await desk.store.sweep(7) == 0
    desk.time += 2 * DAY
    assert await desk.store.sweep(7) == 1
    assert await desk.store.of_plugin("o", "gone") == []
    assert (await desk.one("here")).waiting == 1
    assert await desk.rows() == (1, 1, 1)


async def test_data_and_names_out_of_bounds_are_refused(desk: Desk) -> None:
    for topic, data in (("", b""), ("t" * 201, b""), ("t", bytes(MOST_DATA + 1))):
        with pytest.raises(ValueError, match=r"topic|data"):
            await desk.store.publish("o", "p", topic, data, matches=lambda _: True)
    for pattern, handler in (("", "h"), ("t" * 201, "h"), ("t", ""), ("t", "h" * 129), ("t", "h\n")):
        with pytest.raises(ValueError, match=r"pattern|handler"):
            await desk.store.subscribe("o", "p", pattern, handler)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_done_in_whatever_order_the_counts_are_right(desk: Desk, seed: int) -> None:
    # The fixture checks at the end, and this meanwhile.
    chance = random.Random(seed)
    held: list[Delivery] = []
    for step in range(100):
        plugin, topic = chance.choice("ab"), chance.choice("xy")
        match chance.randrange(6):
            case 0:
                await desk.store.subscribe("o", plugin, topic, "h")
            case 1 if chance.random() < 0.3:
                await desk.store.unsubscribe("o", plugin, topic, "h")
            case 2 if held:
                outcome = chance.choice(["taken", "failed", "given up", "put back"])
                await desk.store.end(held.pop(chance.randrange(len(held))), "me", outcome)  # type: ignore[arg-type]
            case 3:
                for waiting in await desk.store.pending():
                    found = await desk.store.begin(waiting.id, "me", LEASE)
                    held += [found] if isinstance(found, Delivery) else []
            case 4 if chance.random() < 0.2:
                desk.time += 4 * DAY
                await desk.store.saw({"a"})
                await desk.store.sweep(7)
            case _:
                await desk.publish(topic, data=b"x" * chance.choice([0, 10, 550]))
        if step % 10 == 0:
            await desk.check()
            for each in (*await desk.store.of_plugin("o", "a"), *await desk.store.of_plugin("o", "b")):
                assert 0 <= each.waiting <= BOUNDS.events
                assert each.dropped >= 0


async def _everything(database: Location, word: str) -> None:
    """Uses each method, with a word wherever a guest or an author chooses one."""
    async with open_database(database) as db:
        desk = Desk(db)
        for plugin in (word, f"{word}2"):
            assert await desk.store.subscribe(word, plugin, word, word)
        for _ in range(6):
            await desk.publish(word, word, owner=word)
        for outcome in ("failed", "put back", "given up", "taken"):
            delivery = await desk.store.begin(1, word, LEASE)
            assert isinstance(delivery, Delivery)
            assert (delivery.topic, msgpack.unpackb(delivery.data)) == (word, word)
            assert await desk.store.end(delivery, word, outcome)
        await desk.store.renew(word, LEASE)
        assert await desk.store.owners() == [word]
        assert (await desk.one(word, word)).pattern == word
        assert await desk.store.unsubscribe(word, word, word, word) == 2
        await desk.store.saw({word, f"{word}2"})
        desk.time += 8 * DAY
        while await desk.store.sweep(7):
            pass
        assert await desk.rows() == (0, 0, 0)


async def test_no_text_of_a_guest_is_part_of_a_statement_and_postgresql_understands_them_all(
    two_places: tuple[Location, Location],
) -> None:
    with watched() as (_, hostile):
        await _everything(two_places[0], HOSTILE)
    with watched() as (built, plain):
        await _everything(two_places[1], "word")
    assert hostile == plain
    assert not any(HOSTILE in statement or "DROP TABLE kv" in statement for statement in hostile)
    texts = {str(each.compile(dialect=postgresql.dialect())) for each in built if not isinstance(each, str)}
    assert len(texts) > 20
    assert not any(isinstance(each, sqlite.Insert | postgresql.Insert) for each in built)
