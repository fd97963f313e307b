"""The nodes of plugins/kb.wasm, kb-tools.wasm and core-loaders.wasm: what they ask the host, and what they give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from innkeeper import GuestError, Host
from innkeeper.bridge.host import open_host
from innkeeper.plugins import home as home_module
from innkeeper.storage.knowledge_model import Filters, Place, Query
from kb_fakes import FakeKnowledge

PLUGINS = Path(__file__).parent.parent / "plugins"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    return tmp_path / "home"


@pytest.fixture
def knowledge() -> FakeKnowledge:
    fake = FakeKnowledge()
    fake.keep("world", "gate", "The gate is shut", title="Gate", priority=9)
    fake.keep("world", "inn", "The inn is open", title="Inn", priority=5)
    return fake


@asynccontextmanager
async def opened(home: Path, knowledge: FakeKnowledge, plugin: str, grants: Sequence[str]) -> AsyncIterator[Host]:
    for folder in ("plugins", "manifests"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    wasm = (PLUGINS / f"{plugin}.wasm").read_bytes()
    (home / "plugins" / f"{plugin}.wasm").write_bytes(wasm)
    given = ", ".join(f'"{each}"' for each in grants)
    text = f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\ncapabilities = [{given}]\n'
    (home / "manifests" / f"{plugin}.toml").write_text(text)
    async with open_host(home, watch=False, knowledge=knowledge.make) as host:
        yield host


async def node(host: Host, function: str, /, config: dict[str, Any] | None = None, **inputs: Any) -> Any:
    (plugin,) = host.plugins.values()
    data = json.dumps({"inputs": inputs, "config": config or {}, "run": {"id": "", "node": ""}}).encode()
    return json.loads((await plugin.call(function, data)).output)["outputs"]


async def failure(host: Host, function: str, /, **inputs: Any) -> str:
    with pytest.raises(GuestError) as caught:
        await node(host, function, **inputs)
    return caught.value.message


WORLD = Place("default_user", "world")


async def test_searching_nodes_say_how_they_search_and_give_entries_with_their_text(
    home: Path, knowledge: FakeKnowledge
) -> None:
    async with opened(home, knowledge, "kb", ["kb.read:world"]) as host:
        found = await node(host, "hybrid_search", knowledgeBase="world", query="inn", k=2, tags="a, b")
        assert [entry["id"] for entry in found["caiu_list"]] == ["gate", "inn"]
        assert found["text"] == "The gate is shut\n\nThe inn is open"
        assert found["notes"] == ["a note"]
        assert knowledge.asked == [
            ("search", WORLD, Query("inn", None, "hybrid", 2), Filters(None, False, ("a", "b"))),
            ("list", WORLD, Filters(None, True), ["gate", "inn"]),
        ]
        await node(host, "semantic_retriever", {"knowledgeBase": {"id": "world"}}, query="inn")
        await node(host, "vector_search", knowledgeBase="world", vector=[1, 0.5], session="s")
        asked = [(place, query) for kind, place, query, _ in knowledge.asked[1:] if kind == "search"]
        vector = Query("", [1.0, 0.5], "semantic", 10)
        assert asked == [(WORLD, Query("inn", None, "semantic", 10)), (Place("default_user", "world", "s"), vector)]
        assert (await node(host, "hybrid_search", knowledgeBase="world", query="x", minimum=0.6))["caiu_list"] == []


async def test_a_rag_source_numbers_what_it_found(home: Path, knowledge: FakeKnowledge) -> None:
    async with opened(home, knowledge, "kb", ["kb.read:world"]) as host:
        given = await node(host, "rag_source", knowledgeBase="world", query="inn", header="Sources:")
        assert given["context"] == "Sources:\n\n[1] Gate\nThe gate is shut\n\n[2] Inn\nThe inn is open"
        assert [(each["number"], each["id"]) for each in given["sources"]] == [(1, "gate"), (2, "inn")]


async def test_a_static_base_gives_all_entries_the_most_important_last(home: Path, knowledge: FakeKnowledge) -> None:
    for number in range(150):
        knowledge.keep("world", f"more-{number:03}", "x", priority=7)
    async with opened(home, knowledge, "kb", ["kb.read:world"]) as host:
        given = await node(host, "static_knowledge_base", knowledgeBase="world")
        assert [entry["id"] for entry in given["caiu_list"]] == ["inn", *(f"more-{n:03}" for n in range(150)), "gate"]
        assert len((await node(host, "static_knowledge_base", knowledgeBase="world", limit=120))["caiu_list"]) == 120


async def test_activation_passes_the_conversation_on_and_explains_the_answer(
    home: Path, knowledge: FakeKnowledge
) -> None:
    line = {"outcome": "active", "name": "Inn", "tokens": 4, "budget": None, "reason": "keyword 'inn'"}
    knowledge.answer = {
        "active": [{"text": "The inn"}],
        "trace": [line],
        "notes": ["slow"],
        "variables": {"x": 1},
        "tokens": 4,
    }
    async with opened(home, knowledge, "kb", ["kb.read:world", "kb.read:town"]) as host:
        history = [{"name": "Ann", "is_user": True, "mes": "hello"}, {"role": "assistant", "content": "hi"}]
        given = await node(
            host,
            "keyword_matcher",
            knowledgeBase="world, town",
            history_messages=history,
            current_user_input="now",
            session_state=[{"name": "Bo", "description": "tall", "variables": {"x": 1}}],
            budget=0,
            seed=3,
        )
        assert given["text"] == "The inn"
        assert given["explanation"].splitlines() == [
            "outcome  entry  tokens  left  why",
            "active   Inn    4             keyword 'inn'",
            "note: slow",
        ]
        (_, bases, request) = knowledge.asked[0]
        assert bases == ("world", "town")
        assert request["messages"] == [
            {"role": "user", "content": "hello", "name": "Ann"},
            {"role": "assistant", "content": "hi", "name": ""},
            {"role": "user", "content": "now"},
        ]
        assert (request["budget"], request["seed"], request["settings"]) == (None, 3, {"semantic": False})
        assert (request["character"], request["texts"]) == ("Bo", {"character_description": "tall"})
        assert request["variables"] == {"x": 1}


async def test_vectors_are_made_in_parts_of_what_one_call_takes(home: Path, knowledge: FakeKnowledge) -> None:
    async with opened(home, knowledge, "kb", ["kb.read:world"]) as host:
        given = await node(host, "embedding_generation", knowledgeBase="world", texts=["x"] * 130)
        assert [len(texts) for _, _, texts in knowledge.asked] == [64, 64, 2]
        assert (len(given["vectors"]), given["vector"], given["model"]) == (130, [1, 0], "m/2")


async def test_the_assembler_takes_active_entries_and_hits_each_once(home: Path, knowledge: FakeKnowledge) -> None:
    knowledge.answer = {
        "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "y"}]}],
        "text": None, "parameters": {"temperature": 1}, "tokens": 2, "report": [], "notes": [],
    }  # fmt: skip
    async with opened(home, knowledge, "kb", ["kb.read:world"]) as host:
        active = {"base": "world", "entry": "inn", "text": "The inn"}
        hit = {"id": "gate", "content": "The gate", "priority": 9}
        own = {"id": "own", "content": {"value": "Own"}, "usage_metadata": {"depth_offset": 2, "role": "system"}}
        given = await node(
            host,
            "context_assembler",
            {"template": {"blocks": []}},
            lore_caiu_list_main=[[active], [hit, active]],
            lore_caiu_list_aux=[own],
            static_text_inputs=["a", "b"],
            current_user_input="hello",
        )
        assert json.loads(given["prompt_data"]) == knowledge.answer["messages"]
        assert given["prompt"] == "system: x\n\nuser: y"
        request = knowledge.asked[0][1]
        assert [entry["text"] for entry in request["active"]] == ["The inn", "The gate", "Own"]
        assert (request["active"][2]["depth"], request["active"][2]["role"]) == (2, "system")
        assert request["texts"] == {"static_text_0": "a", "static_text_1": "b"}
        assert (request["user_input"], request["budget"], request["template"]) == ("hello", None, {"blocks": []})


async def test_a_node_without_its_grant_says_what_to_do(home: Path, knowledge: FakeKnowledge) -> None:
    async with opened(home, knowledge, "kb", ["kb.read:world"]) as host:
        message = await failure(host, "hybrid_search", knowledgeBase="secret", query="x")
        assert "granted 'kb.read', but not for 'secret'" in message
        assert "innkeeper grant" in message
        assert knowledge.asked == []
        assert "'knowledgeBase' is missing" in await failure(host, "hybrid_search", query="x")
        assert "role is 'tool'" in await failure(
            host, "activate", knowledgeBase="world", history_messages=[{"role": "tool", "content": ""}]
        )


async def test_macros_are_carried_out_by_the_host_and_rules_in_the_guest(home: Path, knowledge: FakeKnowledge) -> None:
    knowledge.answer = {"text": "Ann has 3", "variables": {"n": "3"}, "note": ""}
    async with opened(home, knowledge, "kb", ["kb.read:world"]) as host:
        given = await node(
            host,
            "variable_applicator",
            {"syntax": "story", "values": {"a": "b"}},
            template="{{user}} has {{n}}",
            session_state=[{"user": "Ann", "variables": {"n": 3}}],
        )
        assert given == knowledge.answer
        request = knowledge.asked[0][1]
        assert (request["syntax"], request["user"], request["values"]) == ("story", "Ann", {"a": "b"})
        assert request["variables"] == {"n": 3}
        rules = [{"pattern": "b+", "replacement": "<$&>", "name": "bs"}, {"pattern": "x", "replacement": ""}]
        assert await node(host, "dynamic_regex_applicator", text="abba b", rules=rules) == {
            "text": "a<bb>a <b>", "applied": ["bs"]
        }  # fmt: skip
        assert "rule 1" in await failure(host, "dynamic_regex_applicator", text="", rules=[{"pattern": "("}])


BOTH = ("kb.read:world", "kb.write:world")


async def tools(host: Host, *calls: tuple[str, Any], **more: Any) -> list[Any]:
    """What a model reads of its calls."""
    asked = [
        {"id": f"call-{at}", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for at, (name, arguments) in enumerate(calls)
    ]
    given = await node(host, "run_tool_calls", knowledgeBase="world", toolCalls=asked, **more)
    assert [message["tool_call_id"] for message in given["messages"]] == [each["id"] for each in asked]
    return [json.loads(message["content"]) for message in given["messages"]]


async def test_a_model_creates_reads_changes_and_takes_back_entries(home: Path, knowledge: FakeKnowledge) -> None:
    async with opened(home, knowledge, "kb-tools", BOTH) as host:
        fact = {"title": "Bridge", "content": "The bridge is gone", "keywords": ["bridge"]}
        (made,) = await tools(host, ("kb_create", fact))
        id, version = made["id"], made["version"]
        (appended, again) = await tools(
            host,
            ("kb_append", {"id": id, "version": version, "text": "Since the flood."}),
            ("kb_append", {"id": id, "version": version + 1, "text": "Since  the flood."}),
        )
        assert (appended["appended"], again["appended"]) == (True, False)
        (read,) = await tools(host, ("kb_read", {"id": id}))
        assert read["content"] == "The bridge is gone\n\nSince the flood."
        assert (read["source"], read["author"]) == ("agent_generated", "kb-tools")
        (gone, back) = await tools(host, ("kb_delete", {"id": id, "version": read["version"]}), ("kb_undo", {"id": id}))
        assert gone == {"deleted": True}
        assert back == {"id": id, "version": read["version"]}


async def test_a_change_of_what_the_model_has_not_read_is_refused_with_the_version(
    home: Path, knowledge: FakeKnowledge
) -> None:
    async with opened(home, knowledge, "kb-tools", BOTH) as host:
        (stale, blind) = await tools(
            host, ("kb_patch", {"id": "inn", "version": 1, "content": "x"}), ("kb_delete", {"id": "inn"})
        )
        assert stale["error"].startswith("conflict: the entry has version 2")
        assert blind == {"error": "kb_delete: 'version' is missing"}
        assert knowledge.bases["world"]["inn"].content == "The inn is open"


async def test_a_model_cannot_choose_the_base_nor_a_tool_that_it_was_not_given(
    home: Path, knowledge: FakeKnowledge
) -> None:
    async with opened(home, knowledge, "kb-tools", ("kb.read:*", "kb.write:*")) as host:
        answers = await tools(
            host,
            ("kb_read", {"id": "inn", "base": "secret"}),
            ("kb_delete", {"id": "inn", "version": 2}),
            ("__proto__", {}),
            ("constructor", {}),
            ("kb_read", "nonsense"),
            tools="kb_read",
        )
        assert all("error" in answer for answer in answers)
        assert set(knowledge.bases["world"]) == {"gate", "inn"}
        names = [each["function"]["name"] for each in (await node(host, "tool_definitions", tools="kb_read"))["tools"]]
        assert names == ["kb_read"]
        assert "32 is the most" in await failure(
            host, "run_tool_calls", knowledgeBase="world", toolCalls=[{"function": {"name": "kb_read"}}] * 33
        )


async def test_where_the_operator_wants_to_see_changes_first_a_tool_says_that_it_waits(
    home: Path, knowledge: FakeKnowledge
) -> None:
    knowledge.hold = True
    async with opened(home, knowledge, "kb-tools", BOTH) as host:
        fact = {"title": "t", "content": "c", "keywords": []}
        (made, patched) = await tools(
            host, ("kb_create", fact), ("kb_patch", {"id": "inn", "version": 2, "content": "x"})
        )
        assert (made["pending"], patched["pending"]) == (7, 7)
        assert set(knowledge.bases["world"]) == {"gate", "inn"}


async def test_loaders_give_bases_cards_and_files_that_were_granted(home: Path, knowledge: FakeKnowledge) -> None:
    files = home / "files" / "user"
    (files / "chats").mkdir(parents=True)
    home.joinpath("innkeeper.toml").write_text(f"[files.roots]\nuser = {json.dumps(str(files))}\n")
    preset = {"temperature": 1, "proxy_password": "hunter2", "reverse_proxy": "http://x", "api_key": "k"}
    files.joinpath("preset.json").write_text(json.dumps(preset))
    lines = [{"user_name": "Ann"}, {"name": "Ann", "is_user": True, "mes": "hi"}, {"name": "Bo", "mes": "ho"}]
    files.joinpath("chats/one.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    tree = {
        "activeLeafId": "c",
        "nodes": {
            "a": {"parentId": None, "role": "user", "content": "1"},
            "b": {"parentId": "a", "role": "assistant", "content": "other"},
            "c": {"parentId": "a", "role": "assistant", "content": "2"},
        },
    }
    files.joinpath("chats/tree.json").write_text(json.dumps(tree))
    scripts = [{"scriptName": "s", "findRegex": "/a+/gi", "replaceString": "<{{match}}>", "disabled": False}]
    files.joinpath("rules.json").write_text(json.dumps(scripts))
    knowledge.extensions = {"card": {"document": {"spec": "chara_card_v2", "data": {"name": "Bo"}}}}
    async with opened(home, knowledge, "core-loaders", ["kb.read:world", "files.read:user://"]) as host:
        book = (await node(host, "world_book_loader", {"worldBookResource": "world"}))["worldBookData"]
        assert [entry["content"]["value"] for entry in book["entries"]] == ["The gate is shut", "The inn is open"]
        card = await node(host, "character_card_loader", {"cardResource": {"id": "world"}})
        assert card == {"characterData": {"name": "Bo"}}
        loaded = await node(host, "preset_loader", {"presetResource": "user://preset.json"})
        assert loaded == {"presetData": {"temperature": 1}}
        history = await node(host, "history_loader", {"historyResource": "user://chats/one.jsonl"})
        assert [(m["role"], m["content"]) for m in history["historyMessages"]] == [("user", "hi"), ("assistant", "ho")]
        branch = await node(host, "history_loader", {"historyResource": "chats/tree.json"})
        assert [m["content"] for m in branch["historyMessages"]] == ["1", "2"]
        rules = (await node(host, "regex_rule_loader", {"ruleResource": "rules.json"}))["regexRules"]
        assert rules == [{"name": "s", "pattern": "a+", "flags": "gi", "replacement": "<$&>", "enabled": True}]
        for resource in ("user://../innkeeper.toml", "user://nothing.json", "shared://x", "file:///etc/passwd"):
            with pytest.raises(GuestError) as caught:
                await node(host, "preset_loader", {"presetResource": resource})
            assert str(home) not in caught.value.message
