"""The nodes of kb, kb-tools and core-loaders in workflows, with real knowledge bases and the grants of an operator."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from innkeeper.knowledge.interchange import node_types
from kb_workflows import PIXEL, WORLD, Workflows, edges, entry, one, outputs

READ = "kb.read:world"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that no test changes."""
    folder = tmp_path_factory.mktemp("kept") / "home"
    folder.mkdir()
    made = Workflows(folder)
    made.base("world", WORLD)
    made.base("bare", WORLD)
    made.base("closed", WORLD)
    made.grant("kb", READ, "kb.read:bare")
    made.innkeeper("kb", "embed", "world", "--model", "wordllama-l2-256")
    return folder


@pytest.fixture
def flows(home: Path, capfd: pytest.CaptureFixture[str]) -> Workflows:
    return Workflows(home, capfd)


def test_a_static_base_gives_its_entries_as_they_are_inserted(flows: Workflows) -> None:
    given = flows.node("kb:StaticKnowledgeBase", knowledgeBase="world")
    assert [each["id"] for each in given["caiu_list"]] == ["map", "inn", "bell", "gate"]
    gate, bell, map = (next(each for each in given["caiu_list"] if each["id"] == id) for id in ("gate", "bell", "map"))
    assert (gate["text"], gate["tags"], gate["placement"]) == (
        "[Gate] The iron gate is shut at dusk.",
        ["place"],
        "before_prompt",
    )
    assert (bell["depth"], bell["role"], bell["priority"]) == (1, "user", 7)
    assert map["media"] == ["media/map.png", "image/png"]
    assert [
        each["id"] for each in flows.node("kb:StaticKnowledgeBase", knowledgeBase="world", tags="place")["caiu_list"]
    ] == ["gate"]
    own = flows.node("kb:StaticKnowledgeBase", {"entries": [entry("a", "A", priority=2), entry("b", "B", priority=1)]})
    assert own["text"] == "B\n\nA"
    odd = {"id": "a", "content": {"value": "A"}, "management_metadata": {"tags": "x"}, "usage_metadata": None}
    (only,) = flows.node("kb:StaticKnowledgeBase", {"entries": [odd]})["caiu_list"]
    assert (only["text"], only["tags"], only["priority"]) == ("A", ["x"], 100)


def test_activation_says_which_entries_a_conversation_calls_for_and_why(flows: Workflows) -> None:
    history = [{"role": "user", "content": "Is there soup?"}]
    given = flows.node(
        "kb:Activate",
        knowledgeBase="world",
        history_messages=history,
        current_user_input="And the gate?",
        session_state=[{"user": "Ann"}],
    )
    assert [each["text"] for each in given["caiu_list"]] == [
        "The inn sells soup to Ann.",
        "[Gate] The iron gate is shut at dusk.",
    ]
    assert "keyword 'gate'" in given["explanation"]
    assert given["tokens"] > 0
    words = flows.node("kb:KeywordMatcher", {"reference": "world"}, history_messages=history, profile="st-1.15")
    assert [each["entry"] for each in words["caiu_list"]] == ["inn"]
    forced = flows.node("kb:Activate", knowledgeBase="world", force="bell", budget=1000, wholeTrace=True)
    assert [each["entry"] for each in forced["caiu_list"]] == ["bell"]
    assert len(forced["trace"]) == 5


def test_searching_nodes_find_by_words_by_meaning_and_by_vectors(flows: Workflows) -> None:
    vectors = flows.node("kb:EmbeddingGeneration", knowledgeBase="world", texts=["warm broth", "an iron door"])
    assert (len(vectors["vectors"]), len(vectors["vector"])) == (2, 256)
    assert vectors["model"].startswith("wordllama")
    near = flows.node("kb:VectorSearch", knowledgeBase="world", vector=vectors["vector"], k=2)
    assert near["caiu_list"][0]["id"] == "inn"
    meant = flows.node("kb:SemanticRetriever", knowledgeBase="world", query="warm broth", k=2)
    assert [each["id"] for each in meant["caiu_list"]] == [each["id"] for each in near["caiu_list"]]
    both = flows.node("kb:HybridSearch", knowledgeBase="world", query="bell strangers", k=1)
    assert [(each["id"], each["depth"], each["role"]) for each in both["caiu_list"]] == [("bell", 1, "user")]
    none = flows.node("kb:HybridSearch", knowledgeBase="world", query="bell", mode="keyword", minimum=1e6)
    assert (none["caiu_list"], none["text"]) == ([], "")
    sources = flows.node("kb:RAGSource", knowledgeBase="world", query="When does the gate shut?", k=1)
    header = "Answer from these sources, and name them by their numbers:"
    assert sources["context"] == f"{header}\n\n[1] Gate\n[Gate] The iron gate is shut at dusk."
    assert [(each["number"], each["id"]) for each in sources["sources"]] == [(1, "gate")]


def test_an_assembled_prompt_has_every_input_in_its_block_and_pictures_as_parts(flows: Workflows) -> None:
    template = {
        "blocks": [
            {"id": "static", "kind": "text", "source": "static_text_0"},
            {"id": "who", "kind": "text", "source": "character_description"},
            {"id": "lore", "kind": "entries", "placements": ["before_prompt"]},
            {"id": "examples", "kind": "examples", "before_each": "[Example]"},
            {"id": "chat", "kind": "history"},
            {"id": "input", "kind": "user_input"},
        ],
        "llm_parameters": {"top_p": 1},
    }
    state = {
        "name": "Bo",
        "user": "Ann",
        "description": "{{char}} knows {{user}}.",
        "mes_example": "<START>\n{{user}}: hi\n<START>\nho",
    }
    workflow = {
        "nodes": [
            one("find", "kb:HybridSearch", knowledgeBase="world", query="map valley", mode="keyword", k=1),
            one("all", "kb:StaticKnowledgeBase", knowledgeBase="world", limit=2),
            one("own", "kb:StaticKnowledgeBase", {"entries": [entry("x", "{{char}} listens.", priority=99)]}),
            one("text", "kb:VariableApplicator", template="I am {{char}}.", session_state=[state]),
            one(
                "a", "kb:ContextAssembler", {"template": template}, session_state=[state], current_user_input="Open!",
                history_messages=[{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Yes?"}],
                llm_parameters={"temperature": 0.5},
            ),
        ],
        "edges": edges(
            "find.caiu_list > a.lore_caiu_list_main", "all.caiu_list > a.lore_caiu_list_aux",
            "own.caiu_list > a.persona_caiu_list", "text.text > a.static_text_inputs",
        ),
        "outputInterfaceMappings": outputs(
            messages="a.prompt_data", prompt="a.prompt", parameters="a.llm_parameters", report="a.report"
        ),
    }  # fmt: skip
    given = flows.run(workflow)["outputs"]
    messages = json.loads(given["messages"])
    shown = [(each["role"], each["content"]) for each in messages if isinstance(each["content"], str)]
    assert shown == [
        ("system", "I am Bo."),
        ("system", "Bo knows Ann."),
        ("system", "[Example]"),
        ("system", "Ann: hi"),
        ("system", "[Example]"),
        ("system", "ho"),
        ("user", "Hello"),
        ("assistant", "Yes?"),
        ("user", "The bell rings for strangers."),
        ("user", "Open!"),
    ]
    (lore,) = [each["content"] for each in messages if not isinstance(each["content"], str)]
    assert lore[0]["text"] == "A map of the valley.\n[Gate] The iron gate is shut at dusk.\nBo listens."
    assert lore[1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert given["parameters"] == {"top_p": 1, "temperature": 0.5}
    assert "system: I am Bo." in given["prompt"]
    assert [each["block"] for each in given["report"]] == ["static", "who", "lore", "examples", "chat", "input"]


def test_a_budget_keeps_what_matters_most_and_the_report_says_what_went(flows: Workflows) -> None:
    entries = [entry("low", "word " * 40, priority=1), entry("high", "law " * 10, priority=9)]
    given = flows.node(
        "kb:ContextAssembler",
        {"template": {"blocks": [{"id": "lore", "kind": "entries"}, {"id": "in", "kind": "user_input"}]}},
        lore_caiu_list_main=[entries],
        current_user_input="Go",
        budget=30,
    )
    assert "law" in given["prompt"]
    assert "word" not in given["prompt"]
    assert given["tokens"] <= 30
    assert given["report"][0]["cut"][0]["title"] == "Low"
    text = flows.node("kb:ContextAssembler", lore_caiu_list_main=[entries], current_user_input="Go", form="text")
    assert text["prompt_data"].endswith("User: Go\n")


def test_variables_macros_and_story_strings_are_applied(flows: Workflows) -> None:
    given = flows.node(
        "kb:VariableApplicator",
        template="{{user}} has {{getvar::gold}}{{setvar::gold::4}} and {{thing}}; {{unknown}}",
        session_state=[{"user": "Ann", "variables": {"gold": 3}}],
        values={"thing": "a rope"},
    )
    assert given["text"] == "Ann has 3 and a rope; {{unknown}}"
    assert given["variables"]["gold"] == "4"
    story = "{{#if wiBefore}}Lore: {{wiBefore}}\n{{/if}}{{#if scenario}}no{{/if}}{{system}} {{description}}"
    workflow = {
        "nodes": [
            one("lore", "kb:KeywordMatcher", {"reference": "world"}, current_user_input="gate bell"),
            one(
                "v", "kb:VariableApplicator", {"syntax": "story", "values": {"system": "Obey."}},
                template=story, session_state=[{"description": "Tall."}],
            ),
        ],
        "edges": edges("lore.caiu_list > v.caiu_list"),
        "outputInterfaceMappings": outputs(text="v.text"),
    }  # fmt: skip
    assert flows.run(workflow)["outputs"]["text"] == "Lore: [Gate] The iron gate is shut at dusk.\nObey. Tall."


def test_rules_that_another_node_made_are_applied_and_one_that_explodes_meets_the_limit(flows: Workflows) -> None:
    rules = [
        {"pattern": "(a+)b", "replacement": "<$1>", "name": "ab"},
        {"pattern": "X", "replacement": "", "flags": "i"},
    ]
    given = flows.node("kb:DynamicRegexApplicator", text="aab xX 龙", rules=rules)
    assert given == {"text": "<aa> X 龙", "applied": ["ab", 2]}
    workflow = {
        "nodes": [
            one(
                "n", "kb:DynamicRegexApplicator", text="a" * 40 + "!", rules=[{"pattern": "^(a+)+$", "replacement": ""}]
            )
        ],
        "edges": [],
    }
    assert flows.run(workflow, code=4)["nodes"]["n"]["error"]["kind"] == "limit"


def test_a_bad_input_is_named_with_what_to_do(flows: Workflows) -> None:
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("kb:HybridSearch", {"query": "x"}, "input 'knowledgeBase' is missing: choose a knowledge base"),
        ("kb:HybridSearch", {"query": "x", "knowledgeBase": "nowhere"}, "innkeeper grant"),
        ("kb:HybridSearch", {"query": "x", "knowledgeBase": "world", "mode": "magic"}, "mode"),
        ("kb:HybridSearch", {"query": "x", "knowledgeBase": "world,world"}, "names several"),
        ("kb:VectorSearch", {"vector": [1, 2], "knowledgeBase": "bare"}, "innkeeper kb embed makes them"),
        ("kb:VectorSearch", {"vector": [], "knowledgeBase": "world"}, "input 'vector'"),
        (
            "kb:EmbeddingGeneration",
            {"texts": ["a", 3], "knowledgeBase": "world"},
            "item 2 of input 'texts' is a number",
        ),
        (
            "kb:Activate",
            {"knowledgeBase": "world", "history_messages": [{"role": "tool", "content": "x"}]},
            "message 1 of",
        ),
        ("kb:Activate", {"knowledgeBase": "world", "profile": "st-9"}, "profile"),
        (
            "kb:ContextAssembler",
            {"lore_caiu_list_main": [["x"]]},
            "input 'lore_caiu_list_main' holds text, not an entry",
        ),
        ("kb:ContextAssembler", {"template": {"blocks": [{"id": "a", "kind": "magic"}]}}, "kind"),
        ("kb:ContextAssembler", {"tokenizer": "nobody"}, "tokenizer"),
        (
            "kb:StaticKnowledgeBase",
            {"entries": [{"id": "a", "content": {"value": 3}}]},
            "entry 'a': its content.value is a number",
        ),
        (
            "kb:DynamicRegexApplicator",
            {"text": "x", "rules": [{"pattern": "(", "replacement": ""}]},
            "rule 1 of input 'rules'",
        ),
        (
            "kb:DynamicRegexApplicator",
            {"text": "x", "rules": [{"pattern": "a", "replacement": "", "flags": 3}]},
            "'flags' is a number",
        ),
    ]
    for type, inputs, said in wrong:
        assert said in flows.failure(type, **inputs)


PAGE = Path(__file__).parent.parent / "docs" / "knowledge-nodes.md"


def test_the_pages_tables_are_those_of_the_manifests() -> None:
    spec = importlib.util.spec_from_file_location("node_table", PAGE.parent.parent / "pdk-samples" / "node_table.py")
    assert spec is not None
    assert spec.loader is not None
    node_table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(node_table)
    page = PAGE.read_text("utf-8")
    assert page == node_table.written(page), "run python pdk-samples/node_table.py --write"


def test_the_pages_workflow_runs_as_it_stands(flows: Workflows) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    given = flows.run(json.loads(example), "--input", "says=Who keeps the gate?")["outputs"]
    assert [each["content"] for each in json.loads(given["messages"])] == [
        "[Gate] The iron gate is shut at dusk.",
        "Who keeps the gate?",
    ]
    assert "keyword 'gate'" in given["why"]


def test_every_slot_that_imported_presets_connect_is_one_of_a_node_here(flows: Workflows) -> None:
    listed = {f"{node['namespace']}:{node['type']}": node for node in shipped_nodes()}
    for kind, (inputs, outs) in node_types.SLOTS.items():
        if kind != node_types.LLM:
            assert inputs <= set(listed[kind]["inputs"]), kind
            assert outs <= set(listed[kind]["outputs"]), kind
    for wanted in (
        "StaticKnowledgeBase", "KeywordMatcher", "EmbeddingGeneration", "VectorSearch", "SemanticRetriever",
        "HybridSearch", "RAGSource", "ContextAssembler", "VariableApplicator", "DynamicRegexApplicator",
    ):  # fmt: skip
        assert f"kb:{wanted}" in listed


def shipped_nodes() -> list[dict[str, Any]]:
    found = []
    for path in (PAGE.parent.parent / "pdk-samples" / "javascript").glob("*/manifest.toml"):
        manifest = tomllib.loads(path.read_text("utf-8"))
        for node in manifest["nodes"]:
            slots = {"inputs": node.get("inputs", {}), "outputs": node.get("outputs", {})}
            found.append({"namespace": manifest["namespace"], "type": node["type"], **slots})
    return found


def test_pictures_of_a_projects_own_base_are_shown_and_those_of_a_base_that_was_not_granted_are_not(
    flows: Workflows, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    (folder / "books/valley/media").mkdir(parents=True)
    (folder / "books/valley/media/map.png").write_bytes(PIXEL)
    info = {"kb_id": "world", "kb_displayName": "Valley", "schema_version": "1.1", "kb_version": "1.0.0"}
    (folder / "books/valley/knowledge.json").write_text(json.dumps({**info, "entries": WORLD}))
    reference = {"id": "lore", "type": "local", "path": "books/valley", "name": "Valley", "source_id": None}
    project = {"id": "p", "name": "P", "schemaVersion": "2.0", "knowledgeBaseReferences": [reference]}
    (folder / "project.json").write_text(json.dumps(project))

    def shown(source: dict[str, Any]) -> list[Any]:
        workflow = {
            "nodes": [source, one("prompt", "kb:ContextAssembler")],
            "edges": edges("source.caiu_list > prompt.lore_caiu_list_main"),
            "outputInterfaceMappings": outputs(messages="prompt.prompt_data"),
        }
        found: list[Any] = json.loads(flows.run(workflow, folder=folder)["outputs"]["messages"])
        return found

    for source in (
        one("source", "kb:HybridSearch", knowledgeBase="lore", query="map valley", mode="keyword", k=1),
        one("source", "kb:StaticKnowledgeBase", knowledgeBase="lore"),
        one("source", "kb:Activate", knowledgeBase="lore", current_user_input="Where is the map?"),
    ):
        (content,) = [each["content"] for each in shown(source) if isinstance(each["content"], list)]
        assert content[1]["image_url"]["url"].startswith("data:image/png;base64,")
    # Whoever writes a workflow can say of an entry that it is of any base.
    forged = {"base": "closed", "entry": "map", "text": "A map", "media": ["media/map.png", "image/png"]}
    given = flows.node("kb:ContextAssembler", lore_caiu_list_main=[forged])
    assert given["prompt_data"] == '[{"role":"system","content":"A map"}]'
    assert "'closed' cannot be read" in given["notes"][0]
    assert str(flows.home.parent) not in given["notes"][0]
