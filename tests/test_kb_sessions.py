"""Sessions of the service `kb`: what one chat says of a base, and what activation remembers of it, is its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from innkeeper import Host
from innkeeper.knowledge.joined import remembered
from innkeeper.knowledge.joined.session import SESSIONS
from innkeeper.storage.owners import OwnerStore
from kb_homes import base_file, entry, guest_bases, home, opened
from relays import ask, get, refused

__all__ = ["home"]

WORLD = {"base": "world"}
BRIDGE = entry("bridge", "The bridge stands.", keywords=["bridge"])


async def says(host: Host, session: str, id: str = "bridge") -> Any:
    return (await get(host, "lore", "get", id=id, session=session, **WORLD))["content"]


async def active(host: Host, text: str, session: str = "", **more: Any) -> list[str]:
    asked = {"bases": ["world"], "messages": [{"content": text}], "session": session, **more}
    return [each["text"] for each in (await get(host, "lore", "activate", **asked))["active"]]


async def test_two_sessions_do_not_see_each_other_and_the_base_stays_as_it_is(home: Path) -> None:
    file = base_file(home, "world", [BRIDGE])
    before = file.read_bytes()
    async with opened(home) as host:
        await get(host, "lore", "patch", id="bridge", content="桥已经毁了", session="one", **WORLD)
        await get(host, "lore", "append", id="bridge", text="It is guarded.", session="two", **WORLD)
        await get(host, "lore", "put", id="ferry", content="A ferry", keywords=["ferry"], session="two", **WORLD)
        await get(host, "lore", "delete", id="bridge", session="three", **WORLD)
        assert await says(host, "one") == "桥已经毁了"
        assert await says(host, "two") == "The bridge stands.\n\nIt is guarded."
        assert await says(host, "") == await says(host, "four") == "The bridge stands."
        await refused(host, "lore", "get", "not_found", id="bridge", session="three", **WORLD)
        for session in ("", "one", "three"):
            await refused(host, "lore", "get", "not_found", id="ferry", session=session, **WORLD)
        assert await active(host, "the bridge", "one") == ["桥已经毁了"]
        assert await active(host, "the bridge", "three") == []
        assert await active(host, "a ferry", "two") == ["A ferry"]
        assert await active(host, "bridge and ferry") == ["The bridge stands."]

        async def listed(session: str) -> list[str]:
            found = await get(host, "lore", "list", contents=True, session=session, **WORLD)
            return [each["content"] for each in found["entries"]]

        assert await listed("one") == ["桥已经毁了"]
        assert await listed("two") == ["The bridge stands.\n\nIt is guarded.", "A ferry"]
        assert await listed("three") == []
        assert await listed("") == ["The bridge stands."]
    assert file.read_bytes() == before
    async with opened(home) as host:
        assert await says(host, "one") == "桥已经毁了"


async def test_a_search_finds_what_the_session_says_first_and_nothing_of_what_it_says_no_more(home: Path) -> None:
    others = [entry(f"e{number}", f"Another bridge, the {number}th.") for number in range(6)]
    base_file(home, "world", [BRIDGE, *others])
    async with opened(home) as host:

        async def found(query: str, session: str, **more: Any) -> list[tuple[str, str]]:
            answer = await get(host, "lore", "search", query=query, session=session, **more, **WORLD)
            hits = answer["hits"]
            assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
            return [(hit["id"], hit["content"]) for hit in hits]

        await get(host, "lore", "put", id="bridge", content="The bridge burned.", session="one", **WORLD)
        await get(host, "lore", "put", id="ash", content="Ash lies on the bridge.", session="one", **WORLD)
        await get(host, "lore", "delete", id="e3", session="one", **WORLD)
        for mode in ("keyword", "hybrid"):
            hits = await found("bridge", "one", mode=mode, k=4)
            assert {id for id, _ in hits[:2]} == {"ash", "bridge"}
            assert ("bridge", "The bridge stands.") not in hits
            assert len(hits) == 4
            everything = [id for id, _ in await found("bridge", "one", mode=mode, k=50)]
            assert sorted(everything) == ["ash", "bridge", "e0", "e1", "e2", "e4", "e5"]
        assert await found("burned", "two", mode="keyword") == []
        assert await found("burned", "", mode="keyword") == []
        assert await found("bridge", "one", tags=["none"]) == []
        # Few places are not filled by the session alone.
        assert [id for id, _ in await found("bridge", "one", mode="keyword", k=2)][1] in {f"e{n}" for n in range(6)}


async def test_a_version_of_the_base_is_never_one_of_a_session(home: Path) -> None:
    base_file(home, "world", [BRIDGE])
    async with opened(home) as host:
        base = (await get(host, "lore", "get", id="bridge", session="s", **WORLD))["version"]
        mine = await get(host, "lore", "patch", id="bridge", content="a", expect=base, session="s", **WORLD)
        assert mine["version"] > SESSIONS
        error = await refused(
            host, "lore", "patch", "conflict", id="bridge", content="b", expect=base, session="s", **WORLD
        )
        assert error["current"] == mine["version"]
        await refused(host, "lore", "put", "conflict", id="bridge", content="b", expect=0, session="s", **WORLD)
        await refused(host, "lore", "delete", "conflict", id="bridge", expect=base, session="s", **WORLD)
        await refused(host, "lore", "patch", "conflict", id="bridge", content="b", expect=mine["version"], **WORLD)
        await get(host, "lore", "patch", id="bridge", content="c", expect=mine["version"], session="s", **WORLD)


async def test_a_session_is_a_name_and_no_more(home: Path) -> None:
    base_file(home, "world", [BRIDGE])
    async with opened(home) as host:
        names = ["../x", "a/b", "*", "' OR 1=1 --", "%", "S", "s ", "会话", "\u202e", "con"]
        for session in names:
            await get(host, "lore", "patch", id="bridge", content=f"of {session}", session=session, **WORLD)
        for session in names:
            assert await says(host, session) == f"of {session}"
        for other in ("s", "s  ", "_", "x", ""):
            assert await says(host, other) == "The bridge stands."


async def test_what_is_no_name_is_no_session(home: Path) -> None:
    base_file(home, "world", [BRIDGE])
    operations: dict[str, dict[str, Any]] = {
        "get": {"id": "bridge"},
        "put": {"id": "bridge", "content": "x"},
        "search": {"query": "bridge"},
        "list": {},
        "delete": {"id": "bridge"},
    }
    async with opened(home) as host:
        for session in ("\0", "a\nb", "s" * 129, "桥" * 100):
            for operation, more in operations.items():
                await refused(host, "lore", operation, "invalid", session=session, **more, **WORLD)
            asked = {"bases": ["world"], "messages": [], "session": session}
            await refused(host, "lore", "activate", "invalid", **asked)


async def test_a_session_says_nothing_of_a_base_that_is_not_there(home: Path) -> None:
    async with opened(home) as host:
        await refused(host, "lore", "put", "not_found", id="a", content="x", session="s", **WORLD)
        await refused(host, "lore", "info", "not_found", **WORLD)


# --- what activation remembers --------------------------------------------------------------------------------------

ONCE = entry("once", "Welcome!", keywords=["inn"], usage_metadata={"once_per_session": True})
STICKY = entry("sticky", "It burns.", keywords=["fire"], extensions={"sillytavern": {"sticky": 2, "cooldown": 2}})


@pytest.mark.parametrize("profile", ["native", "st-1.15"])
async def test_timed_effects_go_on_in_their_session_and_in_no_other(home: Path, profile: str) -> None:
    base_file(home, "world", [STICKY])
    async with opened(home) as host:
        chat = [{"content": "fire!"}]
        rounds = []
        for number in range(6):
            asked = {"bases": ["world"], "messages": chat, "session": "one", "profile": profile, "scan_depth": 1}
            rounds.append(bool((await get(host, "lore", "activate", **asked))["active"]))
            quiet = {**asked, "session": f"other{number}", "messages": [{"content": "rain"}]}
            assert (await get(host, "lore", "activate", **quiet))["active"] == []
            chat = [*chat, {"content": "rain"}]
        assert rounds[0] is True
        assert rounds[1] is True
        assert rounds[3:] == [False] * 3
    async with opened(home) as host:
        # Also after the host was away: it cools down still, or is through with it.
        asked = {"bases": ["world"], "messages": [*chat[:2], {"content": "fire"}], "session": "two"}
        assert (await get(host, "lore", "activate", profile=profile, **asked))["active"]


async def test_once_is_once_in_a_session_and_a_dry_run_is_none(home: Path) -> None:
    base_file(home, "world", [ONCE])
    async with opened(home) as host:

        async def told(messages: int, session: str, **more: Any) -> bool:
            chat = [{"content": "the inn"}] * messages
            found = await get(host, "lore", "activate", bases=["world"], messages=chat, session=session, **more)
            return bool(found["active"])

        assert await told(1, "one", dry_run=True)
        assert await told(1, "one")
        assert not await told(2, "one")
        assert not await told(3, "one", dry_run=True)
        # The same turn generated again is not another one.
        assert await told(1, "one")
        assert await told(2, "two")
        assert await told(1, "")
        assert await told(2, "")
    async with opened(home) as host:
        assert not await told(2, "one")
        assert not await told(3, "two")


async def test_what_several_bases_remember_is_kept_together_or_not_at_all(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base_file(home, "world", [ONCE])
    base_file(home, "town", [{**ONCE, "id": "other", "content": {"value": "Hello!"}}])
    async with opened(home) as host:
        keep, tries = remembered.keep, 0

        async def disturbed(library: Any, places: Any, memory: Any, **more: Any) -> bool:
            # Somebody else changes the second base's part of the session, after it was recalled.
            nonlocal tries
            tries += 1
            if tries == 1:
                await get(host, "lore", "put", base="town", id="x", content="x", session="s")
            return await keep(library, places, memory, **more)

        monkeypatch.setattr("innkeeper.knowledge.joined.activating.keep", disturbed)
        asked = {"bases": ["world", "town"], "messages": [{"content": "inn"}], "session": "s"}
        found = await get(host, "lore", "activate", **asked)
        assert tries == 2
        # What was decided first was never told anybody: nothing of it counts as told.
        assert [each["text"] for each in found["active"]] == ["Welcome!", "Hello!"]
        asked["messages"] *= 2
        assert (await get(host, "lore", "activate", **asked))["active"] == []


async def test_many_activations_of_one_session_at_once_are_told_or_told_to_come_back(home: Path) -> None:
    base_file(home, "world", [ONCE])
    told: list[Any] = []
    async with opened(home) as host:

        async def one(messages: int) -> None:
            chat = [{"content": "inn"}] * messages
            told.append(await ask(host, "lore", "activate", bases=["world"], messages=chat, session="s"))

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(one, number + 1)
        await one(20)
    assert any(each["ok"]["active"] for each in told[:-1] if "ok" in each)
    assert all(each["error"]["kind"] == "busy" for each in told if "error" in each)
    assert told[-1]["ok"]["active"] == []


async def test_a_session_that_remembers_too_much_forgets_what_is_oldest(home: Path) -> None:
    many = [{**ONCE, "id": f"{number:05}-{'x' * 100}"} for number in range(3000)]
    base_file(home, "world", many)
    async with opened(home) as host:
        found = await get(
            host, "lore", "activate", bases=["world"], messages=[{"content": "inn"}], session="s", trace="none"
        )
        assert len(found["active"]) == 3000
        chat = [{"content": "inn"}] * 2
        found = await get(host, "lore", "activate", bases=["world"], messages=chat, session="s", trace="none")
        assert 0 < len(found["active"]) < 3000


async def gone(host: Host) -> None:
    # Another process may have erased it: a read notices that after a moment.
    for _ in range(400):
        if "error" in await ask(host, "lore", "get", id="a", **WORLD):
            return
        await trio.sleep(0.05)
    raise AssertionError("it is there still")


async def test_what_was_erased_is_in_no_view_of_a_session(home: Path) -> None:
    async with opened(home) as host:
        library = (await guest_bases(host))._bases.library
        for secret in ("the first secret", "another"):
            await get(host, "lore", "put", id="a", content=secret, keywords=["gate"], **WORLD)
            await get(host, "lore", "put", id="b", content=f"{secret} of s", keywords=["gate"], session="s", **WORLD)
            assert sorted(await active(host, "gate", "s")) == sorted([secret, f"{secret} of s"])
            hits = (await get(host, "lore", "search", query="secret another", session="s", **WORLD))["hits"]
            assert {hit["content"] for hit in hits} == {secret, f"{secret} of s"}
            await OwnerStore(library.store.db).erase("default_user")
            await gone(host)
            for operation in ({"id": "b", "session": "s"}, {"id": "a", "session": "s"}):
                await refused(host, "lore", "get", "not_found", **operation, **WORLD)
