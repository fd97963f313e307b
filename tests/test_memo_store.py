"""Remembered results on disk: apart by owner, for some days and in some amount, and gone with their owner."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from sqlalchemy import delete, func, select, update

from clocks import DAY, Clock
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.location import Location
from innkeeper.storage.memo import ROW, MemoStore
from innkeeper.storage.schema import memo, memo_usage


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def counted(db: Database, owner: str) -> tuple[int, int]:
    """What the table really holds of an owner."""
    query = select(func.count(), func.coalesce(func.sum(memo.c.size), 0)).where(memo.c.owner == owner)
    row = await db.read(lambda connection: connection.execute(query).one())
    return int(row[0]), int(row[1])


async def test_what_was_kept_is_found_again_by_its_owner_alone(db: Database, clock: Clock) -> None:
    store = MemoStore(db, now=clock)
    assert await store.put("ada", {"k": b"hers", "l": b"more"}) == 2
    assert await store.put("bob", {"k": b"his"}) == 1
    assert await store.get("ada", "k") == (b"hers", False)
    assert await store.get("bob", "k") == (b"his", False)
    assert await store.get("bob", "l") is None
    assert await store.usage("ada") == await counted(db, "ada") == (2, 8 + 2 * ROW)


async def test_a_result_takes_the_place_of_the_one_with_its_key(db: Database, clock: Clock) -> None:
    store = MemoStore(db, now=clock)
    await store.put("ada", {"k": b"damaged"})
    await store.put("ada", {"k": b"whole"})
    assert await store.get("ada", "k") == (b"whole", False)
    assert await store.usage("ada") == await counted(db, "ada") == (1, 5 + ROW)


async def test_an_erased_owner_has_nothing_left_and_the_others_all(db: Database, clock: Clock) -> None:
    store = MemoStore(db, now=clock)
    for batch in range(3):
        await store.put("ada", {f"k{batch}-{n}": b"x" for n in range(200)})
    await store.put("bob", {"k": b"his"})
    assert await store.erase("ada") == 600
    assert await store.usage("ada") == await counted(db, "ada") == (0, 0)
    assert await store.get("bob", "k") == (b"his", False)
    assert await store.usage("bob") == (1, 3 + ROW)


async def test_what_was_used_longest_ago_goes_first(db: Database, clock: Clock) -> None:
    store = MemoStore(db, now=clock, total_bytes=3 * (ROW + 10))
    for key in ("a", "b", "c"):
        await store.put("ada", {key: bytes(10)})
        clock.now += 1
    await store.touch("ada", ["a", "not there"])
    clock.now += 1
    await store.put("ada", {"d": bytes(10)})
    assert [key for key in "abcd" if await store.get("ada", key)] == ["a", "c", "d"]
    assert await store.usage("ada") == await counted(db, "ada") == (3, 3 * (ROW + 10))


async def test_a_result_that_alone_is_too_much_is_not_kept_and_pushes_nothing_out(db: Database, clock: Clock) -> None:
    store = MemoStore(db, now=clock, total_bytes=ROW + 100)
    await store.put("ada", {"a": bytes(100)})
    assert await store.put("ada", {"b": bytes(101)}) == 0
    assert await store.get("ada", "a") is not None


async def test_many_small_results_make_room_for_a_large_one_in_steps(db: Database, clock: Clock) -> None:
    store = MemoStore(db, now=clock, total_bytes=600 * (ROW + 1))
    for batch in range(3):
        await store.put("ada", {f"k{batch}-{n}": b"x" for n in range(200)})
    assert await store.put("ada", {"large": bytes(599 * (ROW + 1))}) == 1
    assert await store.get("ada", "large") is not None
    assert await store.usage("ada") == await counted(db, "ada")


async def test_what_is_too_old_is_not_given_and_goes_with_the_next_result(db: Database, clock: Clock) -> None:
    store = MemoStore(db, now=clock, days=2)
    await store.put("ada", {"old": b"x"})
    clock.now += 2 * DAY + 1
    assert await store.get("ada", "old") is None
    await store.put("bob", {"new": b"y"})
    assert await store.usage("ada") == await counted(db, "ada") == (0, 0)
    assert await store.get("bob", "new") is not None


async def test_a_use_is_to_be_written_down_once_an_hour(db: Database, clock: Clock) -> None:
    store = MemoStore(db, now=clock)
    await store.put("ada", {"k": b"x"})
    clock.now += 3601
    assert await store.get("ada", "k") == (b"x", True)
    await store.touch("ada", ["k"])
    assert await store.get("ada", "k") == (b"x", False)


@pytest.mark.parametrize("more", [{"days": 0}, {"total_bytes": 0}])
async def test_bounds_that_are_none_are_refused(db: Database, more: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least 1 byte"):
        MemoStore(db, **more)  # type: ignore[arg-type]


async def test_counts_that_say_more_than_there_is_begin_anew(db: Database, clock: Clock) -> None:
    store = MemoStore(db, now=clock, total_bytes=10_000)
    await store.put("ada", {"k": b"x"})
    await db.write(lambda connection: connection.execute(delete(memo)))
    await db.write(lambda connection: connection.execute(update(memo_usage).values(bytes=999_999)))
    with trio.fail_after(30):
        assert await store.put("ada", {"k": b"y"}) == 1
    assert await store.get("ada", "k") is not None
    assert (await store.usage("ada"))[0] == 1
