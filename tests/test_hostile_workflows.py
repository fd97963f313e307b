"""Small workflows that would make a check work for hours, or take all memory: each is refused at once."""

from __future__ import annotations

from typing import Any

import pytest

from group_samples import group, inner, loop, problems
from innkeeper.errors import UsageError
from innkeeper.workflow.checking import templates
from innkeeper.workflow.checking.templates import MOST_DEPTH
from innkeeper.workflow.formats.parts import MAX_NODES, MAX_WORKFLOWS
from innkeeper.workflow.formats.payload import WorkflowPayload, payload_of
from node_fakes import workflow

FLAG = {"dataFlowType": "BOOLEAN"}


def test_a_workflow_that_is_too_large_is_read_once_however_many_nodes_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    payload_of = templates.payload_of

    def counted(value: Any) -> WorkflowPayload:
        read.append(value)
        return payload_of(value)

    monkeypatch.setattr(templates, "payload_of", counted)
    large = {"nodes": [{"id": str(at), "fullType": "t:Make"} for at in range(MAX_NODES - 100)], "edges": []}
    lines = problems(workflow({f"g{at}": group("large") for at in range(200)}), large=large)
    assert len(read) == 1
    assert "more than 10,000 nodes" in lines[0]
    assert lines[-1] == "and 100 more problems"


@pytest.mark.parametrize("kind", ["group", "loop"])
def test_workflows_are_never_deeper_than_may_be_in_whichever_order_they_are_resolved(kind: str) -> None:
    """A chain of workflows that is known already is as deep as where it began; behind another one it would be deeper
    than any recursion goes."""
    chains = MAX_WORKFLOWS // (MOST_DEPTH - 1)
    refer = (lambda to: group(to)) if kind == "group" else (lambda to: loop("While", to))
    found: dict[str, Any] = {}
    top: dict[str, Any] = {}
    before: str | None = None
    for chain in range(chains):
        for depth in reversed(range(MOST_DEPTH - 1)):
            inside: dict[str, Any] = {"m": "Make"} if before is None else {"x": refer(before), "m": "Make"}
            before = f"{chain}-{depth}"
            found[before] = inner(inside, ["m.flag -> out.continue"], outputs={"continue": FLAG})
        top[f"n{chain}"] = refer(before or "")
    lines = problems(workflow(top), **found)
    assert any("16 deep within each other" in line for line in lines)
    first = problems(workflow({"n": top["n0"]}), **found)
    assert first == []


def test_a_list_that_is_the_value_of_very_many_groups_takes_no_memory_for_each() -> None:
    inside = inner(
        {"m": "innkeeper:Merge"},
        ["in.all -> m.values"],
        inputs={"all": {"dataFlowType": "WILDCARD", "multi": True, "config": {"default": [0] * 100_000}}},
    )
    lines = problems(workflow({f"g{at}": group("w") for at in range(1000)}), w=inside)
    assert lines == ["its groups pass on more connections and values than can be followed"]


def test_a_workflow_has_as_many_interface_outputs_as_it_could_declare() -> None:
    """Every node that refers to it looks at all of them."""
    inside = inner({"m": "Make", "out": "core:GroupOutput"}, [f"m.text -> out.k{at}" for at in range(1000)])
    lines = problems(workflow({"g": group("w")}), w=inside)
    assert lines[0] == "workflow 'w' node 'out': 1,000 interface outputs are connected, and at most 256 are taken"
    fits = inner({"m": "Make", "out": "core:GroupOutput"}, [f"m.text -> out.k{at}" for at in range(256)])
    assert problems(workflow({"g": group("w"), "u": "Upper"}, ["g.k255 -> u.text"]), w=fits) == []


@pytest.mark.parametrize("count", [3, 600])
def test_what_does_not_fit_is_named_by_its_place_in_lists_of_any_length(count: int) -> None:
    nodes: list[Any] = [{"id": f"n{at}", "fullType": "t:Make"} for at in range(count)]
    nodes[1] = {"id": 1, "fullType": "t:Make"}
    nodes[2] = "no node"
    with pytest.raises(UsageError) as refused:
        payload_of({"nodes": nodes, "edges": [], "workflowId": 1})
    assert set(refused.value.message.splitlines()) == {
        "the workflow's nodes[1].id: this must be text",
        "the workflow's nodes[2]: this must be an object",
        "the workflow's workflowId: this must be text",
    }


def test_of_very_many_things_that_do_not_fit_twenty_are_said() -> None:
    with pytest.raises(UsageError) as refused:
        payload_of({"nodes": [1] * 9000, "edges": [2] * 1000})
    lines = refused.value.message.splitlines()
    assert (lines[0], len(lines)) == ("the workflow's nodes[0]: this must be an object", 21)
    assert lines[-1] == "and 9,980 more problems in the workflow"


def test_a_workflow_with_more_nodes_than_may_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"nodes: .*10000"):
        payload_of({"nodes": [{"id": str(at), "fullType": "t:Make"} for at in range(MAX_NODES + 1)], "edges": []})
