"""The service `kb` as a guest meets it: bases that a grant names, and a source that it cannot choose."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
import trio.lowlevel

from innkeeper import Host
from innkeeper.bridge.background import Background
from innkeeper.bridge.bridge import FILE
from innkeeper.bridge.caller import Caller
from innkeeper.bridge.host import STATE
from innkeeper.bridge.kb import KbService, make
from innkeeper.bridge.knowledge import LazyKnowledge
from innkeeper.bridge.needs import Needs
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.composition import open_host
from innkeeper.knowledge.joined.guests import GuestBases
from innkeeper.plugins import home as home_module
from innkeeper.plugins.configuration import Configuration
from innkeeper.plugins.rights import NONE
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.knowledge_model import Draft, Place
from innkeeper.storage.run_model import USER
from kb_bases import guests
from kept import kept_nothing
from relays import ask, get, install, refused, relay

BOTH = ("kb.read:world", "kb.write:world")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    return tmp_path / "home"


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Host]:
    async with open_host(home, watch=False) as host:
        yield host


async def curated(home: Path, id: str, content: str) -> None:
    """An entry that a person wrote."""
    async with open_database(home / STATE / FILE) as db:
        draft = Draft(content=content)
        await guests(db).put(Place(USER, "world"), id, draft, source="manual_entry", author="")


async def test_a_guest_keeps_entries_finds_them_and_is_told_why(home: Path) -> None:
    install(home, "lore", relay("kb"), BOTH)
    async with opened(home) as host:
        made = await get(host, "lore", "put", base="world", content="Ignis guards the bridge", keywords=["dragon"])
        assert made["version"] == 1
        changed = await get(host, "lore", "patch", base="world", id=made["id"], title="Ignis", metadata={"age": 1200})
    async with opened(home) as host:
        (hit,) = (await get(host, "lore", "search", base="world", query="Where is the DRAGON?", mode="keyword"))["hits"]
        assert (hit["id"], hit["content"], hit["score"] > 0) == (made["id"], "Ignis guards the bridge", True)
        assert hit["matches"][0] == {"term": "dragon", "field": "keyword"}
        entry = await get(host, "lore", "get", base="world", id=made["id"])
        assert (entry["title"], entry["keywords"], entry["metadata"]) == ("Ignis", ["dragon"], {"age": 1200})
        assert entry["version"] == changed["version"] == 2
        (listed,) = (await get(host, "lore", "list", base="world"))["entries"]
        assert listed["id"] == made["id"]
        assert set(entry) - set(listed) == {"content", "metadata"}
        assert await get(host, "lore", "delete", base="world", id=made["id"], expect=2) == {"deleted": True}
        await refused(host, "lore", "get", "not_found", base="world", id=made["id"])


async def test_what_a_guest_writes_says_so_and_a_guest_cannot_say_otherwise(home: Path) -> None:
    install(home, "lore", relay("kb"), BOTH)
    (home / STATE).mkdir(mode=0o700)
    await curated(home, "bridge", "The bridge stands")
    async with opened(home) as host:
        assert (await get(host, "lore", "get", base="world", id="bridge"))["source"] == "manual_entry"
        for operation in ("put", "patch"):
            for key, value in (("source", "manual_entry"), ("author", "somebody"), ("version", 9), ("owner", "other")):
                more: dict[str, Any] = {key: value, "content": "x", "base": "world", "id": "bridge"}
                assert key in (await refused(host, "lore", operation, "invalid", **more))["message"]
        await get(host, "lore", "patch", base="world", id="bridge", content="The bridge is gone")
        entry = await get(host, "lore", "get", base="world", id="bridge")
        assert (entry["source"], entry["author"]) == ("agent_generated", "lore")
        found = await get(host, "lore", "search", base="world", query="bridge", source="manual_entry", mode="keyword")
        assert found == {"hits": [], "notes": []}


ARGUMENTS: dict[str, dict[str, Any]] = {
    "search": {"query": "a"},
    "get": {"id": "a"},
    "list": {},
    "put": {"id": "a", "content": "x"},
    "patch": {"id": "a", "content": "x"},
    "delete": {"id": "a"},
}


@pytest.mark.parametrize(("operation", "arguments"), ARGUMENTS.items(), ids=ARGUMENTS)
async def test_only_the_bases_and_the_ways_that_the_grant_names_can_be_used(
    home: Path, operation: str, arguments: dict[str, Any]
) -> None:
    reads = operation in ("search", "get", "list")
    lacks = "kb.read" if reads else "kb.write"
    wanted = ("kb.read:*", "kb.write:*")
    install(home, "nothing", relay("kb"), wanted, ())
    install(home, "other", relay("kb"), wanted, ("kb.read:other", "kb.write:other"))
    install(home, "half", relay("kb"), wanted, ("kb.write:world" if reads else "kb.read:world",))
    (home / STATE).mkdir(mode=0o700)
    await curated(home, "a", "secret")
    async with opened(home) as host:
        for plugin in ("nothing", "other", "half"):
            error = await refused(host, plugin, operation, "denied", base="world", **arguments)
            assert error["capability"] == lacks
    async with open_database(home / STATE / FILE) as db:
        assert (await guests(db).get(Place(USER, "world"), "a")).content == "secret"


@pytest.mark.parametrize("base", ["", "*", "..", "../world", "a b", "a\0", "W" * 129, ".hidden"])
async def test_a_grant_for_all_bases_is_one_for_names_and_no_more(home: Path, base: str) -> None:
    install(home, "lore", relay("kb"), ("kb.read:*", "kb.write:*"))
    async with opened(home) as host:
        await refused(host, "lore", "put", "invalid", base=base, content="x")
    assert kept_nothing(home / STATE)


async def test_a_base_that_is_not_there_is_not_found_and_made_with_its_first_entry(home: Path) -> None:
    install(home, "lore", relay("kb"), BOTH)
    async with opened(home) as host:
        for operation in ("search", "get", "list", "patch", "delete"):
            await refused(host, "lore", operation, "not_found", base="world", **ARGUMENTS[operation])
        await refused(host, "lore", "put", "not_found", base="world", id="a", content="", expect=3)
        await get(host, "lore", "put", base="world", id="a", content="", expect=0)
        assert (await get(host, "lore", "get", base="world", id="a"))["content"] == ""
        error = await refused(host, "lore", "put", "conflict", base="world", id="a", content="", expect=0)
        assert error["current"] == 1
        error = await refused(host, "lore", "patch", "conflict", base="world", id="a", content="", expect=9)
        assert error["current"] == 1
        error = await refused(host, "lore", "put", "conflict", base="world", content="", expect=9)
        assert error["current"] == 0


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "too many hits": ("search", {"query": "a", "k": 51}),
    "no hits": ("search", {"query": "a", "k": 0}),
    "a long query": ("search", {"query": "a" * 2001}),
    "a control character in an id": ("get", {"id": "a\n"}),
    "an id of many bytes": ("get", {"id": "桥" * 100}),
    "too many at once": ("list", {"limit": 101}),
    "a giant content": ("put", {"content": "x" * 32769}),
    "a content of many bytes": ("put", {"content": "桥" * 20_000}),
    "a NUL": ("put", {"content": "\0"}),
    "too many keywords": ("put", {"content": "", "keywords": ["a"] * 65}),
    "a keyword of bytes": ("put", {"content": "", "keywords": [b"a"]}),
    "large metadata": ("put", {"content": "", "metadata": {"a": "x" * 9000}}),
    "metadata of many elements": ("put", {"content": "", "metadata": {"a": [0] * 3000}}),
    "deep metadata": ("put", {"content": "", "metadata": {"a": [[[[[[[[]]]]]]]] * 4, "b": msgpack.Timestamp(1)}}),
    "metadata that is no map": ("put", {"content": "", "metadata": [1]}),
    "a priority without end": ("put", {"content": "", "priority": 1 << 62}),
    "a version below 0": ("put", {"content": "", "expect": -1}),
}


@pytest.mark.parametrize(("operation", "arguments"), WRONG.values(), ids=WRONG)
async def test_what_is_out_of_bounds_is_refused_with_a_sentence(
    home: Path, operation: str, arguments: dict[str, Any]
) -> None:
    install(home, "lore", relay("kb"), BOTH)
    async with opened(home) as host:
        error = await refused(host, "lore", operation, "invalid", base="world", **arguments)
        assert 10 < len(error["message"]) < 600


async def test_a_flood_of_the_largest_entries_leaves_others_their_turn(home: Path) -> None:
    install(home, "lore", relay("kb"), BOTH)
    install(home, "notes", relay("kv"), ("kv",))
    content = " ".join(f"{number:x}" for number in range(3000))
    answers: list[Any] = []

    async def flood(number: int) -> None:
        answers.append(await ask(host, "lore", "put", base="world", id=f"{number}", content=content))

    async with opened(home) as host:
        await get(host, "notes", "put", key="a", value=b"")
        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(flood, number)
            with trio.fail_after(30):
                while not answers:
                    await trio.lowlevel.checkpoint()
            before = len(answers)
            await get(host, "notes", "put", key="a", value=b"x")
            # It waited for the change that was under way, and perhaps for the next one.
            assert len(answers) - before <= 4
        assert all("ok" in answer for answer in answers)


class Restless(GuestBases):
    """Bases in which somebody else changes the entry whenever it was read."""

    def __init__(self, plain: GuestBases) -> None:
        self.__dict__.update(vars(plain))
        self.changes = 0

    async def get(self, place: Place, id: str) -> Any:
        entry = await super().get(place, id)
        if self.changes:
            self.changes -= 1
            await self.put(place, id, Draft(content=f"{self.changes}"), source="manual_entry", author="")
        return entry


async def test_a_patch_never_undoes_what_somebody_else_wrote_meanwhile(tmp_path: Path) -> None:
    async with open_database(tmp_path / "private" / "inn.db") as db:
        store = Restless(guests(db))
        place = Place("default_user", "world")
        await store.put(place, "a", Draft(content="first"), source="manual_entry", author="")

        async def knowledge() -> Restless:
            return store

        service = KbService(LazyKnowledge(knowledge))
        caller = Caller("lore", "default_user", NONE)
        store.changes = 3
        await service.patch(caller, base="world", id="a", title="new")
        entry = await store.get(place, "a")
        assert (entry.head.title, entry.content) == ("new", "0")
        store.changes = 100
        with pytest.raises(ServiceError) as caught:
            await service.patch(caller, base="world", id="a", title="newer")
        assert caught.value.why is Refusal.CONFLICT


async def test_the_store_is_made_once_and_when_it_is_needed(tmp_path: Path) -> None:
    made: list[GuestBases] = []
    async with open_database(tmp_path / "private" / "inn.db") as db:

        async def knowledge() -> GuestBases:
            await trio.lowlevel.checkpoint()
            made.append(guests(db))
            return made[-1]

        lazy = LazyKnowledge(knowledge)
        service = KbService(lazy)
        caller = Caller("lore", "default_user", NONE)
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(partial(service.put, caller, base="world", id=f"{number}", content="x"))
        assert len(made) == 1
        await lazy.aclose()


async def no_database() -> Database:
    raise AssertionError("nobody asks")


def no_host() -> Host:
    raise AssertionError("nobody asks")


async def test_a_host_without_knowledge_bases_says_so() -> None:
    with pytest.raises(ServiceError) as caught:
        await make(Needs(no_database, Configuration(), no_host, Background())).get(
            Caller("lore", "default_user", NONE), base="world", id="a"
        )
    assert caught.value.why is Refusal.UNAVAILABLE
