"""An agent's tools on a real knowledge base: a conversation of tool calls as a language model makes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from innkeeper.bridge.bridge import FILE
from innkeeper.knowledge.library import Library
from innkeeper.knowledge.opening import open_library
from innkeeper.plugins.home import STATE
from innkeeper.storage.database import open_database
from innkeeper.storage.knowledge_model import Place
from kb_workflows import WORLD, Workflows, edges, entry, one, outputs

PLACE = Place("default_user", "world")


class Agent:
    """What a model sees: the answers to its calls."""

    def __init__(self, flows: Workflows) -> None:
        self.flows = flows

    def calls(self, *calls: tuple[str, Any], **inputs: Any) -> list[Any]:
        asked = [
            {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for at, (name, arguments) in enumerate(calls)
        ]
        given = self.flows.node("kb-tools:RunToolCalls", **{"knowledgeBase": "world", "toolCalls": asked, **inputs})
        assert [(each["role"], each["tool_call_id"]) for each in given["messages"]] == [
            ("tool", each["id"]) for each in asked
        ]
        answers = [json.loads(each["content"]) for each in given["messages"]]
        assert given["failed"] == sum("error" in answer for answer in answers)
        return answers

    def call(self, name: str, **arguments: Any) -> Any:
        (answer,) = self.calls((name, arguments))
        return answer


@pytest.fixture
def agent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Agent:
    (tmp_path / "home").mkdir()
    flows = Workflows(tmp_path / "home", capfd)
    flows.base("world", WORLD)
    flows.base("secret", [entry("plan", "The plan.", "plan")])
    flows.grant("kb-tools", "kb.read:world", "kb.write:world")
    return Agent(flows)


def in_library(home: Path, work: Callable[[Library], Any]) -> Any:
    async def main() -> Any:
        async with open_database(home / STATE / FILE) as db:
            return await work(open_library(db))

    return trio.run(main)


def test_a_model_finds_makes_changes_retires_and_takes_back_an_entry(agent: Agent) -> None:
    made = agent.call("kb_create", title="Bridge", content="The bridge is gone.", keywords=["bridge"])
    id = made["id"]
    hit = agent.call("kb_search", query="bridge", k=3)["hits"][0]
    assert (hit["id"], hit["content"], hit["version"]) == (id, "The bridge is gone.", made["version"])
    more = agent.call("kb_append", id=id, version=made["version"], text="A ferry crosses at noon.")
    again = agent.call("kb_append", id=id, version=more["version"], text="A  ferry crosses at noon.")
    assert (more["appended"], again["appended"]) == (True, False)
    read = agent.call("kb_read", id=id)
    assert read["content"] == "The bridge is gone.\n\nA ferry crosses at noon."
    assert (read["source"], read["author"], read["priority"]) == ("agent_generated", "kb-tools", 100)
    changed = agent.call("kb_patch", id=id, version=read["version"], keywords=["bridge", "ferry"])
    stale = agent.call("kb_patch", id=id, version=read["version"], content="The bridge stands.")
    assert stale["error"].startswith("conflict")
    assert f"(its version is {changed['version']})" in stale["error"]
    gone = agent.call("kb_deprecate", id=id, version=changed["version"], reason="It was rebuilt", successor="gate")
    assert id not in {hit["id"] for hit in agent.call("kb_search", query="bridge")["hits"]}
    assert agent.call("kb_read", id=id)["enabled"] is False
    assert agent.call("kb_undo", id=id)["version"] > gone["version"]
    back = agent.call("kb_read", id=id)
    assert (back["enabled"], back["keywords"]) == (True, ["bridge", "ferry"])
    assert agent.call("kb_delete", id=id, version=back["version"]) == {"deleted": True}
    assert agent.call("kb_read", id=id)["error"].startswith("not_found")
    agent.call("kb_undo", id=id)
    assert agent.call("kb_read", id=id)["content"] == back["content"]


def test_a_model_names_no_base_but_the_workflows_and_changes_nothing_that_a_person_did(agent: Agent) -> None:
    answers = agent.calls(
        ("kb_read", {"id": "plan", "base": "secret"}),
        ("kb_search", {"query": "plan", "knowledgeBase": "secret"}),
        ("kb_delete", {"id": "gate"}),
        ("kb_undo", {"id": "gate"}),
        ("kb_create", {"title": "x", "content": 3, "keywords": "bridge"}),
        ("kb_burn", {}),
    )
    said = [answer["error"] for answer in answers]
    assert "there is no argument 'base'" in said[0]
    assert "there is no argument 'knowledgeBase'" in said[1]
    assert said[2] == "kb_delete: 'version' is missing"
    assert "operator" in said[3] or "somebody else" in said[3] or "not_found" in said[3]
    assert "'content' is a number, not text; 'keywords' is text, not array" in said[4]
    assert said[5] == "there is no tool 'kb_burn'"
    (refused,) = agent.calls(("kb_read", {"id": "plan"}), knowledgeBase="secret")
    assert refused["error"].startswith("denied")
    assert "plan" not in refused["error"]


def test_what_a_session_writes_is_seen_in_it_alone(agent: Agent) -> None:
    agent.flows.grant("kb", "kb.read:world")
    (read,) = agent.calls(("kb_read", {"id": "inn"}), session="chat-1")
    patch = {"id": "inn", "version": read["version"], "content": "The inn burned down."}
    (changed,) = agent.calls(("kb_patch", patch), session="chat-1")
    assert "error" not in changed
    inside = agent.flows.node("kb:Activate", knowledgeBase="world", current_user_input="inn", session="chat-1")
    outside = agent.flows.node(
        "kb:Activate", knowledgeBase="world", current_user_input="inn", session_state=[{"user": "Al"}]
    )
    assert (inside["text"], outside["text"]) == ("The inn burned down.", "The inn sells soup to Al.")
    listed = agent.flows.node("kb:StaticKnowledgeBase", knowledgeBase="world", session="chat-1")
    assert "The inn burned down." in listed["text"]


def test_where_the_operator_wants_to_see_changes_first_they_wait_for_him(agent: Agent) -> None:
    home = agent.flows.home
    in_library(home, lambda library: library.proposals.require(PLACE, True))
    made = agent.call("kb_create", title="Well", content="It is dry.", keywords=["well"])
    assert (made["version"], made["pending"] > 0) == (0, True)
    assert made["id"] not in {hit["id"] for hit in agent.call("kb_search", query="well")["hits"]}
    in_library(home, lambda library: library.proposals.accept(PLACE, made["pending"]))
    assert agent.call("kb_read", id=made["id"])["content"] == "It is dry."


def test_each_tool_is_a_node_too_and_leaves_alone_what_it_was_not_given(agent: Agent) -> None:
    flows, base = agent.flows, "world"
    made = flows.node("kb-tools:CreateEntry", knowledgeBase=base, title="Oak", content="An oak.", keywords="oak, tree")
    id = made["result"]["id"]
    read = flows.node("kb-tools:ReadEntry", {"knowledgeBase": base}, id=id)["result"]
    assert (read["keywords"], read["priority"]) == (["oak", "tree"], 100)
    first = flows.node("kb-tools:PatchEntry", knowledgeBase=base, id=id, version=read["version"], priority=7)["result"]
    flows.node("kb-tools:PatchEntry", knowledgeBase=base, id=id, version=first["version"], title="Old oak")
    workflow = {
        "nodes": [
            one("search", "kb-tools:SearchEntries", knowledgeBase=base, query="oak"),
            one("undo", "kb-tools:UndoEntry", knowledgeBase=base, id=id),
            one("tools", "kb-tools:ToolDefinitions", tools="kb_read, kb_search"),
        ],
        "edges": edges(),
        "outputInterfaceMappings": outputs(found="search.result", tools="tools.tools"),
    }
    given = flows.run(workflow)["outputs"]
    assert given["found"]["hits"][0]["id"] == id
    assert [each["function"]["name"] for each in given["tools"]] == ["kb_read", "kb_search"]
    now = flows.node("kb-tools:ReadEntry", knowledgeBase=base, id=id)["result"]
    assert (now["title"], now["priority"]) == ("Oak", 7)
    for type in ("AppendEntry", "DeprecateEntry", "DeleteEntry"):
        more = {"AppendEntry": {"text": "x"}, "DeprecateEntry": {"reason": "x"}}.get(type, {})
        said = flows.failure(f"kb-tools:{type}", knowledgeBase=base, id=id, version=1, **more)
        assert said.startswith("conflict")


def test_the_page_lists_each_tool_with_its_arguments(agent: Agent) -> None:
    page = (Path(__file__).parent.parent / "docs" / "knowledge-nodes.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(kb_[a-z]+)` \| (.*) \|$", page, re.MULTILINE))
    tools = {
        each["function"]["name"]: each["function"] for each in agent.flows.node("kb-tools:ToolDefinitions")["tools"]
    }
    assert {name: set(re.findall(r"`([a-z]+)`", row)) for name, row in rows.items()} == {
        name: set(tool["parameters"]["properties"]) for name, tool in tools.items()
    }
