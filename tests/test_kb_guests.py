"""What guests write is found by its words, in any script, within bounds, and undoes nothing that authors wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgpack
import pytest
import trio
from sqlalchemy.dialects import postgresql, sqlite

from innkeeper.knowledge.joined.guests import GuestBases
from innkeeper.knowledge.store.limits import StoreQuota
from innkeeper.knowledge.store.values import Change, Origin
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.knowledge_model import (
    MOST_CONTENT,
    Draft,
    Filters,
    Found,
    FullError,
    HeldError,
    NoSuchError,
    Place,
    Query,
    VersionError,
)
from innkeeper.storage.location import Location
from kb_bases import guests, knowing
from test_storage_schema import HOSTILE, watched

WORLD = Place("default_user", "world")
ALL = Filters()


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as opened:
        yield opened


async def put(store: GuestBases, id: str, content: str = "", place: Place = WORLD, **more: Any) -> int:
    source, expect = more.pop("source", "manual_entry"), more.pop("expect", None)
    return (
        await store.put(place, id, Draft(content=content, **more), source=source, author="a", expect=expect)
    ).version


async def hits(store: GuestBases, query: str, place: Place = WORLD, filters: Filters = ALL) -> Found:
    return await store.search(place, Query(query, mode="keyword"), filters=filters)


async def found(store: GuestBases, query: str, **filters: Any) -> list[str]:
    return [hit.head.id for hit in (await hits(store, query, filters=Filters(**filters))).hits]


async def test_an_entry_comes_back_as_it_was_written(db: Database) -> None:
    store = guests(db, now=lambda: 5.0)
    draft = Draft("Ignis", "A dragon\nof old", ("dragon", "red scales"), -3, False, {"a": [1, b"\0", {"b": None}]})
    head = await store.put(WORLD, "d", draft, source="manual_entry", author="")
    entry = await store.get(WORLD, "d")
    assert (entry.head, entry.content, entry.metadata) == (head, draft.content, draft.metadata)
    assert (head.title, head.keywords, head.priority, head.enabled) == ("Ignis", ("dragon", "red scales"), -3, False)
    assert (head.created, head.updated, head.version) == (5.0, 5.0, 1)


@pytest.mark.parametrize(
    ("content", "query"),
    [
        ("The Dragon sleeps", "dragon"),
        ("Straße nach Süden", "STRASSE"),
        ("café", "cafe\u0301"),
        ("ﬁne ＷＩＤＥ", "wide fine"),
        ("北京的桥已经毁了", "桥已经"),
        ("北京的桥已经毁了", "桥"),
        ("カタカナの本", "カタカナ"),
        ("ｶﾀｶﾅ", "カタカナ"),
        ("대한민국의 수도", "대한민국"),
        ("ภาษาไทยสวย", "ไทย"),
        ("हिन्दी की किताब", "किताब"),
        ("mixed中文text", "中文"),
        ("mixed中文text", "mixed"),
        ("x" * 300, "x" * 300),
    ],
)
async def test_what_is_written_is_found_whatever_the_script(db: Database, content: str, query: str) -> None:
    store = guests(db)
    await put(store, "it", content)
    await put(store, "other", "nothing of the sort")
    assert await found(store, query) == ["it"]


async def test_a_keyword_and_a_title_count_more_than_prose(db: Database) -> None:
    store = guests(db)
    await put(store, "prose", "about a dragon")
    await put(store, "title", title="The dragon")
    await put(store, "keyword", keywords=("red dragon",))
    found = (await hits(store, "Dragon?")).hits
    assert [(hit.head.id, hit.matches[0].field, hit.matches[0].term) for hit in found] == [
        ("title", "title", "dragon"),
        ("keyword", "keyword", "dragon"),
        ("prose", "content", "dragon"),
    ]
    assert found[0].score >= found[1].score > found[2].score > 0


async def test_rare_words_count_more_and_priority_decides_between_equals(db: Database) -> None:
    store = guests(db)
    for number in range(20):
        await put(store, f"c{number:02}", "the common", priority=number)
    await put(store, "rare", "the wyvern")
    assert (await found(store, "common wyvern"))[:3] == ["rare", "c19", "c18"]


async def test_what_is_not_enabled_or_of_another_source_is_found_only_where_it_is_asked_for(db: Database) -> None:
    store = guests(db)
    await put(store, "on", "dragon", source="agent_generated")
    await put(store, "off", "dragon", enabled=False)
    assert await found(store, "dragon") == ["on"]
    assert sorted(await found(store, "dragon", disabled=True)) == ["off", "on"]
    assert await found(store, "dragon", disabled=True, source="manual_entry") == ["off"]
    listed = await store.list(WORLD, after="", limit=10, filters=Filters("manual_entry", disabled=True))
    assert [entry.head.id for entry in listed] == ["off"]
    assert [entry.head.id for entry in await store.list(WORLD, after="off", limit=10, filters=ALL)] == ["on"]


async def test_what_was_changed_or_deleted_is_not_found_by_its_old_words(db: Database) -> None:
    store = guests(db)
    await put(store, "a", "dragon")
    await put(store, "a", "wyvern")
    assert (await found(store, "dragon"), await found(store, "wyvern")) == ([], ["a"])
    await store.delete(WORLD, "a")
    assert await found(store, "wyvern") == []
    with pytest.raises(NoSuchError):
        await store.get(WORLD, "a")
    with pytest.raises(NoSuchError):
        await store.delete(WORLD, "a")


async def test_versions_are_compared_and_never_given_twice(db: Database) -> None:
    store = guests(db)
    first = await put(store, "a", expect=0)
    with pytest.raises(VersionError) as caught:
        await put(store, "a", expect=0)
    assert caught.value.current == first
    second = await put(store, "a", expect=first)
    with pytest.raises(VersionError):
        await store.delete(WORLD, "a", expect=first)
    await store.delete(WORLD, "a", expect=second)
    assert await put(store, "a") > second
    with pytest.raises(VersionError):
        await put(store, "b", expect=7)


async def test_owners_and_bases_are_apart_and_what_is_not_there_is_said_to_be_so(db: Database) -> None:
    store = guests(db)
    await put(store, "a", "dragon")
    await put(store, "a", "wyvern", Place("other", "world"))
    await put(store, "a", "gnome", Place("default_user", "second"))
    assert await found(store, "wyvern gnome") == []
    assert (await store.get(WORLD, "a")).content == "dragon"
    for place in (Place("default_user", "third"), Place("third", "world")):
        with pytest.raises(NoSuchError):
            await hits(store, "dragon", place)
        with pytest.raises(NoSuchError):
            await store.list(place, after="", limit=1, filters=ALL)
        with pytest.raises(NoSuchError):
            await put(store, "a", place=place, expect=1)


async def test_quotas_of_guests_hold_and_what_failed_left_nothing(db: Database) -> None:
    store = guests(db, quota=StoreQuota(bases=1, agent_entries=2, agent_bytes=1500))
    mine: dict[str, Any] = {"source": "agent_generated"}
    await put(store, "a", "x" * 300, **mine)
    with pytest.raises(FullError, match="1 bases"):
        await put(store, "a", place=Place("default_user", "second"), **mine)
    await put(store, "b", "x" * 300, **mine)
    with pytest.raises(FullError, match="2 entries"):
        await put(store, "c", **mine)
    with pytest.raises(FullError, match="1500 bytes"):
        await put(store, "b", "x" * 1000, **mine)
    assert (await store.get(WORLD, "b")).content == "x" * 300
    await store.delete(WORLD, "a")
    await put(store, "b", "x" * 1000, **mine)


async def test_what_a_person_wrote_counts_not_against_what_guests_may_write(db: Database) -> None:
    store = guests(db, quota=StoreQuota(agent_entries=1))
    for number in range(5):
        await store.put(WORLD, f"{number}", Draft(content="x"), source="manual_entry", author="")
    await put(store, "mine", source="agent_generated")
    with pytest.raises(FullError, match="1 entries"):
        await put(store, "0", source="agent_generated")


async def test_terms_count_against_the_quota(db: Database) -> None:
    store = guests(db, quota=StoreQuota(agent_bytes=10_000))
    with pytest.raises(FullError):
        await put(store, "a", " ".join(f"{number:x}" for number in range(1500)), source="agent_generated")


WRONG: dict[str, dict[str, Any]] = {
    "content": {"content": "x" * (MOST_CONTENT + 1)},
    "bytes of content": {"content": "é" * (MOST_CONTENT // 2 + 1)},
    "a NUL": {"content": "a\0b"},
    "title": {"title": "x" * 201},
    "a control character": {"title": "a\x1b[2J"},
    "keywords": {"keywords": ("k",) * 65},
    "an empty keyword": {"keywords": ("",)},
    "a long keyword": {"keywords": ("k" * 101,)},
    "a keyword of two lines": {"keywords": ("a\nb",)},
    "priority": {"priority": 10**7},
    "metadata": {"metadata": {"a": "x" * 8192}},
}


async def test_bounds_of_a_title_and_keywords_are_characters_of_any_script(db: Database) -> None:
    store = guests(db)
    await put(store, "a", title="桥" * 200, keywords=("龙" * 100,))
    assert (await store.get(WORLD, "a")).head.title == "桥" * 200


@pytest.mark.parametrize("draft", WRONG.values(), ids=WRONG)
async def test_a_draft_out_of_bounds_is_not_kept(db: Database, draft: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at most|at least|most is|leave it out|must be"):
        await put(guests(db), "a", **draft)


async def test_priority_decides_among_all_that_match_alike_however_many_they_are(db: Database) -> None:
    store = guests(db)
    for number in range(250):
        await put(store, f"{number:03}", "the common", priority=number)
    assert await found(store, "common") == [f"{number}" for number in range(249, 239, -1)]


async def test_a_guest_changes_what_it_names_and_leaves_what_an_author_wrote(db: Database) -> None:
    knowledge = knowing(db)
    library, store = knowledge.bases.library, knowledge.guests
    document = {
        "id": "d",
        "x": {"of": "others"},
        "displayName": "n" * 500,
        "content": {"mime_type": "text/markdown", "value": "w" * 40_000},
        "activation_criteria": {"keywords": ["k" * 150], "key_groups": [{"keys": ["a"], "logic": "NOT_ANY"}]},
        "usage_metadata": {"priority": 1.5},
        "management_metadata": {"source": "st_import_v1", "tags": ["t"]},
        "extensions": {"innkeeper": {"own": 1}, "sillytavern": {"sticky": 2}},
    }
    await library.change(WORLD, [Change("d", document)], Origin("import"))
    entry = await store.get(WORLD, "d")
    assert (len(entry.content), entry.head.priority, entry.metadata) == (40_000, 1, {})
    draft = Draft(entry.head.title, entry.content, entry.head.keywords, 1, False, {"b": b"\xff"})
    await store.put(WORLD, "d", draft, source="agent_generated", author="lore")
    live = await library.base(WORLD)
    stored = live.get("d")
    assert stored is not None
    document["management_metadata"] = {"source": "agent_generated", "tags": ["t"], "is_enabled": False}
    document["extensions"] = {
        "innkeeper": {"own": 1, "metadata": {"b": {"$bytes": "/w=="}}},
        "sillytavern": {"sticky": 2},
    }
    assert stored.plain() == document
    with pytest.raises(ValueError, match="200 characters"):
        await store.put(WORLD, "d", Draft("m" * 500), source="agent_generated", author="lore")


async def test_where_somebody_wants_to_see_it_first_a_guest_proposes(db: Database) -> None:
    knowledge = knowing(db)
    library, store = knowledge.bases.library, knowledge.guests
    await put(store, "a", "old")
    await library.proposals.require(WORLD, True)
    await trio.sleep(0.25)
    with pytest.raises(HeldError):
        await store.put(WORLD, "a", Draft(content="new"), source="agent_generated", author="lore")
    with pytest.raises(HeldError):
        await store.delete(WORLD, "a", author="lore")
    assert (await store.get(WORLD, "a")).content == "old"
    first, second = await library.proposals.list(WORLD)
    assert (first.author, first.document is not None, second.document) == ("lore", True, None)
    await library.accept(WORLD, first.number)
    assert (await store.get(WORLD, "a")).content == "new"
    # It was proposed for what is no more.
    with pytest.raises(VersionError):
        await library.accept(WORLD, second.number)
    await library.proposals.refuse(WORLD, second.number)
    assert await library.proposals.list(WORLD) == []


async def everything(database: Location, word: str) -> None:
    async with open_database(database) as db:
        store = guests(db, now=lambda: 1.0)
        place = Place(word, word)
        for number in range(2):
            draft = Draft(word, f"{word} {number}", (word,), metadata={word: word})
            await store.put(place, f"{word}{number}", draft, source=word, author=word)
        await store.put(place, f"{word}0", draft, source=word, author=word, expect=1)
        assert len((await hits(store, word, place, Filters(word))).hits) == 2
        assert len(await store.list(place, after=word, limit=5, filters=Filters(word))) == 2
        await store.delete(place, f"{word}0", expect=3)
        assert msgpack.packb((await store.get(place, f"{word}1")).metadata)


async def test_no_text_is_ever_part_of_a_statement_and_postgresql_understands_each(
    two_places: tuple[Location, Location],
) -> None:
    with watched() as (built, hostile):
        await everything(two_places[0], HOSTILE)
    with watched() as (_, plain):
        await everything(two_places[1], "word")
    assert set(hostile) == set(plain)
    shared = [each for each in built if not isinstance(each, str | sqlite.Insert | postgresql.Insert)]
    assert all(str(each.compile(dialect=postgresql.dialect())) for each in shared)


async def test_many_changes_at_once_each_happen_once(db: Database) -> None:
    store = guests(db)
    versions: list[int] = []

    async def one(number: int) -> None:
        versions.append(await put(store, f"{number % 5}", f"dragon {number}"))

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(one, number)
    assert sorted(versions) == list(range(1, 41))
    assert len(await found(store, "dragon")) == 5
