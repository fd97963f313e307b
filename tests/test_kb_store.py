"""The store of knowledge bases: steps are whole, versions are compared, what was replaced comes back."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from alembic import command
from alembic.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text, update
from sqlalchemy.dialects import postgresql, sqlite

from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.retrieval.legs import TextLegs
from innkeeper.knowledge.store import embedding, reading, staging, undoing
from innkeeper.knowledge.store.legs import dump
from innkeeper.knowledge.store.limits import AT_ONCE, StoreQuota
from innkeeper.knowledge.store.overlays import Sessions
from innkeeper.knowledge.store.proposals import Proposals
from innkeeper.knowledge.store.store import KnowledgeStore
from innkeeper.knowledge.store.values import EDIT, IMPORT, UNDO, Change, Origin, Vector
from innkeeper.knowledge.store.verifying import remake, verify
from innkeeper.knowledge.store.writing import where_of
from innkeeper.storage import postgres
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.engines import turn_on_wal, writing_engine
from innkeeper.storage.file import private_file
from innkeeper.storage.knowledge_model import Filters, FullError, NoSuchError, Place, Query, VersionError
from innkeeper.storage.knowledge_schema import kb_bases, kb_entries, kb_staged
from innkeeper.storage.knowledge_sweeping import KnowledgeSweeps
from innkeeper.storage.location import Location
from innkeeper.storage.plain_json import from_json, to_json
from innkeeper.storage.upgrade import MIGRATIONS
from kb_bases import WORLD, change, document, knowing, many, vector
from kept import rows_of
from test_storage_schema import HOSTILE, watched

MINE = Origin(EDIT)
DAY = 86400.0


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as opened:
        yield opened


@pytest.fixture
def store(db: Database) -> KnowledgeStore:
    return KnowledgeStore(db, TextLegs())


async def values(store: KnowledgeStore, place: Place = WORLD) -> dict[str, str]:
    """What entries say, in the order of the file."""

    def read(connection: Any) -> dict[str, str]:
        where = where_of(place)
        reading.read_state(connection, place, where, whole=True)
        return {
            each.id: each.plain()["content"]["value"] for each in reading.stream(connection, where, full=False)
        }  # fmt: skip

    return await store.whole(place, read)


async def sound(store: KnowledgeStore, place: Place = WORLD) -> bool:
    report = await verify(store, place)
    assert report.problems == []
    return True


# --- steps ----------------------------------------------------------------------------------------------------------


async def test_a_document_comes_back_as_it_was_written_unknown_fields_too(store: KnowledgeStore) -> None:
    written = document("d", "Ignis\n龙", x=[1, 1.0, None, {"y": "é"}], usage_metadata={"priority": 1e3, "z": True})
    await store.change(WORLD, [Change("d", written)], MINE)
    stored = await store.get(WORLD, "d")
    assert stored is not None
    assert stored.document == json.dumps(written, ensure_ascii=False, separators=(",", ":"))


async def test_a_step_is_all_of_its_changes_or_none(store: KnowledgeStore) -> None:
    await store.change(WORLD, [change("a", "1"), change("b", "1")], MINE)
    with pytest.raises(VersionError):
        await store.change(WORLD, [change("a", "2"), change("b", "2", expect=7), change("c")], MINE)
    with pytest.raises(NoSuchError):
        await store.change(WORLD, [change("a", "2"), change("none", None)], MINE)
    with pytest.raises(KnowledgeError, match="priority"):
        await store.change(
            WORLD, [change("a", "2"), Change("b", {"id": "b", "usage_metadata": {"priority": "x"}})], MINE
        )
    with pytest.raises(ValueError, match="twice"):
        await store.change(WORLD, [change("a", "2"), change("a", "3")], MINE)
    assert await values(store) == {"a": "1", "b": "1"}
    assert await sound(store)


async def test_everything_that_is_wrong_with_a_step_is_said_at_once(store: KnowledgeStore) -> None:
    wrong = [Change(f"{number}", {"id": f"{number}", "version": 0}) for number in range(3)]
    with pytest.raises(KnowledgeError) as caught:
        await store.change(WORLD, wrong, MINE)
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("id", ["", "x" * 129, "a\0b", "\ud800"])
async def test_an_id_that_is_none_is_refused(store: KnowledgeStore, id: str) -> None:
    with pytest.raises(ValueError, match="id of an entry"):
        await store.change(WORLD, [change(id)], MINE)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", object()])
async def test_what_json_has_no_words_for_is_refused_with_a_sentence(store: KnowledgeStore, value: object) -> None:
    with pytest.raises(KnowledgeError, match="take it out"):
        await store.change(WORLD, [Change("a", document("a", "x", own=value))], MINE)


async def test_versions_grow_and_are_never_given_twice(store: KnowledgeStore) -> None:
    first = (await store.change(WORLD, [change("a", expect=0)], MINE)).revision
    await store.change(WORLD, [change("a", None, expect=first)], MINE)
    third = (await store.change(WORLD, [change("a", expect=0)], MINE)).revision
    assert (first, third) == (1, 3)
    with pytest.raises(VersionError) as caught:
        await store.change(WORLD, [change("a", expect=1)], MINE)
    assert caught.value.current == 3


# --- large steps ----------------------------------------------------------------------------------------------------


async def test_a_large_step_is_seen_whole_or_not_at_all_and_no_transaction_is_long(
    db: Database, store: KnowledgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.change(WORLD, many(600, "first"), Origin(IMPORT))
    over = trio.Event()
    seen: set[tuple[int, int]] = set()

    async def look() -> None:
        other = KnowledgeStore(db, TextLegs())
        while not over.is_set():
            found = await values(other)
            seen.add((len(found), len({value.partition(" ")[0] for value in found.values()})))

    sizes: list[int] = []
    put = staging.put_rows
    monkeypatch.setattr(staging, "put_rows", lambda *args, **more: (sizes.append(len(args[3])), put(*args, **more)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        applied = await store.change(WORLD, many(900, "second"), Origin(IMPORT))
        over.set()
    assert (applied.created, applied.changed, applied.revision) == (300, 600, 2)
    assert seen <= {(600, 1), (900, 1)}
    assert max(sizes) <= AT_ONCE
    assert await sound(store)


async def test_a_large_step_that_fails_or_is_cancelled_leaves_nothing(db: Database) -> None:
    store = KnowledgeStore(db, TextLegs(), quota=StoreQuota(entries=700))
    await store.change(WORLD, [change("e000400", "mine")], MINE)
    with pytest.raises(FullError):
        await store.change(WORLD, many(900, "x"), Origin(IMPORT))
    with pytest.raises(VersionError):
        await store.change(WORLD, [*many(400, "x"), change("e000400", "x", expect=9)], Origin(IMPORT))
    with trio.CancelScope() as scope:

        async def stop() -> None:
            while not await db.read(lambda each: each.scalar(text("SELECT count(*) FROM kb_staged"))):
                pass
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await store.change(WORLD, many(690, "x" * 500), Origin(IMPORT))
    assert await values(store) == {"e000400": "mine"}
    left = rows_of(db.location)
    assert "kb_staged" not in left
    assert "kb_batches" not in left


async def test_what_somebody_writes_while_a_large_step_is_staged_is_not_lost(
    store: KnowledgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.change(WORLD, [change("a", "1"), change("e000001", "1")], MINE)
    between: list[Change] = [change("a", "2"), change("e000001", "2")]

    async def one_more() -> None:
        if between:
            await store.change(WORLD, [between.pop()], MINE)

    prepare = store._prepare

    async def slow(changes: Any, first: int) -> Any:
        if first:
            await one_more()
        return await prepare(changes, first)

    monkeypatch.setattr(store, "_prepare", slow)
    await store.change(WORLD, many(600, "import"), Origin(IMPORT))
    found = await values(store)
    assert found["a"] == "2"
    assert found["e000001"] == "import of 1"
    (past, *_) = await store.history(WORLD, "e000001")
    assert past.before is not None
    assert json.loads(past.before)["content"]["value"] == "2"
    assert await sound(store)


async def test_a_batch_whose_process_died_is_cleaned_up_and_one_that_was_valid_is_finished(
    db: Database,
) -> None:
    now = [1000.0]
    store = KnowledgeStore(db, TextLegs(), now=lambda: now[0])
    await store.change(WORLD, [change("a", "1")], MINE)
    where = where_of(WORLD)
    prepared = await store._prepare([change("a", "2"), change("b", "2")], 0)
    for batch in ("dead", "valid"):
        await db.write(
            lambda each, batch=batch: staging.begin(
                each, WORLD, where, store.quota, batch, now[0], Origin(IMPORT), store.legs.key
            )
        )
        tally = await db.write(
            lambda each, batch=batch: staging.stage(each, WORLD, where, batch, prepared, 0, now[0], "")
        )
    await db.write(
        lambda each: staging.switch(
            each, WORLD, where, store.quota, "valid", seen=1, tally=tally, author="", now=now[0], info=None,
            in_step=None, legs=store.legs.key,
        )
    )  # fmt: skip
    # Whoever reads first finishes it; others' writes come after it.
    assert await values(store) == {"a": "2", "b": "2"}
    assert (await store.change(WORLD, [change("a", "3")], MINE)).revision == 3
    now[0] += 1000
    await store.clean(WORLD)
    assert rows_of(db.location).keys().isdisjoint({"kb_staged", "kb_batches"})
    assert await sound(store)


# --- history --------------------------------------------------------------------------------------------------------


async def test_a_change_is_taken_back_and_so_is_that(store: KnowledgeStore) -> None:
    await store.change(WORLD, [change("a", "1"), change("b", "1")], MINE)
    await store.change(WORLD, [change("a", "2"), change("b", None), change("c", "2")], MINE)
    await undoing.undo_step(store, WORLD)
    assert await values(store) == {"a": "1", "b": "1"}
    await undoing.undo_step(store, WORLD)
    assert await values(store) == {"a": "2", "c": "2"}
    await undoing.undo_entry(store, WORLD, "b")
    assert await values(store) == {"a": "2", "b": "1", "c": "2"}
    (last, *_) = await store.steps(WORLD)
    assert (last.reason, last.changes, last.revision) == (UNDO, 1, 5)
    assert await sound(store)


async def test_a_step_of_which_something_was_changed_since_is_not_taken_back(store: KnowledgeStore) -> None:
    await store.change(WORLD, [change("a", "1"), change("b", "1")], MINE)
    await store.change(WORLD, [change("a", "2"), change("b", "2")], MINE)
    await store.change(WORLD, [change("b", "3")], MINE)
    with pytest.raises(VersionError):
        await undoing.undo_step(store, WORLD, 2)
    assert await values(store) == {"a": "2", "b": "3"}
    with pytest.raises(NoSuchError):
        await undoing.undo_step(store, WORLD, 9)
    with pytest.raises(NoSuchError):
        await undoing.undo_entry(store, WORLD, "none")


async def test_a_large_import_is_one_step_back(store: KnowledgeStore) -> None:
    await store.change(WORLD, many(10, "own"), MINE)
    await store.change(WORLD, many(700, "import"), Origin(IMPORT), info={"kb_id": "world", "kb_displayName": "W"})
    assert (await store.state(WORLD)).info["kb_displayName"] == "W"
    await undoing.undo_step(store, WORLD)
    assert len(await values(store)) == 10
    assert "kb_displayName" not in (await store.state(WORLD)).info
    await undoing.undo_step(store, WORLD)
    assert len(await values(store)) == 700
    assert await sound(store)


async def test_history_is_bounded_and_what_is_forgotten_is_said(db: Database) -> None:
    store = KnowledgeStore(db, TextLegs(), quota=StoreQuota(history_bytes=20_000))
    for number in range(200):
        await store.change(WORLD, [change("a", f"{number} " * 100)], MINE)
    state = await store.state(WORLD)
    assert state.history_bytes <= 20_000
    assert len(await store.history(WORLD, "a")) < 100
    with pytest.raises(NoSuchError):
        await undoing.undo_step(store, WORLD, 3)
    assert await sound(store)


async def test_the_last_step_is_taken_back_and_again_whatever_it_was(store: KnowledgeStore) -> None:
    chance = random.Random(7)
    await store.create(WORLD, {"kb_id": "world"})
    before = await values(store)
    for _ in range(25):
        ids = chance.sample(range(6), chance.randint(1, 6))
        changes = [change(f"{id}", chance.choice(["1", "2", None])) for id in ids]
        changes = [each for each in changes if each.document is not None or each.id in before]
        if not changes:
            continue
        await store.change(WORLD, changes, MINE)
        after = await values(store)
        await undoing.undo_step(store, WORLD)
        assert await values(store) == before
        await undoing.undo_step(store, WORLD)
        assert await values(store) == after
        before = after
    assert await sound(store)


# --- vectors, and the checker ---------------------------------------------------------------------------------------


async def test_a_vector_belongs_to_a_text_and_comes_back_with_it(store: KnowledgeStore) -> None:
    await store.change(WORLD, [change("a", "one"), change("b", "two")], MINE)
    await embedding.use_model(store, WORLD, "m/4")
    found = await embedding.missing(store, WORLD, "m/4")
    assert {each.id for each in found} == {"a", "b"}
    made = {each.digest: vector(each.text) for each in found}
    assert await embedding.keep(store, WORLD, made | {"f" * 64: vector("nobody's")}) == 2
    before = await embedding.vectors_of(store, WORLD, "m/4")
    await store.change(WORLD, [change("a", "other")], MINE)
    assert (await embedding.vectors_of(store, WORLD, "m/4")).keys() == {"b"}
    await undoing.undo_step(store, WORLD)
    assert await embedding.vectors_of(store, WORLD, "m/4") == before
    report = await verify(store, WORLD)
    assert (report.entries, report.embedded, report.problems) == (2, 2, [])
    assert await embedding.missing(store, WORLD, "other/4", after="a")


@pytest.mark.parametrize(
    "wrong",
    [
        Vector("m", 4, b"\0" * 6),
        Vector("m", 0, b""),
        Vector("m", 9000, b"\0" * 18000),
        Vector("m", 2, b"\0\0\0\x7e"),
        Vector("m", 2, b"\0\0\0\x7c"),
        Vector("", 1, b"\0\0"),
    ],
)
async def test_a_vector_that_is_none_is_refused(store: KnowledgeStore, wrong: Vector) -> None:
    with pytest.raises(ValueError, match="vector"):
        await store.change(WORLD, [Change("a", document("a"), vector=wrong)], MINE)
    await store.change(WORLD, [change("a")], MINE)
    with pytest.raises(ValueError, match="vector"):
        await embedding.keep(store, WORLD, {"0" * 64: wrong})


TAMPERED = {
    "terms": {"terms": b"other"},
    "digest": {"digest": "0" * 64},
    "size": {"size": 1},
    "enabled": {"enabled": False},
    "source": {"source": "agent_generated"},
    "version": {"version": 99},
    "document": {"document": '{"id":"a","content":{"value":"other"}}'},
    "id": {"document": '{"id":"b"}'},
}


@pytest.mark.parametrize("values", TAMPERED.values(), ids=TAMPERED)
async def test_the_checker_sees_what_does_not_agree(
    db: Database, store: KnowledgeStore, values: dict[str, Any]
) -> None:
    await store.change(WORLD, [change("a", "one")], MINE)
    assert await sound(store)
    await db.write(lambda each: each.execute(update(kb_entries).values(**values)))
    assert (await verify(store, WORLD)).problems


class OtherLegs(TextLegs):
    """Makes other terms."""

    key = "other-1"

    def terms(self, entry: Any) -> bytes:
        return super().terms(entry).upper()


async def test_terms_of_an_older_make_are_made_again_and_entries_stay_as_they_are(db: Database) -> None:
    old, new = KnowledgeStore(db, TextLegs()), KnowledgeStore(db, OtherLegs())
    await old.change(WORLD, many(300, "x"), MINE)
    before = await values(old)
    assert "another make" in (await verify(new, WORLD)).problems[0]
    assert await remake(new, WORLD) == 300
    assert await sound(new)
    assert await values(new) == before
    assert await remake(new, WORLD) == 0
    # Somebody with the older make writes once more.
    await old.change(WORLD, [change("a", "x")], MINE)
    assert (await new.state(WORLD)).legs == ""
    await remake(new, WORLD)
    assert await sound(new)


# --- sessions -------------------------------------------------------------------------------------------------------


async def test_an_overlay_is_one_sessions_and_changes_no_base(store: KnowledgeStore) -> None:
    sessions = Sessions(store)
    await store.change(WORLD, [change("bridge", "stands")], MINE)
    first = await sessions.put(WORLD, "s1", "bridge", document("bridge", "is gone"), expect=0, author="lore")
    with pytest.raises(VersionError):
        await sessions.put(WORLD, "s1", "bridge", None, expect=0)
    await sessions.put(WORLD, "s1", "bridge", None, expect=first)
    await sessions.put(WORLD, "s1", "new", document("new", "made up"))
    assert [(each.entry, each.document is None) for each in await sessions.overlay(WORLD, "s1")] == [
        ("bridge", True),
        ("new", False),
    ]
    assert await sessions.overlay(WORLD, "s2") == []
    assert await values(store) == {"bridge": "stands"}
    await sessions.remove(WORLD, "s1", "new")
    with pytest.raises(NoSuchError):
        await sessions.remove(WORLD, "s1", "new")
    with pytest.raises(KnowledgeError):
        await sessions.put(WORLD, "s1", "x", {"id": "y"})
    assert await sessions.forget(WORLD, "s1")
    assert await sessions.overlay(WORLD, "s1") == []


async def test_what_is_remembered_of_a_session_is_compared_and_bounded(db: Database) -> None:
    store = KnowledgeStore(db, TextLegs(), quota=StoreQuota(sessions=2, overlaid=2, overlaid_bytes=2000, state=10))
    sessions = Sessions(store)
    await store.change(WORLD, [change("a")], MINE)
    assert await sessions.state(WORLD, "s") == (b"", 0)
    version = await sessions.keep_state(WORLD, "s", b"one", expect=0)
    assert await sessions.state(WORLD, "s") == (b"one", version)
    with pytest.raises(VersionError):
        await sessions.keep_state(WORLD, "s", b"two", expect=0)
    with pytest.raises(ValueError, match="10 bytes"):
        await sessions.keep_state(WORLD, "s", b"x" * 11, expect=version)
    for id in ("a", "b"):
        await sessions.put(WORLD, "s", id, None)
    with pytest.raises(FullError):
        await sessions.put(WORLD, "s", "c", None)
    with pytest.raises(FullError):
        await sessions.put(WORLD, "s", "a", document("a", "x" * 3000))
    for session in ("t", "u"):
        await sessions.keep_state(WORLD, session, b"", expect=0)
    # Who only remembers something takes no overlay away; who has one of its own does.
    assert len(await sessions.overlay(WORLD, "s")) == 2
    for session in ("t", "u"):
        await sessions.put(WORLD, session, "a", None)
    assert await sessions.state(WORLD, "s") == (b"", 0)
    assert await sessions.overlay(WORLD, "s") == []
    with pytest.raises(NoSuchError):
        await sessions.keep_state(Place("default_user", "none"), "s", b"", expect=0)


# --- what goes ------------------------------------------------------------------------------------------------------


async def test_what_has_had_its_time_goes_and_entries_stay(db: Database) -> None:
    now = [1e9]
    store = KnowledgeStore(db, TextLegs(), now=lambda: now[0])
    sweeps = KnowledgeSweeps(db, now=lambda: now[0])
    where = where_of(WORLD)
    await store.change(WORLD, [Change("a", document("a", "1"), vector=vector("1"))], MINE)
    await store.change(WORLD, [Change("a", document("a", "2"), vector=vector("2"))], MINE)
    await Sessions(store).put(WORLD, "s", "a", None)
    await Proposals(store).propose(WORLD, change("b"), "lore")
    await db.write(
        lambda each: staging.begin(each, WORLD, where, store.quota, "dead", now[0], Origin(IMPORT), store.legs.key)
    )
    prepared = await store._prepare(many(3, "x"), 0)
    await db.write(lambda each: staging.stage(each, WORLD, where, "dead", prepared, 0, now[0], ""))
    for sweep in (sweeps.history, sweeps.sessions, sweeps.proposals, sweeps.batches, sweeps.vectors):
        assert await sweep() == 0
    now[0] += 8 * DAY
    assert await sweeps.vectors() == 1
    assert await sweeps.batches() == 3
    assert await sweeps.batches() == 1
    now[0] += 30 * DAY
    assert await sweeps.proposals() == 1
    now[0] += 90 * DAY
    assert await sweeps.history() == 2
    assert await sweeps.sessions() == 1
    assert rows_of(db.location) == {"kb_bases": 1, "kb_entries": 1, "kb_vectors": 1}
    assert await sound(store)
    with pytest.raises(NoSuchError):
        await undoing.undo_step(store, WORLD)


# --- the database ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_entries_of_the_older_schema_are_kept_as_documents(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "sqlite":
        place = Location.of(tmp_path / "private" / "inn.db")
        with private_file(tmp_path / "private" / "inn.db"):
            engine = writing_engine(tmp_path / "private" / "inn.db")
            turn_on_wal(engine)
    else:
        place = Location.of(request.getfixturevalue("empty_postgres_url"), tmp_path / "private", "yes")
        engine = postgres.writing_engine(place.url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0008")
        connection.exec_driver_sql("INSERT INTO knowledge_bases VALUES ('local', 'world', 450, 1, 900)")
        metadata = msgpack.packb({"a": [1, b"\xff"], "$bytes": 1})
        insert = text(
            "INSERT INTO knowledge_entries VALUES"
            " ('local', 'world', :id, 'T', :content, '[\"k\"]', :metadata, 7, :enabled, :source, 'p', :version,"
            " 1.5, 2.5, 9)"
        )
        for number in range(450):
            source = ("agent_generated", "manual_entry")[number % 2]
            row = {"id": f"{number:03}", "content": f"dragon {number}", "metadata": metadata, "enabled": number != 1}
            connection.execute(insert, {**row, "source": source, "version": number + 1})
    engine.dispose()
    async with open_database(place) as db:
        opened = knowing(db)
        library, guests = opened.bases.library, opened.guests
        report = await library.verify(WORLD)
        assert (report.entries, report.problems) == (450, [])
        entry = await guests.get(WORLD, "002")
        assert (entry.content, entry.metadata) == ("dragon 2", {"a": [1, b"\xff"], "$bytes": 1})
        head = entry.head
        assert (head.title, head.keywords, head.priority) == ("T", ("k",), 7)
        assert (head.source, head.author) == ("agent_generated", "p")
        assert (head.version, head.created, head.updated, head.enabled) == (3, 1.5, 2.5, True)
        assert not (await guests.get(WORLD, "001")).head.enabled
        assert len((await guests.search(WORLD, Query("dragon", k=50), filters=Filters())).hits) == 50
        # Versions that were given out are not given out again.
        assert (await library.change(WORLD, [change("new")], MINE)).revision == 901
        state = await library.store.state(WORLD)
        assert (state.entries, state.agent_entries) == (451, 225)


async def everything(database: Location, word: str) -> None:
    async with open_database(database) as db:
        store = KnowledgeStore(db, TextLegs(), now=lambda: 1e9)
        sessions, proposals = Sessions(store), Proposals(store)
        place = Place(word, word)
        origin = Origin(word, word)
        one = Change(word, document(word, word, own=word), source=word, vector=vector(word, word))
        await store.change(place, [one], origin, info={"kb_id": word, "x": word})
        await store.change(place, many(300, word), Origin(IMPORT, word), info={"kb_id": word})
        await undoing.undo_step(store, place)
        await undoing.undo_entry(store, place, "e000001")
        for each in await embedding.missing(store, place, word):
            await embedding.keep(store, place, {each.digest: vector(each.text, word)})
        await embedding.use_model(store, place, word)
        await embedding.finished(store, place)
        assert await embedding.vectors_of(store, place, word)
        await sessions.put(place, word, word, document(word, word))
        await sessions.keep_state(place, word, word.encode(), expect=1)
        await sessions.remove(place, word, word)
        await sessions.forget(place, word)
        await proposals.accept(place, await proposals.propose(place, change("new", word), word))
        await proposals.list(place)
        await store.bases(word)
        await store.get(place, word)
        assert await sound(store, place)
        sweeps = KnowledgeSweeps(db, now=lambda: 2e9)
        for sweep in (sweeps.history, sweeps.sessions, sweeps.proposals, sweeps.batches, sweeps.vectors):
            await sweep()


async def test_no_text_is_ever_part_of_a_statement_and_postgresql_understands_each(
    two_places: tuple[Location, Location],
) -> None:
    with watched() as (built, hostile):
        await everything(two_places[0], HOSTILE)
    with watched() as (_, plain):
        await everything(two_places[1], "word")
    assert set(hostile) == set(plain)
    shared = [each for each in built if not isinstance(each, str | sqlite.Insert | postgresql.Insert)]
    texts = {str(each.compile(dialect=postgresql.dialect())) for each in shared}
    assert len(texts) > 40
    assert kb_staged.name in " ".join(texts)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["$bytes", "$float", "$map", "a"]) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(PLAIN)
@settings(deadline=None)
def test_plain_data_of_guests_comes_back_from_json_as_it_was(value: Any) -> None:
    back = from_json(json.loads(json.dumps(to_json(value), allow_nan=False)))
    assert repr(back) == repr(value)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), PLAIN))
@settings(deadline=None, max_examples=30)
def test_a_document_is_kept_with_its_keys_in_their_order(value: dict[str, Any]) -> None:
    try:
        text = dump(value)
    except KnowledgeError:
        return
    assert list(json.loads(text)) == list(value)


async def test_a_batch_of_which_an_interrupted_erasing_left_nothing_holds_nobody_up(store: KnowledgeStore) -> None:
    await store.change(WORLD, [change("a", "1")], MINE)
    await store.db.write(lambda each: each.execute(update(kb_bases).values(folding="gone")))
    assert await values(store) == {"a": "1"}
    assert (await store.change(WORLD, [change("a", "2")], MINE)).revision == 2
    assert await sound(store)
