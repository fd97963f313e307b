"""The library: bases in memory, as new as they must be, however many ask at once."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
import trio

from innkeeper.knowledge.library import Library
from innkeeper.knowledge.live import base as live_base
from innkeeper.knowledge.live import shelf
from innkeeper.knowledge.live.base import LiveBase
from innkeeper.knowledge.live.freshness import Freshness
from innkeeper.knowledge.opening import SEARCH
from innkeeper.knowledge.retrieval.legs import TextLegs
from innkeeper.knowledge.store import embedding, reading
from innkeeper.knowledge.store.values import EDIT, IMPORT, BaseState, Change, Origin, Stored
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.knowledge_model import NoSuchError, Place
from innkeeper.storage.location import Location
from innkeeper.storage.owners import OwnerStore
from kb_bases import WORLD, change, document, library, many, vector

MINE = Origin(EDIT)


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as opened:
        yield opened


@pytest.fixture
async def other(db: Database) -> AsyncIterator[Library]:
    """The same bases, as another process has them."""
    async with open_database(db.location) as opened:
        yield library(opened)


class Watching:
    """An index that only remembers what it was told."""

    def __init__(self) -> None:
        self.entries: dict[str, Stored] = {}
        self.order: list[str] = []
        self.model = ""
        self.cost = 0

    def build(self, state: BaseState, entries: Iterator[Stored]) -> None:
        self.model = state.model
        for entry in entries:
            self.entries[entry.id] = entry
            self.order.append(entry.id)

    def apply(self, state: BaseState, changed: Sequence[Stored], deleted: Sequence[str]) -> None:
        assert state.model == self.model
        assert not {entry.id for entry in changed} & set(deleted)
        for id in deleted:
            self.entries.pop(id, None)
        self.entries |= {entry.id: entry for entry in changed}


def watching(db: Database) -> Library:
    return Library(db, TextLegs(), indexes={"w": Watching})


async def told(made: Library) -> dict[str, Stored]:
    index = await made.index(WORLD, "w")
    assert isinstance(index, Watching)
    return index.entries


async def test_an_own_change_is_in_the_next_read_and_in_every_index(db: Database) -> None:
    made = watching(db)
    await made.change(WORLD, many(300, "first"), Origin(IMPORT))
    assert list(await told(made)) == [f"e{number:06}" for number in range(300)]
    await made.change(WORLD, [change("e000001", "second"), change("new"), change("e000002", None)], MINE)
    live = await made.base(WORLD)
    item = live.item("e000001")
    assert item is not None
    assert item.entry.text == "second"
    entries = await told(made)
    assert entries.keys() == set(live.order())
    assert entries["e000001"].terms == TextLegs().terms(item.entry)
    await made.change(WORLD, many(300, "third"), Origin(IMPORT))
    assert (await told(made))["e000299"].plain()["content"]["value"] == "third of 299"


async def test_vectors_reach_an_index_when_they_are_made_and_with_their_entry(db: Database) -> None:
    made = watching(db)
    await made.change(WORLD, many(3, "x"), MINE)
    await told(made)
    page = await embedding.missing(made.store, WORLD, "m/4")
    await embedding.keep(made.store, WORLD, {each.digest: vector(each.text) for each in page})
    assert all(entry.vector is None for entry in (await told(made)).values())
    await made.embedded(WORLD, "m/4")
    assert all(entry.vector is not None for entry in (await told(made)).values())
    await made.change(WORLD, [Change("y", document("y", "y"), vector=vector("y")), change("z", "z")], MINE)
    entries = await told(made)
    assert (entries["y"].vector, entries["z"].vector) == (vector("y").data, None)


async def test_what_another_process_did_is_there_after_a_moment(
    db: Database, other: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "FRESH", 0.0)
    made = watching(db)
    await made.change(WORLD, many(5, "x"), MINE)
    await told(made)
    chance = random.Random(3)
    for number in range(30):
        live = await other.base(WORLD)
        if number == 20:
            await other.change(WORLD, many(400, "import", "i"), Origin(IMPORT))
        ids = chance.sample(range(12), 3)
        changes = [change(f"n{id}", chance.choice(["1", None])) for id in ids]
        await other.change(WORLD, [each for each in changes if each.document or each.id in live], MINE)
        if number % 5 == 4:
            await other.undo(WORLD)
        mine, theirs = await made.base(WORLD), await other.base(WORLD)
        assert list(mine.order()) == list(theirs.order())
        assert mine.ids_after("") == sorted(theirs.order())
        assert {id: mine.version(id) for id in mine.order()} == {id: theirs.version(id) for id in theirs.order()}
        assert (await told(made)).keys() == set(theirs.order())


async def test_nobody_asks_the_database_while_nothing_says_that_somebody_wrote(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "FRESH", 0.0)
    monkeypatch.setattr(Freshness, "stamp", lambda self: ((1, 1),))
    made = library(db)
    await made.change(WORLD, many(5, "x"), MINE)
    await made.base(WORLD)
    asked: list[object] = []
    read = db.read

    async def counted(function: object) -> object:
        asked.append(function)
        return await read(function)  # type: ignore[arg-type]

    monkeypatch.setattr(db, "read", counted)
    for _ in range(20):
        await made.base(WORLD)
    assert asked == []


def test_a_write_is_seen_in_the_files_of_the_database_even_one_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"1")
    now = [path.stat().st_mtime]
    freshness = Freshness(path, clock=lambda: now[0])
    # Another write may yet come within the grain of its clock.
    assert freshness.stamp() is None
    now[0] += 1
    before = freshness.stamp()
    assert before == freshness.stamp() is not None
    path.with_name("a.db-wal").write_bytes(b"22")
    now[0] += 100
    assert freshness.stamp() != before


async def test_many_who_open_at_once_open_it_once(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    made = library(db)
    await made.store.change(WORLD, many(100, "x"), MINE)
    opened: list[LiveBase] = []
    count = [0]
    state = reading.stream

    def counted(*args: object, **more: object) -> object:
        count[0] += 1
        return state(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "stream", counted)

    async def one() -> None:
        opened.append(await made.base(WORLD))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(one)
    assert len({id(each) for each in opened}) == 1
    assert count[0] == 1


async def test_who_opens_and_is_cancelled_leaves_it_to_the_next(db: Database) -> None:
    made = library(db)
    await made.store.change(WORLD, many(100, "x"), MINE)
    for delay in range(20):
        with trio.move_on_after(delay / 1000):
            await made.base(WORLD)
    assert len(await made.base(WORLD)) == 100


async def test_a_read_waits_for_nobody_who_writes(db: Database) -> None:
    made = library(db)
    await made.change(WORLD, many(600, "first"), MINE)
    await made.base(WORLD)
    over = trio.Event()
    seen: set[str] = set()

    async def read() -> None:
        while not over.is_set():
            live = await made.base(WORLD)
            values = {str(item.entry.text)[:5] for id in live.order()[::97] if (item := live.item(id)) is not None}
            assert len(values) == 1
            seen.update(values)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await made.change(WORLD, many(600, "again"), Origin(IMPORT))
        live = await made.base(WORLD)
        over.set()
    item = live.item("e000000")
    assert item is not None
    assert item.entry.text == "again of 0"
    assert "first" in seen


async def test_memory_is_bounded_and_what_was_let_go_is_opened_again(db: Database) -> None:
    made = library(db, memory=100_000)
    for number in range(5):
        await made.change(Place("default_user", f"b{number}"), many(100, "x"), MINE)
        await made.base(Place("default_user", f"b{number}"))
    there = [number for number in range(5) if made._shelf.there(Place("default_user", f"b{number}")) is not None]
    assert 0 < len(there) < 5
    assert 4 in there
    assert len(await made.base(Place("default_user", "b0"))) == 100


async def test_asking_for_what_is_not_there_takes_no_room(db: Database) -> None:
    made = library(db)
    for number in range(50):
        with pytest.raises(NoSuchError):
            await made.base(Place("default_user", f"none{number}"))
        with pytest.raises(NoSuchError):
            await made.index(Place("default_user", f"none{number}"), SEARCH)
    assert len(made._shelf._slots) == 0


async def test_a_base_that_was_erased_is_gone_and_one_that_was_made_again_is_the_new_one(
    db: Database, other: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "FRESH", 0.0)
    made = library(db)
    await made.change(WORLD, many(5, "x"), MINE)
    await made.base(WORLD)
    await OwnerStore(other.store.db).erase("default_user")
    with pytest.raises(NoSuchError):
        await made.base(WORLD)
    await made.change(WORLD, many(2, "y", "y"), MINE)
    await made.base(WORLD)
    await OwnerStore(other.store.db).erase("default_user")
    await other.change(WORLD, many(3, "z", "z"), MINE)
    await other.change(WORLD, many(1, "again", "z"), MINE)
    assert list((await made.base(WORLD)).order()) == ["z000000", "z000001", "z000002"]


@pytest.mark.parametrize("small", [0, 1000])
async def test_the_order_in_memory_is_that_of_the_database_however_it_is_followed(
    db: Database, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_base, "SMALL", small)
    made = library(db)
    chance = random.Random(small)
    await made.change(WORLD, many(20, "x"), MINE)
    live = await made.base(WORLD)
    for _ in range(40):
        changes = []
        for id in chance.sample(range(30), 4):
            name = f"e{id:06}"
            if chance.random() < 0.3 and name in live:
                changes.append(change(name, None))
            else:
                position = chance.choice([None, chance.random() * 40])
                changes.append(Change(name, document(name, f"{chance.random()}"), position=position))
        await made.change(WORLD, changes, MINE)
        fresh = await library(db).base(WORLD)
        assert list(live.order()) == list(fresh.order())
        assert live.ids_after("e000003") == fresh.ids_after("e000003")
        assert [live.get(id) for id in live.order()] == [fresh.get(id) for id in fresh.order()]
        assert live.cost == fresh.cost
