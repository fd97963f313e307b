"""Presets become workflows that this host reads; secrets in them do not."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.knowledge.assembly.template import read_template
from innkeeper.knowledge.interchange import node_types
from innkeeper.knowledge.interchange.preset_workflow import workflow_of
from innkeeper.knowledge.interchange.presets import read_preset
from innkeeper.knowledge.interchange.secret_fields import is_secret
from innkeeper.knowledge.model.entry import read_entry
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.workflow.formats.payload import read_payload
from interchange_samples import PLAIN, TEXTS

CHAT: dict[str, Any] = {
    "chat_completion_source": "openai", "openai_model": "gpt-x", "temperature": 0.9, "top_p": 0.95, "top_k": 40,
    "seed": -1, "openai_max_context": 8000, "openai_max_tokens": 500, "stream_openai": False, "names_behavior": 2,
    "squash_system_messages": True, "wi_format": "{0}", "something_new": {"a": 1},
    "reverse_proxy": "https://SECRET", "proxy_password": "SECRET", "custom_url": "SECRET",
    "custom_include_headers": "Authorization: SECRET", "extensions": {"x": {"apiKey": "SECRET", "ok": 1}},
    "prompts": [
        {"identifier": "main", "name": "Main", "role": "system", "content": "You are {{char}}.", "system_prompt": True},
        {"identifier": "note", "name": "Note", "role": "user", "content": "Remember.", "injection_position": 1,
         "injection_depth": 2, "injection_order": 50, "injection_trigger": ["normal"]},
        {"identifier": "off", "name": "Off", "content": "never"},
        {"identifier": "chatHistory", "marker": True},
        {"identifier": "worldInfoBefore", "marker": True},
        {"identifier": "charDescription", "marker": True},
        {"identifier": "dialogueExamples", "marker": True},
        {"identifier": "jailbreak", "role": "assistant", "content": "After."},
    ],
    "prompt_order": [
        {"character_id": 100000, "order": [{"identifier": "off", "enabled": True}]},
        {"character_id": 100001, "order": [
            {"identifier": "main", "enabled": True}, {"identifier": "worldInfoBefore", "enabled": True},
            {"identifier": "charDescription", "enabled": True}, {"identifier": "dialogueExamples", "enabled": True},
            {"identifier": "note", "enabled": True}, {"identifier": "off", "enabled": False},
            {"identifier": "chatHistory", "enabled": True}, {"identifier": "jailbreak", "enabled": True},
            {"identifier": "gone", "enabled": True}]},
    ],
}  # fmt: skip


def read(value: Any, name: str = "preset.json") -> Any:
    return read_preset(json.dumps(value).encode(), name)


def checked(workflow: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The nodes by id, of a workflow whose edges end at slots that its nodes have."""
    payload = read_payload(json.dumps(workflow).encode())
    kinds = {node.id: node.full_type for node in payload.nodes}
    for edge in payload.edges:
        for node, slot, side in (
            (edge.source_node_id, edge.source_handle, 1),
            (edge.target_node_id, edge.target_handle, 0),
        ):
            kind = kinds[node]
            assert kind in (node_types.INPUT, node_types.OUTPUT) or slot in node_types.SLOTS[kind][side]
    for node in payload.nodes:
        if node.full_type in node_types.SLOTS:
            assert node.inputs.keys() <= node_types.SLOTS[node.full_type][0]
    nodes = {node["id"]: node for node in workflow["nodes"]}
    read_template(nodes["assembler"]["configValues"]["template"])
    return nodes


def test_each_item_that_is_switched_on_becomes_a_node_or_a_block_in_its_order() -> None:
    preset = read(CHAT)
    nodes = checked(workflow_of(preset))
    template = nodes["assembler"]["configValues"]["template"]
    assert [(block["kind"], block.get("source", block.get("placements"))) for block in template["blocks"]] == [
        ("text", "static_text_0"), ("entries", ["before_prompt"]), ("text", "character_description"),
        ("examples", None), ("history", None), ("user_input", None), ("text", "static_text_1"),
    ]  # fmt: skip
    assert nodes["text-0"]["inputs"]["template"] == "You are {{char}}."
    assert template["blocks"][6]["role"] == "assistant"
    assert (template["budget"], template["reserve"], template["squash"], template["names"]) == (
        8000, 500, "system", "prefix",
    )  # fmt: skip
    (entry,) = nodes["injected-0"]["configValues"]["entries"]
    assert read_entry(entry)[1] == []
    assert (entry["usage_metadata"], entry["content"]["value"]) == (
        {"priority": 50, "depth_offset": 2, "role": "user"}, "Remember.",
    )  # fmt: skip
    assert entry["extensions"]["sillytavern_preset"]["injection_trigger"] == ["normal"]
    assert nodes["llm"]["inputs"] == {
        "temperature": 0.9, "max_tokens": 500, "top_p": 0.95, "stream": False, "parameters": {"top_k": 40},
        "activated_model_id": "gpt-x",
    }  # fmt: skip
    assert "'gone'" in str(preset.problems[0])


def test_secrets_are_dropped_and_their_names_said() -> None:
    preset = read(CHAT)
    for stored in (False, True):
        assert "SECRET" not in json.dumps(workflow_of(preset, stored=stored))
    assert "SECRET" not in repr(preset)
    assert preset.dropped == [
        "reverse_proxy", "proxy_password", "custom_url", "custom_include_headers", "extensions.x.apiKey",
    ]  # fmt: skip
    kept = workflow_of(preset)["extensions"]["sillytavern"]
    assert (kept["something_new"], kept["wi_format"], kept["extensions"]) == ({"a": 1}, "{0}", {"x": {"ok": 1}})


@pytest.mark.parametrize("key", ["api_key", "apiKey", "OPENAI_API_KEY", "proxy-password", "client secret",
                                 "accessToken", "Authorization", "vertexai_service_account_json", "privateKey",
                                 ])  # fmt: skip
def test_a_name_of_a_secret_is_known(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize("key", ["openai_max_tokens", "banned_tokens", "key", "secretary", "tokenizer"])
def test_a_name_that_only_looks_like_one_is_kept(key: str) -> None:
    assert not is_secret(key)


def test_old_presets_without_an_order_are_read() -> None:
    preset = read({"main_prompt": "Main.", "jailbreak_prompt": "After.", "temperature": 1})
    blocks = checked(workflow_of(preset))["assembler"]["configValues"]["template"]["blocks"]
    kinds = [block["kind"] for block in blocks]
    assert kinds.index("history") == len(kinds) - 3
    assert blocks[0]["source"] == "static_text_0"


def test_text_presets_in_one_file_become_one_workflow() -> None:
    preset = read(
        {
            "context": {"name": "C", "story_string": "{{#if system}}{{system}}\n{{/if}}{{wiBefore}}",
                        "chat_start": "***", "trim_sentences": True},
            "instruct": {"input_sequence": "<|user|>", "output_sequence": "<|bot|>{{name}}:", "output_suffix": "</s>",
                         "system_sequence": "{{char}}" * 60, "wrap": True, "stop_sequence": "<|end|>", "macro": True},
            "sysprompt": {"name": "S", "content": "Be kind.", "post_history": "Go on."},
            "preset": {"temp": 0.7, "rep_pen": 1.1, "sampler_order": [6, 0], "api_key": "SECRET"},
            "reasoning": {"prefix": "<think>", "suffix": "</think>", "separator": ""},
        }
    )  # fmt: skip
    workflow = workflow_of(preset)
    nodes = checked(workflow)
    assert nodes["text-0"]["configValues"] == {"syntax": "story", "values": {"system": "Be kind."}}
    template = nodes["assembler"]["configValues"]["template"]
    assert template["output"] == "single_string"
    assert template["role_texts"] == {
        "user": "<|user|>\n{content}\n", "assistant": "<|bot|>{name}:\n{content}</s>\n", "system": "{content}\n",
    }  # fmt: skip
    assert nodes["llm"]["inputs"]["parameters"] == {
        "repetition_penalty": 1.1, "sampler_order": [6, 0], "stop": ["<|end|>"],
    }  # fmt: skip
    assert workflow["extensions"]["sillytavern"]["reasoning"]["prefix"] == "<think>"
    assert workflow["extensions"]["sillytavern"]["context"]["trim_sentences"] is True
    assert any("system_sequence" in problem.where for problem in preset.problems)
    assert preset.dropped == ["preset.api_key"]


def test_the_format_of_editors_has_the_same_graph() -> None:
    stored, payload = workflow_of(read(CHAT), stored=True), workflow_of(read(CHAT))
    assert [(node["id"], node["type"]) for node in stored["nodes"]] == [
        (node["id"], node["fullType"]) for node in payload["nodes"]
    ]
    assert [(edge["source"], edge["targetHandle"]) for edge in stored["edges"]] == [
        (edge["sourceNodeId"], edge["targetHandle"]) for edge in payload["edges"]
    ]
    places = [(node["position"]["x"], node["position"]["y"]) for node in stored["nodes"]]
    assert len(set(places)) == len(places)


def test_the_same_preset_makes_the_same_workflow_and_no_more_blocks_than_a_template_has() -> None:
    prompts = [{"identifier": f"p{at}", "content": "x"} for at in range(400)]
    order = [{"character_id": 100001, "order": [{"identifier": f"p{at}", "enabled": True} for at in range(400)]}]
    preset = read({"prompts": prompts, "prompt_order": order})
    assert workflow_of(preset) == workflow_of(read({"prompts": prompts, "prompt_order": order}))
    assert len(checked(workflow_of(preset))["assembler"]["configValues"]["template"]["blocks"]) < 200
    assert "first 180" in str(preset.problems[0])


KEYS = st.sampled_from(
    ["prompts", "prompt_order", "temperature", "instruct", "context", "sysprompt", "preset", "story_string", "temp",
     "rep_pen", "main_prompt", "input_sequence", "names_behavior", "openai_max_context", "chat_completion_source",
     "seed"]
)  # fmt: skip
PROMPT = st.dictionaries(
    st.sampled_from(["identifier", "content", "role", "injection_position", "injection_depth", "name"]),
    PLAIN | st.just(1),
)


@given(st.dictionaries(KEYS | TEXTS, PLAIN | st.lists(PROMPT, max_size=3) | st.dictionaries(KEYS, PLAIN, max_size=3)))
@settings(deadline=None, max_examples=70)
def test_whatever_a_preset_says_it_becomes_a_workflow_or_one_clear_error(value: dict[str, Any]) -> None:
    with suppress(KnowledgeError):
        checked(workflow_of(read(value)))


def test_a_name_that_steers_a_terminal_is_shown_as_escapes() -> None:
    workflow = workflow_of(read({"temp": 1, "rep_pen": 1, "name": "a\x1b[2J" + "b" * 400}))
    checked(workflow)
    assert workflow["workflowId"].startswith("a\\x1b[2J")
