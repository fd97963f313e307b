"""What a bypassed node gives is known before the run: the run only looks which of the inputs have a value."""

from __future__ import annotations

from typing import Any

import pytest

from group_samples import STREAM, TEXT, check, problems
from innkeeper.workflow.checking.graph import ERROR_OUTPUT, Passed, Source
from node_fakes import FakeHost, workflow


def passed(bypassed: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    host = FakeHost()
    host.add("N", lambda i, c, r: {}, inputs=inputs, outputs=outputs, **bypassed)
    return check(workflow({"a": {"type": "N", "bypassed": True}}), host).nodes["a"].bypass


def test_without_a_behaviour_each_output_takes_the_first_input_of_its_type_that_is_left() -> None:
    assert passed({}, {"a": "STRING", "n": "INTEGER", "b": "STRING"}, {"x": "STRING", "y": "FLOAT", "z": "OBJECT"}) == {
        "x": Passed(("a", "n", "b"), ""),
        "y": Passed(("n",), 0.0),
        "z": Passed((), {}),
    }


def test_with_a_behaviour_outputs_are_mapped_else_have_a_default_else_what_is_empty() -> None:
    behaviour = {"passThrough": {"x": "a", "y": "gone"}, "defaults": {"y": 7, "x": "never empty", "z": None}}
    assert passed(
        {"bypassBehavior": behaviour}, {"a": "STRING"}, {"x": "STRING", "y": "INTEGER", "z": "ARRAY", "w": "BOOLEAN"}
    ) == {
        "x": Passed(("a",), "never empty"),
        "y": Passed((), 7),
        "z": Passed((), []),
        "w": Passed((), False),
    }


def test_a_muted_node_gives_nothing() -> None:
    assert passed({"bypassBehavior": "mute"}, {"a": "STRING"}, {"x": "STRING"}) == {}


@pytest.mark.parametrize(
    ("kind", "empty"),
    [
        *(("STRING", ""), ("INTEGER", 0), ("FLOAT", 0.0), ("BOOLEAN", False), ("OBJECT", {}), ("ARRAY", [])),
        *(("BINARY", None), ("WILDCARD", None), ("CONVERTIBLE_ANY", None)),
    ],
)
def test_what_is_empty_goes_by_the_type(kind: str, empty: Any) -> None:
    assert passed({}, {}, {"x": kind}) == {"x": Passed((), empty)}


def test_streams_and_values_do_not_pass_for_each_other() -> None:
    assert passed({}, {"s": STREAM, "t": TEXT}, {"x": TEXT, "y": STREAM}) == {"x": Passed(("t",), "")}


def test_a_bypassed_node_needs_neither_inputs_nor_configuration() -> None:
    host = FakeHost()
    config = {"need": {"dataFlowType": "STRING", "required": True}}
    host.add("N", lambda i, c, r: {}, inputs={"a!": "STRING"}, outputs={"x": "STRING"}, configSchema=config)
    assert len(problems(workflow({"a": "N"}), host)) == 2
    node = check(workflow({"a": {"type": "N", "bypassed": True, "inputs": {"a": 7}}}), host).nodes["a"]
    assert (node.role, node.plugin) == ("bypassed", None)
    assert node.presets == {"a": 7}


def test_the_output_for_errors_of_a_bypassed_node_is_there_and_gives_nothing() -> None:
    node = {"type": "Upper", "bypassed": True, "configValues": {"innkeeper": {"errorOutput": True}}}
    graph = check(workflow({"a": node, "m": "innkeeper:Merge"}, [f"a.{ERROR_OUTPUT} -> m.values"]))
    assert graph.nodes["m"].sources == {"values": [Source("a", ERROR_OUTPUT)]}
    assert ERROR_OUTPUT not in graph.nodes["a"].bypass


def test_the_interface_cannot_be_bypassed() -> None:
    nodes = {name: {"type": f"core:{name}", "bypassed": True} for name in ("GroupInput", "GroupOutput")}
    assert problems(workflow(nodes)) == [
        f"node '{name}': core:{name} is the workflow's interface, which cannot be bypassed" for name in nodes
    ]


def test_nodes_of_the_editor_alone_are_left_out_with_their_edges() -> None:
    host = FakeHost()
    host.add("Note", lambda i, c, r: {}, inputs={"a!": "STRING"}, outputs={"x": "STRING"}, isUiNode=True)
    host.add("N", lambda i, c, r: {}, inputs={"a": "STRING"}, outputs={"x": "STRING"})
    graph = check(workflow({"note": "Note", "n": "N"}, ["note.x -> n.a", "n.x -> note.a"]), host)
    assert list(graph.nodes) == ["n"]
    assert graph.nodes["n"].sources == {}
