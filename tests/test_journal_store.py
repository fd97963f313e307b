"""Journals on disk: apart by owner, for some days and in some amount, and gone with their owner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from clocks import DAY, Clock
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.journals import JournalStore, NewJournal
from innkeeper.storage.location import Location


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def append(store: JournalStore, owner: str = "ada", body: bytes = b"body", **more: Any) -> int | None:
    values = {"plugin": "notes", "digest": "0" * 64, "function": "run", "outcome": "output", **more}
    (number,) = await store.append(owner, [NewJournal(at=values.pop("at", Clock.now), body=body, **values)])
    return number


async def test_what_was_kept_is_found_again_newest_first(db: Database, clock: Clock) -> None:
    store = JournalStore(db, now=clock)
    numbers = [await append(store, body=bytes([n]), function=f"f{n}") for n in range(5)]
    assert [head.id for head in await store.list("ada")] == numbers[::-1]
    assert [head.function for head in await store.list("ada", before=numbers[3], limit=2)] == ["f2", "f1"]
    assert numbers[2] is not None
    found = await store.get("ada", numbers[2])
    assert found is not None
    assert found[0].size == 1
    assert found[1] == b"\2"
    assert await store.usage("ada") == (5, 5)


async def test_owners_neither_see_nor_delete_what_is_others(db: Database, clock: Clock) -> None:
    store = JournalStore(db, now=clock)
    number = await append(store, "ada")
    assert number is not None
    assert await store.list("bob") == []
    assert await store.get("bob", number) is None
    assert not await store.delete("bob", number)
    assert await store.erase("bob") == 0
    assert await store.get("ada", number) is not None
    assert await store.delete("ada", number)
    assert not await store.delete("ada", number)
    assert await store.usage("ada") == (0, 0)


async def test_an_owners_journals_are_erased_with_the_owner_however_many_there_are(db: Database, clock: Clock) -> None:
    store = JournalStore(db, now=clock)
    async with trio.open_nursery() as nursery:
        for _ in range(600):
            nursery.start_soon(append, store, "ada")
    await append(store, "bob")
    assert await store.erase("ada") == 600
    assert await store.usage("ada") == (0, 0)
    assert await store.list("ada") == []
    assert await store.usage("bob") == (1, 4)


async def test_beyond_the_amount_the_oldest_of_the_same_owner_go_first(db: Database, clock: Clock) -> None:
    store = JournalStore(db, now=clock, total_bytes=100)
    await append(store, "bob", b"x" * 90)
    numbers = [await append(store, body=b"x" * 30) for _ in range(5)]
    assert [head.id for head in await store.list("ada")] == numbers[:1:-1]
    assert await store.usage("ada") == (3, 90)
    assert await append(store, body=b"x" * 101) is None
    assert await store.usage("ada") == (3, 90)
    last = await append(store, body=b"x" * 100)
    assert [head.id for head in await store.list("ada")] == [last]
    assert await store.usage("bob") == (1, 90)


async def test_one_large_journal_makes_room_among_many_small_ones_in_steps(db: Database, clock: Clock) -> None:
    store = JournalStore(db, now=clock, total_bytes=700)
    async with trio.open_nursery() as nursery:
        for _ in range(700):
            nursery.start_soon(append, store, "ada", b"x")
    assert await append(store, body=b"x" * 699) is not None
    assert await store.usage("ada") == (2, 700)


async def test_several_at_once_are_as_one_after_the_other(db: Database, clock: Clock) -> None:
    store = JournalStore(db, now=clock, total_bytes=100)
    sizes = [40, 40, 40, 101, 100, 1, 99]
    new = [NewJournal(clock.now, "notes", "0" * 64, "run", "output", b"x" * size) for size in sizes]
    numbers = await store.append("ada", new)
    assert [number is None for number in numbers] == [size > 100 for size in sizes]
    assert [head.size for head in await store.list("ada")] == [99, 1]
    assert await store.usage("ada") == (2, 100)


async def test_what_is_too_old_is_never_given_and_goes_with_later_ones(db: Database, clock: Clock) -> None:
    store = JournalStore(db, now=clock, days=30)
    old = await append(store, at=clock.now)
    assert old is not None
    await append(store, "bob", at=clock.now)
    clock.now += 30 * DAY + 1
    assert await store.list("ada") == []
    assert await store.get("ada", old) is None
    assert await store.usage("ada") == (1, 4)
    await append(store, "eve", at=clock.now)
    assert await store.usage("ada") == await store.usage("bob") == (0, 0)
    assert await store.sweep() == 0


async def test_a_number_is_never_given_twice(db: Database, clock: Clock) -> None:
    store = JournalStore(db, now=clock)
    number = await append(store)
    assert number is not None
    await store.erase("ada")
    assert await append(store) == number + 1


async def test_arguments_out_of_bounds_are_refused(db: Database, clock: Clock) -> None:
    store = JournalStore(db, now=clock)
    for number in (-1, 1 << 63):
        with pytest.raises(ValueError, match="number of a journal"):
            await store.get("ada", number)
        with pytest.raises(ValueError, match="number of a journal"):
            await store.delete("ada", number)
    for limit in (0, 1001):
        with pytest.raises(ValueError, match="limit"):
            await store.list("ada", limit=limit)
    with pytest.raises(ValueError, match="owner"):
        await append(store, "")
    with pytest.raises(ValueError, match="days"):
        JournalStore(db, days=0)
