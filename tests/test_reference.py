"""The reference that the engine is compared with says of small workflows what one can work out by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from graph_library import LIBRARY
from reference.interpreter import expect
from reference.results import Chunks, Expected, Nothing, Untaken, Value
from reference.slots import as_text


def graph(nodes: dict[str, Any], edges: list[str] | None = None, **more: Any) -> dict[str, Any]:
    """A payload: a node is its type, or a dict with "type"; an edge is "a.out -> b.in"."""
    placed = []
    for id, what in nodes.items():
        what = {"type": what} if isinstance(what, str) else dict(what)
        type_ = what.pop("type")
        placed.append({"id": id, "fullType": type_ if ":" in type_ else f"t:{type_}", **what})
    drawn = []
    for index, edge in enumerate(edges or []):
        (source, output), (target, key) = (end.split(".") for end in edge.split(" -> "))
        ends = {"sourceNodeId": source, "sourceHandle": output, "targetNodeId": target, "targetHandle": key}
        drawn.append({"id": f"e{index}", **ends})
    return {"nodes": placed, "edges": drawn, **more}


def run(nodes: dict[str, Any], edges: list[str] | None = None, **more: Any) -> Expected:
    return expect(graph(nodes, edges, **more), LIBRARY)


def said(expected: Expected) -> dict[str, str]:
    return {id: f"{each.status} {each.reason}".strip() for id, each in expected.nodes.items()}


BROKEN = {"type": "Work", "configValues": {"broken": "yes"}}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.0, "0"), (-0.0, "0"), (1.0, "1"), (-1.5, "-1.5"), (100.0, "100"), (123456789.25, "123456789.25")),
        *((1e21, "1e+21"), (1e20, "100000000000000000000"), (1.5e-7, "1.5e-7"), (1e-6, "0.000001"), (5e-324, "5e-324")),
        *((1.7976931348623157e308, "1.7976931348623157e+308"), (0.1, "0.1"), (True, "true"), (False, "false")),
        *((-7, "-7"), (2**53, "9007199254740992"), (float("inf"), "Infinity"), (float("nan"), "NaN")),
    ],
)
def test_a_number_becomes_text_as_javascript_writes_it(value: float, text: str) -> None:
    assert as_text(value) == text


def test_what_is_behind_a_failure_is_skipped_and_the_rest_finishes() -> None:
    found = run({"a": BROKEN, "b": "Work", "c": "Work", "d": "Work"}, ["a.text -> b.text", "b.text -> c.text"])
    assert said(found) == {"a": "error", "b": "skipped failed", "c": "skipped failed", "d": "complete"}
    assert found.status == "error"
    assert found.failure is not None
    assert found.failure.node == "a"
    assert found.nodes["c"].causes >= {"a", "b"}


def test_an_error_output_takes_the_failure() -> None:
    config = {"broken": "yes", "innkeeper": {"errorOutput": True}}
    found = run(
        {"a": {"type": "Work", "configValues": config}, "b": "Work", "c": "Caught"},
        ["a.text -> b.text", "a.innkeeperError -> c.error"],
    )
    assert said(found) == {"a": "error", "b": "skipped untaken", "c": "complete"}
    assert (found.status, found.failure) == ("complete", None)
    assert found.nodes["c"].outputs["text"] == Value("guest a 1")


@pytest.mark.parametrize(("tries", "status"), [(2, "error"), (3, "complete")])
def test_a_node_is_called_again_as_often_as_its_policy_says(tries: int, status: str) -> None:
    config = {"fails": 2, "innkeeper": {"retry": {"tries": tries}}}
    found = run({"a": {"type": "Work", "configValues": config}})
    assert found.nodes["a"].tries == min(tries, 3)
    assert found.status == status


def test_one_branch_is_taken_and_both_meet_again() -> None:
    found = run(
        {
            "if": {"type": "innkeeper:If", "inputs": {"condition": False, "value": "v"}},
            "a": "Work",
            "b": "Work",
            "m": "innkeeper:Merge",
        },
        ["if.then -> a.any", "if.else -> b.any", "a.text -> m.values", "b.text -> m.values"],
    )
    assert said(found) == {"if": "complete", "a": "skipped untaken", "b": "complete", "m": "complete"}
    assert found.nodes["m"].outputs["value"] == found.nodes["b"].outputs["text"]
    assert found.nodes["if"].outputs == {"then": Untaken(), "else": Value("v")}


def test_groups_pass_values_in_through_and_out_again() -> None:
    inner = graph(
        {"in": "core:GroupInput", "w": "Work", "out": "core:GroupOutput"},
        ["in.x -> w.text", "in.x -> out.same", "w.real -> out.real", "in.y -> w.word"],
        interfaceInputs={
            "x": {"dataFlowType": "INTEGER"},
            "y": {"dataFlowType": "STRING", "config": {"default": "mine"}},
        },
        interfaceOutputs={"same": {"dataFlowType": "INTEGER"}, "real": {"dataFlowType": "FLOAT"}},
    )
    outer = graph(
        {"in": "core:GroupInput", "g": {"type": "core:NodeGroup", "configValues": {"referencedWorkflowId": "inner"}}},
        ["in.x -> g.x"],
        interfaceInputs={"x": {"dataFlowType": "INTEGER"}},
        interfaceOutputs={"same": {"dataFlowType": "INTEGER"}},
        outputInterfaceMappings={"same": {"sourceNodeId": "g", "sourceSlotKey": "same"}},
    )
    group = {"type": "core:NodeGroup", "configValues": {"referencedWorkflowId": "outer"}}
    found = run(
        {"g": {**group, "inputs": {"x": 5}}, "h": group, "w": "Work"},
        ["w.number -> h.x", "g.same -> w.text"],
        innkeeper={"workflows": {"inner": inner, "outer": outer}},
    )
    assert set(found.nodes) == {"g/g/w", "h/g/w", "w"}
    assert found.nodes["w"].inputs is not None
    assert found.nodes["w"].inputs["text"] == "5"
    assert found.nodes["g/g/w"].inputs is not None
    assert (found.nodes["g/g/w"].inputs["text"], found.nodes["g/g/w"].inputs["word"]) == ("5", "mine")
    assert found.order == ["g/g/w", "w", "h/g/w"]


def test_a_bypassed_node_gives_what_fits_first() -> None:
    found = run(
        {"a": "Work", "b": {"type": "Work", "bypassed": True}},
        ["a.number -> b.text", "a.list -> b.any", "a.object -> b.object"],
    )
    outputs, given = found.nodes["b"].outputs, found.nodes["a"].values()
    assert said(found)["b"] == "skipped bypassed"
    assert outputs["text"] == Value(str(given["number"]))
    assert outputs["object"] == Value(given["object"])
    # `real` has a default; `number` is the first that takes what `any` brings, and for `any` nothing is left.
    assert (outputs["real"], outputs["number"]) == (Value(1.5), Value(given["list"]))
    assert (outputs["flag"], outputs["any"]) == (Value(False), Nothing())


def test_streams_reach_all_who_read_them() -> None:
    found = run(
        {"s": {"type": "Source", "configValues": {"chunks": ["a", "b"]}}, "r": "Relay", "g": "Gather"},
        ["s.chunks -> r.chunks", "s.chunks -> g.one", "r.chunks -> g.two"],
        interfaceOutputs={"live": {"dataFlowType": "WILDCARD", "isStream": True}},
        outputInterfaceMappings={"live": {"sourceNodeId": "r", "sourceSlotKey": "chunks"}},
    )
    first = found.nodes["s"].chunks["chunks"]
    assert first[1:] == ["a", "b"]
    assert found.outputs["live"] == Chunks(tuple(["chunks", each] for each in first))
    assert found.nodes["g"].outputs["count"] == Value(6)


def test_a_loop_gathers_what_each_turn_gives() -> None:
    body = graph(
        {"in": "core:GroupInput", "w": "Bytes"},
        ["in.item -> w.any"],
        interfaceInputs={"item": {"dataFlowType": "WILDCARD"}},
        interfaceOutputs={"text": {"dataFlowType": "STRING"}, "item": {"dataFlowType": "WILDCARD"}},
        outputInterfaceMappings={
            "text": {"sourceNodeId": "w", "sourceSlotKey": "text"},
            "item": {"sourceNodeId": "in", "sourceSlotKey": "item"},
        },
    )
    config = {"referencedWorkflowId": "body", "maxIterations": 3}
    loop = {"type": "innkeeper:ForEach", "configValues": config, "inputs": {"items": [1, None, 3]}}
    found = run({"each": loop}, innkeeper={"workflows": {"body": body}})
    texts = [found.nodes[f"each[{turn}]/w"].values()["text"] for turn in range(3)]
    assert found.nodes["each"].values() == {"text": texts, "item": [1, None, 3]}
    loop["inputs"] = {"items": [1, 2, 3, 4]}
    found = run({"each": loop}, innkeeper={"workflows": {"body": body}})
    assert found.failure is not None
    assert (found.failure.kind, list(found.nodes)) == ("limit", ["each"])


@pytest.mark.parametrize(("most", "status"), [(2, "error"), (3, "complete")])
def test_a_loop_goes_on_while_its_body_says_so(most: int, status: str) -> None:
    body = graph(
        {"in": "core:GroupInput", "step": {"type": "Step", "configValues": {"until": 3}}},
        ["in.n -> step.n"],
        interfaceInputs={"n": {"dataFlowType": "INTEGER"}},
        interfaceOutputs={"n": {"dataFlowType": "INTEGER"}, "continue": {"dataFlowType": "BOOLEAN"}},
        outputInterfaceMappings={
            "n": {"sourceNodeId": "step", "sourceSlotKey": "n"},
            "continue": {"sourceNodeId": "step", "sourceSlotKey": "more"},
        },
    )
    config = {"referencedWorkflowId": "body", "maxIterations": most}
    found = run({"loop": {"type": "innkeeper:While", "configValues": config}}, innkeeper={"workflows": {"body": body}})
    assert found.status == status
    assert found.nodes["loop"].values() == ({"n": 3, "continue": False} if status == "complete" else {})


def test_it_shares_nothing_with_what_it_is_compared_with() -> None:
    files = list((Path(__file__).parent / "reference").glob("*.py"))
    assert files
    for file in files:
        assert not re.search(
            r"workflow\.(engine|checking)", re.sub(r'""".*?"""', "", file.read_text(), flags=re.DOTALL)
        )
