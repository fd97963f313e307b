"""The loaders of core-loaders: a card, a book, presets, chats and rules of a user, from bases and granted files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from innkeeper.knowledge.interchange.cards import written
from kb_workflows import WORLD, Workflows, edges, one, outputs
from test_interchange_cards import V2

CHAT = [
    {"user_name": "Ann"},
    {"name": "Ann", "is_user": True, "mes": "hi"},
    {"name": "Bo", "is_user": False, "mes": "ho"},
]
TREE = {
    "activeLeafId": "c",
    "nodes": {
        "a": {"parentId": None, "role": "user", "content": "one"},
        "b": {"parentId": "a", "role": "assistant", "content": "another"},
        "c": {"parentId": "a", "role": "assistant", "content": "two"},
    },
}
SCRIPTS = [{"scriptName": "calm", "findRegex": "/!+/g", "replaceString": ".", "disabled": False}]
PRESET = {
    "temperature": 1,
    "nested": {"api_key": "s3cret-1"},
    "proxy_password": "s3cret-2",
    "reverse_proxy": "https://x",
}


@pytest.fixture
def flows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Workflows:
    home, files = tmp_path / "home", tmp_path / "files"
    for folder in (home, files / "chats", files / "private"):
        folder.mkdir(parents=True)
    (home / "innkeeper.toml").write_text(f"[files.roots]\nuser = {json.dumps(str(files))}\n")
    for name, value in {
        "chats/tree.json": TREE, "chats/list.json": [{"role": "user", "content": "x"}], "rules.json": SCRIPTS,
        "preset.json": PRESET, "private/diary.json": {"temperature": 2},
    }.items():  # fmt: skip
        (files / name).write_text(json.dumps(value))
    (files / "chats/log.jsonl").write_text("\n".join(map(json.dumps, CHAT)) + "\n\n{not json\n")
    (files / "chats/chat.jsonl").write_text("\n".join(map(json.dumps, CHAT)) + "\n")
    (tmp_path / "card.json").write_bytes(written(V2))
    made = Workflows(home, capfd)
    made.innkeeper("card", "import", str(tmp_path / "card.json"), "--id", "card", "--no-embed")
    made.base("world", WORLD)
    made.grant("kb", "kb.read:world", "kb.read:card")
    made.grant("core-loaders", "kb.read:world", "kb.read:card", "files.read:user://")
    return made


def test_a_card_fills_the_prompt_and_a_chat_is_its_history(flows: Workflows) -> None:
    workflow = {
        "nodes": [
            one("card", "core:CharacterCardLoader", {"cardResource": "card"}),
            one("chat", "core:HistoryLoader", {"historyResource": "user://chats/chat.jsonl"}),
            one("prompt", "kb:ContextAssembler", current_user_input="well"),
        ],
        "edges": edges(
            "card.characterData > prompt.session_state", "chat.historyMessages > prompt.history_messages"
        ),
        "outputInterfaceMappings": outputs(messages="prompt.prompt_data", card="card.characterData"),
    }  # fmt: skip
    given = flows.run(workflow)["outputs"]
    # Its book is the base's entries.
    assert given["card"] == {key: value for key, value in V2["data"].items() if key != "character_book"}
    messages = json.loads(given["messages"])
    assert V2["data"]["description"] in messages[0]["content"]
    said = [(each["role"], each["content"]) for each in messages if each["role"] != "system"]
    assert said[-3:] == [("user", "hi"), ("assistant", "ho"), ("user", "well")]


def test_a_book_has_all_of_its_entries_with_every_field(flows: Workflows) -> None:
    many = [{"id": f"e{number:04}", "content": {"value": "x" * 300}, "own": number} for number in range(650)]
    flows.base("many", many)
    flows.grant("core-loaders", "kb.read:world", "kb.read:many", "files.read:user://")
    book = flows.node("core:WorldBookLoader", {"worldBookResource": "world"})["worldBookData"]
    assert sorted(each["id"] for each in book["entries"]) == sorted(each["id"] for each in WORLD)
    assert next(each for each in book["entries"] if each["id"] == "map")["content"] == WORLD[3]["content"]
    # More than the calls that a plugin may make at once.
    large = flows.node("core:WorldBookLoader", {"worldBookResource": {"id": "many"}})["worldBookData"]
    assert [each["own"] for each in large["entries"]] == list(range(650))


def test_chats_are_lists_lines_or_the_branch_of_a_tree(flows: Workflows) -> None:
    for resource, said in {
        "user://chats/chat.jsonl": ["hi", "ho"], "chats/tree.json": ["one", "two"], "user://chats/list.json": ["x"],
    }.items():  # fmt: skip
        given = flows.node("core:HistoryLoader", {"historyResource": resource})["historyMessages"]
        assert [each["content"] for each in given] == said
    assert "line 5: is not JSON" in flows.failure("core:HistoryLoader", {"historyResource": "user://chats/log.jsonl"})
    assert "neither messages" in flows.failure("core:HistoryLoader", {"historyResource": "user://preset.json"})


def test_a_preset_is_loaded_without_its_secrets_and_rules_are_applied(flows: Workflows) -> None:
    loaded: Any = flows.node("core:PresetLoader", {"presetResource": "user://preset.json"})["presetData"]
    assert loaded == {"temperature": 1, "nested": {}}
    workflow = {
        "nodes": [
            one("rules", "core:RegexRuleLoader", {"ruleResource": "user://rules.json"}),
            one("apply", "core:ApplyRegex", inputText="Stop!!! Now!"),
        ],
        "edges": edges("rules.regexRules > apply.regexRules"),
        "outputInterfaceMappings": outputs(text="apply.outputText"),
    }
    assert flows.run(workflow)["outputs"]["text"] == "Stop. Now."


def test_what_was_not_granted_or_chosen_is_named_with_what_to_do(flows: Workflows) -> None:
    flows.grant("core-loaders", "kb.read:world", "files.read:user://chats")
    wrong = {
        ("core:PresetLoader", "presetResource", "user://private/diary.json"): "grant files.read",
        ("core:PresetLoader", "presetResource", "user://../home/innkeeper.toml"): "user://",
        ("core:PresetLoader", "presetResource", "https://example.com/x"): "no file of user:// or shared://",
        ("core:HistoryLoader", "historyResource", "user://chats/none.json"): "there is no file",
        ("core:CharacterCardLoader", "cardResource", "card"): "innkeeper grant",
        ("core:CharacterCardLoader", "cardResource", "world"): "innkeeper card import",
        ("core:RegexRuleLoader", "ruleResource", ""): "'ruleResource' is not chosen",
    }
    for (type, key, resource), said in wrong.items():
        message = flows.failure(type, {key: resource})
        assert said in message, (resource, message)
        assert str(flows.home.parent) not in message
