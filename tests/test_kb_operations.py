"""Each operation of the service `kb`, asked by a guest of the real thing."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from innkeeper import Host
from innkeeper.knowledge.store.values import EDIT, Origin
from innkeeper.storage.knowledge_model import Place
from kb_bases import change
from kb_homes import ALL, base_file, entry, guest_bases, home, opened
from relays import get, install, refused, relay

__all__ = ["home"]

WORLD = {"base": "world"}
ENTRIES = [
    entry("gate", "The gate is shut after sunset.", keywords=["gate"], displayName="Gate"),
    entry("inn", "Travellers sleep at the inn.", keywords=["inn"], entry_type="place"),
    entry(
        "wyrm",
        "An ancient reptile with wings burns villages.",
        management_metadata={"tags": ["creature"], "source": "st_import_v1"},
    ),
    entry("old", "Nobody believes this.", management_metadata={"is_enabled": False, "tags": ["creature"]}),
]
ASKED = "Where can one spend the night?"


def ids(found: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in found["hits"]]


# --- reading --------------------------------------------------------------------------------------------------------


async def test_a_search_is_by_words_by_meaning_or_by_both_and_takes_a_vector_of_the_guest(home: Path) -> None:
    base_file(home, "world", ENTRIES)
    async with opened(home) as host:
        assert ids(await get(host, "lore", "search", query=ASKED, mode="keyword", **WORLD)) == []
        for mode in ("hybrid", "semantic"):
            found = await get(host, "lore", "search", query=ASKED, mode=mode, k=1, **WORLD)
            assert (ids(found), found["notes"]) == (["inn"], [])
            assert found["hits"][0]["cosine"] > 0.1
        made = await get(host, "lore", "embed", texts=[ASKED, ""], **WORLD)
        assert (made["dimension"], len(made["vectors"])) == (256, 2)
        assert abs(sum(number * number for number in made["vectors"][0]) - 1) < 1e-3
        assert not any(made["vectors"][1])
        found = await get(host, "lore", "search", vector=made["vectors"][0], mode="semantic", k=1, **WORLD)
        assert ids(found) == ["inn"]
        for wrong in ([0.1] * 255, [0.0] * 256, [float("nan")] * 256, [float("inf")] * 256):
            error = await refused(host, "lore", "search", "invalid", vector=wrong, **WORLD)
            assert "vector" in error["message"]


async def test_filters_narrow_what_is_found_and_listed(home: Path) -> None:
    base_file(home, "world", ENTRIES)
    async with opened(home) as host:

        async def both(**filters: Any) -> tuple[list[str], list[str]]:
            found = await get(host, "lore", "search", query="inn gate reptile believes", **filters, **WORLD)
            listed = await get(host, "lore", "list", **filters, **WORLD)
            return sorted(ids(found)), [each["id"] for each in listed["entries"]]

        assert await both(tags=["creature"], disabled=False) == (["wyrm"], ["wyrm"])
        assert await both(tags=["creature", "x"], disabled=True) == (["old", "wyrm"], ["old", "wyrm"])
        assert await both(types=["place"]) == (["inn"], ["inn"])
        assert await both(types=["place"], tags=["creature"]) == ([], [])
        assert await both(source="st_import_v1") == (["wyrm"], ["wyrm"])


async def test_a_list_comes_in_pages_in_the_order_of_ids_and_with_contents_where_they_are_wanted(home: Path) -> None:
    base_file(home, "world", [entry(f"e{number:03}", f"of {number}") for number in range(7)])
    async with opened(home) as host:
        seen: list[str] = []
        while True:
            after = seen[-1] if seen else ""
            page = (await get(host, "lore", "list", after=after, limit=3, contents=True, **WORLD))["entries"]
            if not page:
                break
            seen += [each["id"] for each in page]
            assert all(each["content"] == f"of {int(each['id'][1:])}" for each in page)
        assert seen == [f"e{number:03}" for number in range(7)]
        plain = (await get(host, "lore", "list", limit=1, **WORLD))["entries"]
        assert "content" not in plain[0]


async def test_a_base_says_what_it_is_and_an_entry_what_became_of_it(home: Path) -> None:
    more = {"kb_displayName": "The World", "kb_description": "d", "tags": ["a"], "kb_extensions": {"x": 1}}
    base_file(home, "world", ENTRIES, **more)
    async with opened(home) as host:
        info = await get(host, "lore", "info", **WORLD)
        assert (info["id"], info["name"], info["description"], info["entries"]) == ("world", "The World", "d", 4)
        assert (info["tags"], info["extensions"], info["read_only"], info["waits"]) == (["a"], {"x": 1}, False, False)
        versions = [(await get(host, "lore", "patch", id="inn", content=f"{n}", **WORLD))["version"] for n in range(5)]
        await get(host, "lore", "delete", id="inn", **WORLD)
        changes = (await get(host, "lore", "history", id="inn", limit=4, **WORLD))["changes"]
        assert [(each["kind"], each["author"], each["existed"]) for each in changes[:2]] == [
            ("delete", "lore", True),
            ("put", "lore", True),
        ]
        assert [each["number"] for each in changes[1:]] == versions[:1:-1]
        rest = (await get(host, "lore", "history", id="inn", before=changes[-1]["number"], **WORLD))["changes"]
        assert [each["number"] for each in rest][:2] == versions[1::-1]
        assert rest[-1]["existed"] is False
        assert (await get(host, "lore", "history", id="nothing", **WORLD))["changes"] == []


async def test_the_whole_document_comes_where_it_is_wanted(home: Path) -> None:
    base_file(home, "world", [entry("a", "x", of_others={"b": [1, None]})])
    async with opened(home) as host:
        assert "document" not in await get(host, "lore", "get", id="a", **WORLD)
        found = await get(host, "lore", "get", id="a", whole=True, **WORLD)
        assert found["document"] == entry("a", "x", of_others={"b": [1, None]})


# --- writing --------------------------------------------------------------------------------------------------------


async def document(host: Host, id: str = "a") -> Any:
    return (await get(host, "lore", "get", id=id, whole=True, **WORLD))["document"]


async def test_fields_are_merged_into_what_is_there_and_none_takes_away(home: Path) -> None:
    mine = entry(
        "a", "x", usage_metadata={"role": "user", "placement": "p"}, extensions={"mod": {"a": 1, "b": {"c": 2}}}
    )
    base_file(home, "world", [mine])
    async with opened(home) as host:
        fields = {
            "usage_metadata": {"role": "system", "depth_offset": 2, "placement": None},
            "extensions": {"mod": {"b": {"d": 3}}},
            "mine": [1],
        }
        await get(host, "lore", "patch", id="a", fields=fields, **WORLD)
        found = await document(host)
        assert (found["usage_metadata"]["role"], found["usage_metadata"]["depth_offset"]) == ("system", 2)
        assert "placement" not in found["usage_metadata"]
        assert (found["extensions"], found["mine"]) == ({"mod": {"a": 1, "b": {"c": 2, "d": 3}}}, [1])
        assert (found["content"], found["id"]) == ({"value": "x"}, "a")


WRONG_FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "the id": ({"id": "b"}, "fields.id"),
    "the version": ({"version": 3}, "fields.version"),
    "a role that is none": ({"usage_metadata": {"role": "boss"}}, "usage_metadata.role"),
    "a part that is no map": ({"content": 5}, "content"),
    "a probability": ({"activation_criteria": {"trigger_probability": 3}}, "trigger_probability"),
    "a long content by another way": ({"content": {"value": "x" * 33_000}}, "32768 bytes"),
    "a NUL by another way": ({"content": {"value": "a\0"}}, "NUL"),
    "a title of a terminal": ({"displayName": "a\x1b[2J"}, "control character"),
    "a long title": ({"displayName": "x" * 201}, "200 characters"),
    "many keywords": ({"activation_criteria": {"keywords": ["a"] * 65}}, "64 keywords"),
    "a keyword of two lines": ({"activation_criteria": {"keywords": ["a\nb"]}}, "control character"),
    "large metadata": ({"extensions": {"innkeeper": {"metadata": {"a": "x" * 9000}}}}, "metadata"),
    "a priority": ({"usage_metadata": {"priority": 1e9}}, "priority"),
}


async def test_a_field_that_is_wrong_is_named_and_nothing_is_written(home: Path) -> None:
    base_file(home, "world", [entry("a", "x")])
    async with opened(home) as host:
        for what, (fields, word) in WRONG_FIELDS.items():
            for operation in ("put", "patch"):
                error = await refused(host, "lore", operation, "invalid", id="a", content="y", fields=fields, **WORLD)
                assert word in error["message"], what
            assert await document(host) == entry("a", "x"), what


async def test_no_field_says_where_an_entry_comes_from(home: Path) -> None:
    base_file(home, "world", [entry("a", "x")])
    async with opened(home) as host:
        fields = {"management_metadata": {"source": "manual_entry", "author": "somebody"}}
        for more in ({}, {"session": "s"}):
            await get(host, "lore", "patch", id="a", fields=fields, **more, **WORLD)
            found = await get(host, "lore", "get", id="a", **more, **WORLD)
            assert (found["source"], found["author"]) == ("agent_generated", "lore")


async def test_a_paragraph_is_appended_once(home: Path) -> None:
    base_file(home, "world", [entry("a", "The bridge stands.")])
    async with opened(home) as host:
        first = await get(host, "lore", "append", id="a", text="  The bridge\nburned. ", **WORLD)
        assert first["appended"] is True
        again = await get(host, "lore", "append", id="a", text="The bridge burned.", **WORLD)
        assert (again["appended"], again["version"]) == (False, first["version"])
        assert (await get(host, "lore", "get", id="a", **WORLD))[
            "content"
        ] == "The bridge stands.\n\nThe bridge\nburned."
        await refused(host, "lore", "append", "conflict", id="a", text="x", expect=1, **WORLD)
        await refused(host, "lore", "append", "invalid", id="a", text=" \n ", **WORLD)
        await refused(host, "lore", "append", "not_found", id="b", text="x", **WORLD)
        for _ in range(4):
            await get(host, "lore", "append", id="a", text=f"{_}" * 7000, **WORLD)
        await refused(host, "lore", "append", "invalid", id="a", text="y" * 7000, **WORLD)


async def test_what_is_out_of_date_is_disabled_tagged_and_says_why(home: Path) -> None:
    base_file(home, "world", [entry("a", "dragon", management_metadata={"tags": ["t"]})])
    async with opened(home) as host:
        await get(host, "lore", "deprecate", id="a", reason="it burned", successor="b", **WORLD)
        await get(host, "lore", "deprecate", id="a", reason="again", **WORLD)
        found = await document(host)
        assert found["management_metadata"]["tags"] == ["t", "deprecated"]
        assert found["management_metadata"]["is_enabled"] is False
        assert found["extensions"]["innkeeper"]["deprecated"] == {"reason": "again", "by": "lore"}
        assert ids(await get(host, "lore", "search", query="dragon", **WORLD)) == []
        assert found["content"]["value"] == "dragon"


async def test_a_plugin_takes_back_its_own_last_change_and_nobody_elses(home: Path) -> None:
    base_file(home, "world", [entry("a", "first"), entry("b", "of the operator")])
    install(home, "other", relay("kb", '(func (export "x"))'), ("kb.read:*", "kb.write:*"))
    async with opened(home) as host:
        await get(host, "lore", "delete", id="a", **WORLD)
        assert (await get(host, "lore", "undo", id="a", expect=0, **WORLD))["id"] == "a"
        assert await document(host) == entry("a", "first")
        await get(host, "lore", "patch", id="a", content="second", **WORLD)
        error = await refused(host, "other", "undo", "invalid", id="a", **WORLD)
        assert "somebody else" in error["message"]
        await refused(host, "lore", "undo", "conflict", id="a", expect=1, **WORLD)
        await refused(host, "lore", "undo", "invalid", id="b", **WORLD)
        await get(host, "other", "patch", id="a", content="third", **WORLD)
        await refused(host, "lore", "undo", "invalid", id="a", **WORLD)
        assert (await document(host))["content"]["value"] == "third"
        await get(host, "lore", "put", id="c", content="new", **WORLD)
        assert await get(host, "lore", "undo", id="c", **WORLD) == {"id": "c", "version": 0}
        await refused(host, "lore", "get", "not_found", id="c", **WORLD)
        await refused(host, "lore", "undo", "not_found", id="nothing", **WORLD)


async def test_what_an_undo_takes_back_is_what_was_looked_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base_file(home, "world", [entry("a", "first")])
    async with opened(home) as host:
        await get(host, "lore", "patch", id="a", content="of the plugin", **WORLD)
        bases = await guest_bases(host)
        library = bases._bases.library
        place, history = Place("default_user", "world"), library.store.history

        async def meanwhile(*args: Any, **more: Any) -> Any:
            found = await history(*args, **more)
            await library.change(place, [change("a", "of the operator")], Origin(EDIT))
            return found

        monkeypatch.setattr(library.store, "history", meanwhile)
        await refused(host, "lore", "undo", "conflict", id="a", **WORLD)
        assert (await document(host))["content"]["value"] == "of the operator"


# --- approvals ------------------------------------------------------------------------------------------------------


async def test_where_the_operator_wants_to_see_it_first_every_change_waits_and_nothing_is_changed(home: Path) -> None:
    base_file(home, "world", [entry("a", "first"), entry("b", "second")])
    async with opened(home) as host:
        library = (await guest_bases(host))._bases.library
        place = Place("default_user", "world")
        await get(host, "lore", "get", id="a", **WORLD)
        await library.proposals.require(place, True)
        await library._shelf.refresh(place)
        assert (await get(host, "lore", "info", **WORLD))["waits"] is True
        waiting = [
            await get(host, "lore", "put", id="new", content="x", **WORLD),
            await get(host, "lore", "patch", id="a", content="changed", **WORLD),
            await get(host, "lore", "append", id="b", text="more", **WORLD),
            await get(host, "lore", "deprecate", id="b", reason="r", **WORLD),
            await get(host, "lore", "delete", id="b", **WORLD),
        ]
        assert all(each["pending"] > 0 for each in waiting)
        assert all(each.get("version", 0) == 0 for each in waiting)
        assert waiting[-1]["deleted"] is False
        assert await document(host) == entry("a", "first")
        assert await document(host, "b") == entry("b", "second")
        await refused(host, "lore", "get", "not_found", id="new", **WORLD)
        await refused(host, "lore", "undo", "not_found", id="new", **WORLD)
        await refused(host, "lore", "patch", "conflict", id="a", content="x", expect=9, **WORLD)
        await library.accept(place, waiting[1]["pending"])
        found = await get(host, "lore", "get", id="a", **WORLD)
        assert (found["content"], found["source"], found["author"]) == ("changed", "agent_generated", "lore")
        await refused(host, "lore", "undo", "invalid", id="a", **WORLD)
        # What a session says of an entry changes no base: it waits for nobody.
        assert (await get(host, "lore", "put", id="b", content="x", session="s", **WORLD))["version"] > 0


# --- arguments ------------------------------------------------------------------------------------------------------

LONG = "x" * 70_000
BOUNDS: dict[str, tuple[str, dict[str, Any]]] = {
    "a mode": ("search", {"query": "a", "mode": "magic"}),
    "a long vector": ("search", {"vector": [0.1] * 4097}),
    "an empty vector": ("search", {"vector": []}),
    "many tags": ("search", {"query": "a", "tags": ["a"] * 65}),
    "a long tag": ("search", {"query": "a", "tags": ["a" * 201]}),
    "a long session": ("get", {"id": "a", "session": "s" * 129}),
    "a session of two lines": ("get", {"id": "a", "session": "a\nb"}),
    "changes without end": ("history", {"id": "a", "limit": 101}),
    "no entry": ("history", {"id": ""}),
    "a paragraph without end": ("append", {"id": "a", "text": "x" * 8001}),
    "no paragraph": ("append", {"id": "a", "text": ""}),
    "a long reason": ("deprecate", {"id": "a", "reason": "x" * 201}),
    "many fields": ("put", {"content": "", "fields": {f"{n}": n for n in range(10_000)}}),
    "deep fields": ("put", {"content": "", "fields": {"a": reduce(lambda inner, _: [inner], range(70), [])}}),
    "no texts": ("embed", {"texts": []}),
    "many texts": ("embed", {"texts": ["a"] * 65}),
    "a long text": ("embed", {"texts": [LONG]}),
    "a trace that is none": ("activate", {"messages": [], "trace": "more"}),
    "a profile that is none": ("activate", {"messages": [], "profile": "st-9"}),
    "many messages": ("activate", {"messages": [{"content": "a"}] * 1001}),
    "no message": ("activate", {"messages": [{"role": "user"}]}),
    "a role that is none": ("activate", {"messages": [{"content": "a", "role": "boss"}]}),
    "a deep look": ("activate", {"messages": [], "scan_depth": 1001}),
    "recursion without end": ("activate", {"messages": [], "recursion": 101}),
    "a setting that is none": ("activate", {"messages": [], "settings": {"magic": True}}),
    "a setting that is no switch": ("activate", {"messages": [], "settings": {"semantic": "yes"}}),
    "a text that is none": ("activate", {"messages": [], "texts": {"scenario": 5}}),
    "a long injected text": ("activate", {"messages": [], "injected": [LONG]}),
    "a name of two lines": ("activate", {"messages": [], "session": "a\x00b"}),
    "a seed": ("activate", {"messages": [], "seed": -1}),
}


async def test_each_argument_has_a_bound_that_is_said(home: Path) -> None:
    base_file(home, "world", [entry("a", "x")])
    async with opened(home) as host:
        for what, (operation, arguments) in BOUNDS.items():
            place = {"bases": ["world"]} if operation == "activate" else WORLD
            error = await refused(host, "lore", operation, "invalid", **place, **arguments)
            assert 10 < len(error["message"]) < 600, what
            assert await document(host) == entry("a", "x"), what


async def test_bases_of_an_activation_are_at_most_sixteen_and_each_must_be_granted(home: Path) -> None:
    base_file(home, "world", [entry("a", "secret gate", keywords=["gate"])])
    base_file(home, "town", [entry("b", "town gate", keywords=["gate"])])
    install(home, "half", relay("kb"), ALL, ("kb.read:town",))
    message = {"messages": [{"content": "gate"}]}
    async with opened(home) as host:
        await refused(host, "lore", "activate", "invalid", bases=[f"b{n}" for n in range(17)], **message)
        await refused(host, "lore", "activate", "invalid", bases=[], **message)
        found = await get(host, "lore", "activate", bases=["world", "town", "world"], **message)
        assert [each["base"] for each in found["active"]] == ["world", "town"]
        error = await refused(host, "half", "activate", "denied", bases=["town", "world"], **message)
        assert error["capability"] == "kb.read"
        error = await refused(host, "lore", "activate", "not_found", bases=["town", "nowhere"], **message)
        assert "nowhere" in error["message"]


async def test_a_guest_fills_no_more_than_its_quota_and_the_next_change_of_a_person_still_fits(home: Path) -> None:
    async with opened(home) as host:
        library = (await guest_bases(host))._bases.library
        quota = library.store.quota
        object.__setattr__(quota, "agent_entries", 2)
        try:
            for id in ("a", "b"):
                await get(host, "lore", "put", id=id, content="x", **WORLD)
            error = await refused(host, "lore", "put", "quota", id="c", content="x", **WORLD)
            assert (error["quota"], error["value"]) == ("entries", 2)
            await get(host, "lore", "put", id="a", content="y", **WORLD)
        finally:
            object.__setattr__(quota, "agent_entries", 10_000)
