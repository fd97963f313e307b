"""Branches and loops in the check: their slots, their bounds, and the graph of a turn."""

from __future__ import annotations

from typing import Any

import pytest

from group_samples import STREAM, TEXT, UPPER, check, group, inner, loop, problems, stream_host
from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.workflow.checking.graph import ENGINE_NODES, Passed, Source
from innkeeper.workflow.checking.own_nodes import OWN_NODES
from node_fakes import workflow

NUMBER = {"dataFlowType": "INTEGER"}
FLAG = {"dataFlowType": "BOOLEAN"}

TURN = inner(
    {"u": "Upper", "m": "Make"},
    ["in.item -> u.text", "u.out -> out.big", "m.flag -> out.continue"],
    inputs={"item": TEXT, "index": NUMBER, "more": {**TEXT, "required": True}},
    outputs={"big": TEXT, "continue": FLAG},
)
"""item, index, more -> big, continue"""


def test_every_node_type_of_the_engine_has_a_definition_for_editors() -> None:
    assert set(OWN_NODES) == ENGINE_NODES
    for full_type, definition in OWN_NODES.items():
        again = NodeDefinition.model_validate(definition.model_dump(by_alias=True, exclude_none=True))
        assert again.full_type == full_type
        assert definition.display_name


def test_a_branch_has_its_slots() -> None:
    graph = check(
        workflow(
            {"m": "Make", "if": "innkeeper:If", "u": "Upper", "merge": "innkeeper:Merge"},
            [
                "m.flag -> if.condition",
                "m.text -> if.value",
                "if.then -> u.text",
                "u.out -> merge.values",
                "if.else -> merge.values",
            ],
        )
    )
    assert [node.role for node in graph.nodes.values()] == ["plugin", "if", "plugin", "merge"]
    assert graph.nodes["merge"].sources == {"values": [Source("u", "out"), Source("if", "else")]}
    assert graph.nodes["if"].plugin is None


def test_a_branch_needs_its_condition_and_takes_no_stream() -> None:
    lines = problems(workflow({"a": "Source", "if": "innkeeper:If"}, ["a.s -> if.value"]), stream_host())
    assert lines == [
        "node 'if' input 'value': takes a value, and output 's' of node 'a' is a stream",
        "node 'if' input 'condition': the input is required: connect it or give it a value",
    ]


def test_for_each_has_the_inputs_of_its_workflow_but_those_of_the_turn_and_its_outputs_as_arrays() -> None:
    graph = check(
        workflow(
            {"m": "Make", "f": loop("ForEach", "turn", at_most=7, parallel=3)},
            ["m.list -> f.items", "m.text -> f.more"],
        ),
        turn=TURN,
    )
    node = graph.nodes["f"]
    assert (node.role, node.bound, node.parallel) == ("for_each", 7, 3)
    assert list(node.inputs) == ["items", "more"]
    assert {key: slot.data_flow_type for key, slot in node.outputs.items()} == {"big": "ARRAY", "continue": "ARRAY"}
    assert node.body is not None
    assert list(node.body.nodes) == ["in", "u", "m", "out"]
    assert node.body.interface_outputs == {"big": Source("u", "out"), "continue": Source("m", "flag")}
    assert list(node.body.interface_inputs) == ["item", "index", "more"]


def test_while_has_the_slots_of_its_workflow() -> None:
    graph = check(workflow({"f": loop("While", "turn", inputs={"more": "x"})}), turn=TURN)
    node = graph.nodes["f"]
    assert (node.role, node.bound) == ("while", 10)
    assert list(node.inputs) == ["item", "index", "more"]
    assert {key: slot.data_flow_type for key, slot in node.outputs.items()} == {"big": "STRING", "continue": "BOOLEAN"}


def test_loops_over_one_workflow_share_the_graph_of_a_turn() -> None:
    nodes = {name: loop("ForEach", "turn", inputs={"items": [], "more": ""}) for name in "ab"}
    graph = check(workflow(nodes), turn=TURN)
    assert graph.nodes["a"].body is graph.nodes["b"].body


def test_a_loop_in_a_loop_and_a_group_in_a_turn_are_put_in() -> None:
    outer = inner(
        {"f": loop("ForEach", "turn", inputs={"more": ""}), "g": group("w")},
        ["in.item -> f.items", "in.text -> g.text"],
        inputs={"item": {"dataFlowType": "ARRAY"}, "text": TEXT},
        outputs={},
    )
    graph = check(workflow({"o": loop("ForEach", "outer", inputs={"items": [[1]]})}), outer=outer, turn=TURN, w=UPPER)
    body = graph.nodes["o"].body
    assert body is not None
    assert list(body.nodes) == ["in", "f", "g/u"]
    assert body.nodes["f"].body is not None


def test_nodes_of_a_turn_have_other_ids_where_an_author_has_taken_theirs() -> None:
    nodes = {"f": loop("ForEach", "turn", inputs={"items": [], "more": ""}), "f[3]/u": "Make", "f[3]/": "Make"}
    graph = check(workflow(nodes), turn=TURN)
    body = graph.nodes["f"].body
    assert body is not None
    assert list(body.nodes) == ["in", "u~2", "m", "out"]
    assert body.interface_outputs["big"] == Source("u~2", "out")


def test_a_bypassed_loop_has_no_turns_and_keeps_its_slots() -> None:
    graph = check(workflow({"f": loop("While", "turn", bypassed=True)}), turn=TURN)
    node = graph.nodes["f"]
    assert (node.role, node.body) == ("bypassed", None)
    assert node.bypass["big"] == Passed(("item", "index", "more"), "")


def test_an_input_of_a_turn_needs_no_value_before_the_loop_runs() -> None:
    required = inner({"u": "Upper"}, ["in.item -> u.text"], inputs={"item": {**TEXT, "required": True}}, outputs={})
    check(workflow({"f": loop("ForEach", "required", inputs={"items": ["x"]})}), required=required)


# --- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"maxIterations": None}, "configuration 'maxIterations': a value is required"),
        ({"maxIterations": 0}, "configuration 'maxIterations': this must be from 1 to 10,000"),
        ({"maxIterations": 10_001}, "configuration 'maxIterations': this must be from 1 to 10,000"),
        ({"maxIterations": "9"}, "configuration 'maxIterations': the slot is INTEGER and takes an integer, not text"),
        (
            {"maxIterations": 1.5},
            "configuration 'maxIterations': the slot is INTEGER and takes an integer, not a number",
        ),
        ({"parallel": 17}, "configuration 'parallel': this must be from 1 to 16"),
        ({"innkeeper": {"retry": {"tries": 2}}}, "configuration 'innkeeper.retry': innkeeper:ForEach takes no retry"),
    ],
)
def test_the_bounds_of_a_loop_are_checked(config: dict[str, Any], words: str) -> None:
    node = loop("ForEach", "turn", inputs={"items": [], "more": ""})
    node["configValues"] |= config
    assert problems(workflow({"f": node}), turn=TURN) == [f"node 'f' {words}"]


def test_a_turn_has_no_streams_in_its_interface() -> None:
    streams = inner({"r": "Relay"}, ["in.s -> r.s", "r.s -> out.s"], inputs={"s": STREAM}, outputs={"s": STREAM})
    lines = problems(workflow({"f": loop("ForEach", "streams", inputs={"items": []})}), stream_host(), streams=streams)
    assert lines[:2] == [
        "node 'f': the workflow 'streams' cannot be a turn of a loop: it has streams as inputs, 's'",
        "node 'f': the workflow 'streams' cannot be a turn of a loop: it has streams as outputs, 's'",
    ]


def test_the_interface_of_a_turn_fits_its_loop() -> None:
    odd = inner(
        {},
        ["in.index -> out.index"],
        inputs={"items": TEXT, "index": {"dataFlowType": "ARRAY"}},
        outputs={"index": {"dataFlowType": "ARRAY"}},
    )
    assert problems(workflow({"f": loop("ForEach", "odd", inputs={"items": []})}), odd=odd) == [
        "node 'f': the workflow 'odd' has an interface input 'items', which is the loop's own: give it another name",
        "node 'f': the interface input 'index' of the workflow 'odd' is ARRAY, and gets the number of the turn, an "
        "INTEGER",
    ]
    odd = inner({}, ["in.x -> out.x"], inputs={"x": TEXT}, outputs={"x": TEXT})
    assert problems(workflow({"f": loop("While", "odd")}), odd=odd) == [
        "node 'f': the workflow 'odd' has no interface output 'continue' to say whether there is a further turn"
    ]
    odd = inner(
        {"m": "Make"},
        ["m.list -> out.continue", "m.list -> out.x"],
        inputs={"x": TEXT},
        outputs={"x": {"dataFlowType": "ARRAY"}, "continue": {"dataFlowType": "ARRAY"}},
    )
    assert problems(workflow({"f": loop("While", "odd")}), odd=odd) == [
        "node 'f': the interface output 'continue' of the workflow 'odd' is ARRAY, not BOOLEAN",
        "node 'f': the interface output 'x' of the workflow 'odd' is ARRAY, and the input of this name, which it "
        "becomes in the next turn, takes STRING",
    ]


def test_a_fault_in_a_turn_is_said_with_its_workflow() -> None:
    bad = inner({"a": "Upper", "b": "Upper"}, ["a.out -> b.text", "b.out -> a.text"])
    assert problems(workflow({name: loop("ForEach", "bad", inputs={"items": []}) for name in "fg"}), bad=bad) == [
        "workflow 'bad': the nodes form a cycle: 'a' -> 'b' -> 'a'"
    ]


def test_loops_that_contain_each_other_and_very_many_nodes_in_turns_are_refused() -> None:
    me = inner({"f": loop("ForEach", "me", inputs={"items": []})})
    assert "refer to each other: 'me' -> 'me'" in problems(workflow({"f": loop("ForEach", "me")}), me=me)[0]
    wide = {f"w{at}": inner({f"m{n}": "Make" for n in range(4000)}) for at in range(3)}
    nodes = {f"f{at}": loop("ForEach", f"w{at}", inputs={"items": []}) for at in range(3)}
    (line, *_) = problems(workflow(nodes), **wide)
    assert "more than 10,000 nodes" in line


def test_all_nodes_of_a_graph_are_those_of_turns_too_each_once() -> None:
    outer = inner({"f": loop("ForEach", "turn", inputs={"items": [], "more": ""})})
    nodes = {name: loop("ForEach", "outer", inputs={"items": []}) for name in "ab"}
    graph = check(workflow({**nodes, "m": "Make"}), outer=outer, turn=TURN)
    assert sorted(node.id for node in graph.all_nodes()) == ["a", "b", "f", "in", "m", "m", "out", "u"]
