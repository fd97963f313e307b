"""What a home keeps ready of its bases is made once for all who ask, and kept quick while a host runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from event_homes import until
from innkeeper.knowledge.activation.interface import Message, Request
from innkeeper.knowledge.joined import activating
from innkeeper.knowledge.joined.bases import Bases
from innkeeper.knowledge.joined.opening import Knowledge
from innkeeper.knowledge.retrieval import live
from innkeeper.knowledge.store.values import Change, Origin
from innkeeper.knowledge.worldinfo.activate import PROFILE
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.knowledge_model import Filters, Place, Query
from innkeeper.storage.location import Location
from kb_bases import WORLD, change, document, knowing, many


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as opened:
        yield opened


async def active(knowledge: Knowledge, session: str, text: str = "a dragon", **options: Any) -> set[str]:
    place = Place(WORLD.owner, WORLD.base, session)
    request = Request(messages=[Message(text)], session=session, seed=1)
    result = await knowledge.activating.activate([place], request, **options)
    return {each.entry for each in result.active}


async def test_sessions_share_a_world_and_one_that_changed_something_has_its_own(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(*arguments: Any) -> Any:
        made.append(1)
        return books(*arguments)

    books = activating.Books
    monkeypatch.setattr(activating, "Books", counted)
    knowledge = knowing(db)
    keys = {"activation_criteria": {"keywords": ["dragon"]}}
    await knowledge.bases.change(WORLD, [Change(id, document(id, "text", **keys)) for id in ("a", "b")], Origin())
    for session in ("", "one", "two", "three", "four", "five", ""):
        assert await active(knowledge, session, profile=PROFILE) == {"a", "b"}
    assert len(made) == 1
    await knowledge.bases.library.sessions.put(WORLD, "two", "a", None, author="p")
    assert await active(knowledge, "two", profile=PROFILE) == {"b"}
    assert await active(knowledge, "one", profile=PROFILE) == {"a", "b"}
    assert await active(knowledge, "two", profile=PROFILE) == {"b"}
    assert len(made) == 2


async def test_searches_are_kept_up_while_a_host_runs(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_FROZEN", 5)
    knowledge = knowing(db)
    await knowledge.bases.change(WORLD, many(3, "an inn"), Origin())
    retriever = (await knowledge.bases.search(WORLD)).retriever
    await knowledge.bases.change(WORLD, many(20, "a dragon", "d"), Origin())
    assert retriever.wants_upkeep
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(knowledge.bases.serve)
            await until(lambda: not retriever.wants_upkeep)
            nursery.cancel_scope.cancel()
    found = await knowledge.guests.search(WORLD, Query("dragon", mode="keyword", k=50), filters=Filters())
    assert len(found.hits) == 20


async def test_whether_vectors_are_missing_is_looked_at_once_a_revision(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    async def fill(self: Bases, place: Place, live: Any) -> None:
        looked.append(live.revision)

    monkeypatch.setattr(Bases, "_fill", fill)
    knowledge = knowing(db)
    await knowledge.bases.change(WORLD, [change("a", "a dragon")], Origin())
    for _ in range(3):
        await knowledge.bases.search(WORLD)
    assert len(looked) == 1
    await knowledge.bases.change(WORLD, [change("b", "an inn")], Origin())
    for _ in range(3):
        await knowledge.bases.search(WORLD)
    assert len(looked) == 2
