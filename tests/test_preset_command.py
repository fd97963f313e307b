"""`innkeeper preset`: presets become workflows that check here, run here, and give the messages that were meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from innkeeper.cli.main import invoke
from kb_workflows import WORLD, Workflows

CHAT: dict[str, Any] = {
    "chat_completion_source": "openai", "openai_model": "gpt-x", "temperature": 0.9, "openai_max_context": 4000,
    "openai_max_tokens": 300, "names_behavior": 0, "new_example_chat_prompt": "[Example]", "something_new": 1,
    "proxy_password": "hunter2", "custom_include_headers": "Authorization: hunter2",
    "prompts": [
        {"identifier": "main", "name": "Main", "role": "system", "content": "Be {{char}}; never write as {{user}}."},
        {"identifier": "note", "name": "Note", "role": "user", "content": "{{char}} is tired.", "injection_position": 1,
         "injection_depth": 1},
        {"identifier": "jailbreak", "name": "After", "role": "system", "content": "Answer as {{char}}."},
    ],
    "prompt_order": [{"character_id": 100001, "order": [
        {"identifier": name, "enabled": True} for name in (
            "main", "worldInfoBefore", "personaDescription", "charDescription", "scenario", "dialogueExamples", "note",
            "chatHistory", "jailbreak", "nobody")]}],
}  # fmt: skip
TEXT: dict[str, Any] = {
    "context": {"name": "C", "story_string": "{{#if system}}{{system}}\n{{/if}}{{#if wiBefore}}{{wiBefore}}\n{{/if}}"
                "{{#if description}}{{description}}\n{{/if}}{{#if persona}}{{persona}}\n{{/if}}"},
    "instruct": {"input_sequence": "<|user|>", "output_sequence": "<|bot|>", "system_sequence": "<|sys|>", "wrap": True,
                 "input_suffix": "", "output_suffix": "", "system_suffix": "", "stop_sequence": "<|user|>"},
    "sysprompt": {"name": "S", "content": "Write as {{char}}."},
    "preset": {"temp": 0.7, "rep_pen": 1.1},
}  # fmt: skip
CARD = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Bo", "description": "{{char}} is tall.", "personality": "", "scenario": "{{user}} meets {{char}}.",
        "first_mes": "Ho!", "mes_example": "<START>\n{{user}}: Hey\n{{char}}: Ho", "extensions": {},
    },
}  # fmt: skip
LOG = [{"name": "Ann", "is_user": True, "mes": "hi"}, {"name": "Bo", "is_user": False, "mes": "ho"}]
CHOSEN = ("--card", "card", "--history", "user://log.jsonl", "--lore", "world")
RUN = (
    "--input",
    "user_input=Is the gate open, and is there soup?",
    "--input",
    'session={"user": "Ann", "persona": "{{user}} is small."}',
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that no test changes, with presets beside it."""
    root = tmp_path_factory.mktemp("presets")
    home, files = root / "home", root / "files"
    for folder in (home, files):
        folder.mkdir()
    (home / "innkeeper.toml").write_text(f"[files.roots]\nuser = {json.dumps(str(files))}\n")
    (files / "log.jsonl").write_text("\n".join(map(json.dumps, LOG)))
    for name, value in {"chat.json": CHAT, "text.json": TEXT, "card.json": CARD}.items():
        (root / name).write_text(json.dumps(value))
    made = Workflows(home)
    made.base("world", WORLD)
    made.innkeeper("card", "import", str(root / "card.json"), "--id", "card", "--no-embed")
    made.grant("kb", "kb.read:world", "kb.read:card")
    made.grant("core-loaders", "kb.read:world", "kb.read:card", "files.read:user://")
    return home


@pytest.fixture
def flows(home: Path, capfd: pytest.CaptureFixture[str]) -> Workflows:
    return Workflows(home, capfd)


def prompt(flows: Workflows, name: str) -> dict[str, Any]:
    """What the workflow of a preset gives in front of the model."""
    made = flows.json("preset", str(flows.home.parent / name), "--no-llm", *CHOSEN)
    assert (made["missing"], made["unfit"], made["choose"]) == ([], [], [])
    given: dict[str, Any] = flows.run(made["workflow"], *RUN)["outputs"]
    return given


def test_a_chat_preset_gives_the_messages_that_it_means(flows: Workflows) -> None:
    given = prompt(flows, "chat.json")
    assert [(each["role"], each["content"]) for each in json.loads(given["messages"])] == [
        ("system", "Be Bo; never write as Ann."),
        ("system", "The inn sells soup to Ann.\n[Gate] The iron gate is shut at dusk."),
        ("system", "Ann is small."),
        ("system", "Bo is tall."),
        ("system", "Ann meets Bo."),
        ("system", "[Example]"),
        ("system", "Ann: Hey\nBo: Ho"),
        ("user", "hi"),
        ("assistant", "ho"),
        ("user", "Bo is tired."),
        ("user", "Is the gate open, and is there soup?"),
        ("system", "Answer as Bo."),
    ]
    assert given["parameters"] == {"temperature": 0.9, "max_tokens": 300, "model": "gpt-x"}


def test_a_text_preset_gives_its_story_with_the_lore_and_the_chat_in_its_sequences(flows: Workflows) -> None:
    given = prompt(flows, "text.json")
    assert given["messages"] == (
        "<|sys|>\nWrite as Bo.\nThe inn sells soup to Ann.\n[Gate] The iron gate is shut at dusk.\nBo is tall.\n"
        "Ann is small.\n\n<|user|>\nhi\n<|bot|>\nho\n<|user|>\nIs the gate open, and is there soup?\n"
    )
    assert given["parameters"] == {"temperature": 0.7, "repetition_penalty": 1.1, "stop": ["<|user|>"]}


def test_what_was_dropped_what_was_not_understood_and_which_node_is_missing_is_said(
    flows: Workflows, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, out = str(flows.home.parent / "chat.json"), tmp_path / "made.json"
    capfd.readouterr()
    assert invoke(["--home", str(flows.home), "preset", source, "--out", str(out), "--lore", "world"]) == 0
    printed, said = capfd.readouterr()
    assert printed == "made.json: chat (chat preset), 9 nodes\n"
    assert "left out, since they can hold a secret: proxy_password, custom_include_headers" in said
    assert "there is no prompt 'nobody'" in said
    assert "choose with --card, --history, or in the workflow" in said
    assert "core:GenericLlmRequest: no plugin here has this node" in said
    assert "hunter2" not in printed + said + out.read_text()
    report = flows.json("preset", source)
    assert (report["missing"], report["unfit"]) == (["core:GenericLlmRequest"], [])
    assert (report["dropped"], report["choose"]) == (
        ["proxy_password", "custom_include_headers"],
        ["card", "history", "lore"],
    )
    assert report["kept"] == ["chat_completion_source", "openai_model", "something_new"]
    assert report["workflow"]["nodes"][-1]["fullType"] == "core:GenericLlmRequest"
    flows.run(report["workflow"], code=2)
    stored = flows.json("preset", source, "--stored")["workflow"]
    assert {node["type"] for node in stored["nodes"]} == {node["fullType"] for node in report["workflow"]["nodes"]}


def test_nothing_is_overwritten_and_a_file_that_is_none_is_one_clear_error(
    flows: Workflows, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, out = flows.home.parent / "chat.json", tmp_path / "made.json"
    out.write_text("mine")
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"name": "x"}')
    for arguments, said in (
        ([str(source), "--out", str(out)], "is there already: --force replaces it"),
        ([str(source), "--out", str(tmp_path / "no" / "made.json")], "there is no folder 'no'"),
        ([str(wrong)], "is no preset that is known"),
        ([str(tmp_path / "none.json")], "none.json"),
    ):
        assert invoke(["--home", str(flows.home), "preset", *arguments]) == 2
        errors = capfd.readouterr().err
        assert said in errors
        assert "Traceback" not in errors
    assert out.read_text() == "mine"
    assert invoke(["--home", str(flows.home), "preset", str(source), "--out", str(out), "--force"]) == 0
    assert json.loads(out.read_text())["workflowId"] == "chat"
