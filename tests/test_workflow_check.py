"""A workflow that does not check says everything that is wrong with it, one line each, before anything runs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from innkeeper.errors import Kind
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.checking.graph import Graph, Source
from innkeeper.workflow.checking.problems import WorkflowError
from innkeeper.workflow.formats.payload import WorkflowPayload
from node_fakes import FakeHost, text_host, workflow


def problems(payload: WorkflowPayload, host: FakeHost | None = None) -> list[str]:
    with pytest.raises(WorkflowError) as caught:
        check_workflow(payload, host or text_host())
    assert caught.value.kind is Kind.USAGE
    lines = caught.value.message.splitlines()
    assert lines == [str(problem) for problem in caught.value.problems]
    return lines


def check(payload: WorkflowPayload, host: FakeHost | None = None) -> Graph:
    return check_workflow(payload, host or text_host())


def test_everything_that_is_wrong_is_said_at_once_with_node_and_slot() -> None:
    lines = problems(
        workflow(
            {"u": "Upper", "v": "Upper", "x": "Uper", "m": "Make", "j": "Join"},
            ["m.number -> u.txt", "m.numbr -> v.text", "ghost.out -> v.text", "m.list -> j.parts__0"],
        )
    )
    assert lines == [
        "node 'x': no plugin has the node type 't:Uper'",
        "node 'u' input 'txt': no such input; did you mean 'text'?",
        "node 'm' output 'numbr': no such output; did you mean 'number'?",
        "edge 'e2': there is no node 'ghost'",
        "node 'j' input 'parts__0': takes STRING, and output 'list' of node 'm' gives ARRAY",
        "node 'u' input 'text': the input is required: connect it or give it a value",
        "node 'v' input 'text': the input is required: connect it or give it a value",
        "node 'j' input 'parts': the input is required: connect it or give it a value",
    ]


def test_the_structured_list_has_node_and_slot() -> None:
    with pytest.raises(WorkflowError) as caught:
        check(workflow({"u": "Upper"}))
    (problem,) = caught.value.problems
    assert (problem.node, problem.slot) == ("u", "input 'text'")


def test_a_cycle_is_named_by_its_nodes_in_order() -> None:
    lines = problems(
        workflow(
            {"a": "Upper", "b": "Upper", "c": "Upper", "tail": "Upper"},
            ["a.out -> b.text", "b.out -> c.text", "c.out -> a.text", "c.out -> tail.text"],
        )
    )
    assert lines == ["the nodes form a cycle: 'a' -> 'b' -> 'c' -> 'a'"]


def test_a_node_that_feeds_itself_is_a_cycle() -> None:
    assert problems(workflow({"a": "Upper"}, ["a.out -> a.text"])) == ["the nodes form a cycle: 'a' -> 'a'"]


def test_two_cycles_are_both_named() -> None:
    edges = ["a.out -> b.text", "b.out -> a.text", "c.out -> d.text", "d.out -> c.text"]
    assert len(problems(workflow(dict.fromkeys("abcd", "Upper"), edges))) == 2


def test_a_cycle_as_long_as_the_graph_may_be_is_found_without_recursion() -> None:
    names = [f"n{index}" for index in range(10_000)]
    edges = [f"{a}.out -> {b}.text" for a, b in pairwise([*names, names[0]])]
    (line,) = problems(workflow(dict.fromkeys(names, "Upper"), edges))
    assert line.startswith("the nodes form a cycle: 'n0' -> 'n1'")
    assert len(line) < 300


def test_graph_order_is_topological_with_ties_in_the_order_of_the_payload() -> None:
    graph = check(
        workflow({"z": "Upper", "y": "Make", "x": "Make", "w": "Upper"}, ["y.text -> z.text", "x.text -> w.text"])
    )
    assert list(graph.nodes) == ["y", "z", "x", "w"]


def test_several_edges_into_a_single_input_are_refused() -> None:
    lines = problems(workflow({"m": "Make", "n": "Make", "u": "Upper"}, ["m.text -> u.text", "n.text -> u.text"]))
    assert lines == ["node 'u' input 'text': takes one edge, and 2 end there"]


def test_an_input_that_is_not_multi_has_no_numbered_handles() -> None:
    (line, _) = problems(workflow({"m": "Make", "u": "Upper"}, ["m.text -> u.text__0"]))
    assert line == "node 'u' input 'text__0': the input 'text' takes one edge only and has no numbered handles"


def test_one_numbered_handle_takes_one_edge() -> None:
    lines = problems(workflow({"m": "Make", "j": "Join"}, ["m.text -> j.parts__1", "m.text -> j.parts__1"]))
    assert lines == ["node 'j' input 'parts__1': takes one edge, and several end there"]


def test_a_multi_input_is_ordered_by_its_list_then_by_number_then_by_edge() -> None:
    graph = check(
        workflow(
            {
                **dict.fromkeys("abcdef", "Make"),
                "j": {"type": "Join", "inputConnectionOrders": {"parts": ["e5", "e0", "stale"]}},
            },
            [
                "a.text -> j.parts__9",
                "b.text -> j.parts",
                "c.text -> j.parts__10",
                "d.text -> j.parts__2",
                "e.text -> j.parts",
                "f.text -> j.parts__7",
            ],
        )
    )
    assert [source.node for source in graph.nodes["j"].sources["parts"]] == ["f", "a", "d", "c", "b", "e"]


def test_ids_of_nodes_and_edges_are_unique() -> None:
    payload = workflow({"a": "Make", "b": "Upper"}, ["a.text -> b.text", "a.text -> b.text"])
    payload.nodes.append(payload.nodes[0])
    payload.edges[1].id = "e0"
    assert problems(payload) == [
        "node 'a': there is more than one node with this id",
        "edge 'e0': there is more than one edge with this id",
    ]


@pytest.mark.parametrize(
    ("source", "target", "right"),
    [
        ("STRING", "STRING", True),
        ("INTEGER", "FLOAT", True),
        ("FLOAT", "INTEGER", False),
        ("INTEGER", "STRING", True),
        ("FLOAT", "STRING", True),
        ("BOOLEAN", "STRING", True),
        ("STRING", "INTEGER", False),
        ("OBJECT", "STRING", False),
        ("ARRAY", "OBJECT", False),
        ("BINARY", "STRING", False),
        ("WILDCARD", "ARRAY", True),
        ("OBJECT", "CONVERTIBLE_ANY", True),
    ],
)
def test_types_connect_as_the_table_says(source: str, target: str, right: bool) -> None:
    assert (edge_problems({"dataFlowType": source}, {"dataFlowType": target}) == []) is right


def test_categories_in_common_or_a_wildcard_connect_any_types() -> None:
    json_text = {"dataFlowType": "STRING", "matchCategories": ["Json", "Code"]}
    other = {"dataFlowType": "OBJECT", "matchCategories": ["Json"]}
    anything = {"dataFlowType": "ARRAY", "matchCategories": ["BehaviorWildcard"]}
    assert not edge_problems(json_text, other)
    assert not edge_problems(anything, other)
    assert not edge_problems(other, anything)
    assert edge_problems({"dataFlowType": "OBJECT", "matchCategories": ["Code"]}, {"dataFlowType": "STRING"})


def test_a_stream_goes_into_a_stream_and_a_value_into_a_value() -> None:
    stream, value = {"dataFlowType": "STRING", "isStream": True}, {"dataFlowType": "STRING"}
    assert edge_problems(stream, stream) == []
    assert edge_problems(stream, value) == [
        "node 'b' input 'in': takes a value, and output 'out' of node 'a' is a stream"
    ]
    assert edge_problems(value, stream) == [
        "node 'b' input 'in': takes a stream, and output 'out' of node 'a' is no stream"
    ]


def edge_problems(source: dict[str, Any], target: dict[str, Any]) -> list[str]:
    host = FakeHost()
    host.add("From", lambda i, c, r: {}, outputs={"out": source})
    host.add("To", lambda i, c, r: {}, inputs={"in": target})
    try:
        check(workflow({"a": "From", "b": "To"}, ["a.out -> b.in"]), host)
    except WorkflowError as error:
        return error.message.splitlines()
    return []


def test_a_group_without_a_workflow_and_an_edge_into_a_bypassed_node_that_has_no_inputs_are_named() -> None:
    nodes = {"g": "core:NodeGroup", "m": {"type": "Make", "bypassed": True}}
    assert problems(workflow(nodes, ["g.out -> m.in"])) == [
        "node 'g' configuration 'referencedWorkflowId': a value is required",
        "node 'm' input 'in': no such input; it has none",
    ]


@pytest.mark.parametrize(
    ("value", "right"),
    [("text", True), (None, True), (7, False), ([], False), (True, False), ({}, False)],
)
def test_a_preset_fits_the_type_of_its_slot(value: Any, right: bool) -> None:
    payload = workflow({"m": "Make", "u": {"type": "Upper", "inputs": {"text": value}}}, ["m.text -> u.text"])
    if right:
        check(payload)
    else:
        (line,) = problems(payload)
        assert line.startswith("node 'u' input 'text': the slot is STRING and takes text, not ")


def test_a_slot_that_behaves_as_a_wildcard_takes_any_preset() -> None:
    host = FakeHost()
    matrix = {"dataFlowType": "OBJECT", "matchCategories": ["Matrix", "BehaviorWildcard"]}
    host.add("Matrix", lambda i, c, r: {}, inputs={"a": matrix, "b": matrix})
    check(workflow({"m": {"type": "Matrix", "inputs": {"a": "[[1]]", "b": [[1]]}}}), host)


def test_true_is_no_number_and_a_whole_float_is_an_integer() -> None:
    host = FakeHost()
    host.add("N", lambda i, c, r: {}, inputs={"i": "INTEGER", "f": "FLOAT", "b": "BINARY"})
    check(workflow({"a": {"type": "N", "inputs": {"i": 3.0, "f": 3, "b": "AP8="}}}), host)
    lines = problems(workflow({"a": {"type": "N", "inputs": {"i": 3.5, "f": True, "b": "%%"}}}), host)
    assert len(lines) == 3


def test_a_preset_for_an_input_that_does_not_exist_is_refused_unless_another_mode_has_it() -> None:
    host = modal_host()
    node = {"type": "Math", "configValues": {"mode": "add"}, "inputs": {"value": 3, "a": 1}}
    check(workflow({"a": node}), host)
    node = {"type": "Math", "inputs": {"valeu": 3}}
    assert problems(workflow({"a": node}), host) == ["node 'a' input 'valeu': there is no such input; it has: a, b"]


def modal_host() -> FakeHost:
    host = FakeHost()
    host.add(
        "Math",
        lambda i, c, r: {"result": c["mode"]},
        inputs={"a": "FLOAT", "b": "FLOAT"},
        outputs={"result": "STRING"},
        configSchema={"level": {"dataFlowType": "INTEGER", "config": {"default": 1}}},
        modeConfigKey="mode",
        defaultModeId="add",
        modes={
            "add": {"id": "add", "displayName": "add"},
            "sqrt": {"id": "sqrt", "displayName": "root", "inputs": {"value": {"dataFlowType": "FLOAT"}}},
        },
    )
    return host


def test_the_mode_decides_which_inputs_there_are() -> None:
    host = modal_host()
    edges = ["n.result -> m.value"]
    with pytest.raises(WorkflowError):
        check(workflow({"n": "Math", "m": "Math"}, edges), host)
    host.add("Num", lambda i, c, r: {"result": 1.0}, outputs={"result": "FLOAT"})
    graph = check(workflow({"n": "Num", "m": {"type": "Math", "configValues": {"mode": "sqrt"}}}, edges), host)
    assert dict(graph.nodes["m"].config) == {"level": 1, "mode": "sqrt"}
    assert check(workflow({"m": "Math"}), host).nodes["m"].config["mode"] == "add"


def test_an_unknown_mode_and_a_configuration_of_the_wrong_type_are_refused() -> None:
    host = modal_host()
    (line,) = problems(workflow({"m": {"type": "Math", "configValues": {"mode": "cube"}}}), host)
    assert line == "node 'm': t:Math has no mode 'cube' (mode); it has: add, sqrt"
    (line,) = problems(workflow({"m": {"type": "Math", "configValues": {"level": "x"}}}), host)
    assert line.startswith("node 'm' configuration 'level': the slot is INTEGER")


TEXT = {"dataFlowType": "STRING", "required": True}


def test_interface_inputs_reach_nodes_through_the_engines_own_node() -> None:
    graph = check(
        workflow(
            {"in": "core:GroupInput", "u": "Upper", "out": "core:GroupOutput"},
            ["in.text -> u.text", "u.out -> out.result"],
            interfaceInputs={"text": {**TEXT, "config": {"default": "hi"}}},
            interfaceOutputs={"result": {"dataFlowType": "STRING"}},
        )
    )
    assert graph.interface_values == {"text": "hi"}
    assert graph.interface_outputs == {"result": Source("u", "out")}


def test_an_interface_input_without_a_value_says_once_how_to_give_it_one() -> None:
    lines = problems(
        workflow(
            {"in": "core:GroupInput", "u": "Upper", "v": "Upper"},
            ["in.text -> u.text", "in.more -> v.text"],
            interfaceInputs={
                "text": TEXT,
                "n": {"dataFlowType": "INTEGER", "config": {"default": "x"}},
                "more": {"dataFlowType": "STRING"},
            },
        )
    )
    assert lines == [
        "the interface input 'text' needs a value; give it with --input text=VALUE",
        "the interface input 'n' has a value that does not fit: the slot is INTEGER and takes an integer, not text",
        "node 'v' input 'text': the input is required, and the interface input 'more' has no value; give it with "
        "--input more=VALUE",
    ]


def test_mappings_and_interface_outputs_that_point_nowhere_are_named() -> None:
    lines = problems(
        workflow(
            {"m": "Make", "in": "core:GroupInput", "in2": "core:GroupInput"},
            interfaceOutputs={"a": TEXT, "b": TEXT, "c": TEXT},
            outputInterfaceMappings={
                "a": {"sourceNodeId": "ghost", "sourceSlotKey": "x"},
                "b": {"sourceNodeId": "m", "sourceSlotKey": "txt"},
            },
        )
    )
    assert lines == [
        "node 'in2': a workflow has one core:GroupInput, and there is another before this one",
        "the interface output 'a' comes from node 'ghost', which does not exist",
        "the interface output 'b' comes from an output 'txt' of node 'm', which does not exist; did you mean 'text'?",
    ]
    assert problems(workflow({"m": "Make"}, interfaceOutputs={"c": TEXT})) == [
        "the interface output 'c' has no source: map it or connect it"
    ]


def test_an_edge_from_an_interface_input_that_does_not_exist_is_named() -> None:
    (line, _) = problems(
        workflow(
            {"in": "core:GroupInput", "u": "Upper"},
            ["in.txet -> u.text"],
            interfaceInputs={"text": TEXT | {"config": {"default": ""}}},
        )
    )
    assert line == ("node 'in' output 'txet': the workflow has no interface input of this name; did you mean 'text'?")


def test_thousands_of_problems_are_counted_and_a_hundred_are_shown() -> None:
    with pytest.raises(WorkflowError) as caught:
        check(workflow({f"n{index}": "Nothing" for index in range(5000)}))
    lines = caught.value.message.splitlines()
    assert len(lines) == 101
    assert lines[-1] == "and 4,900 more problems"
    assert len(caught.value.problems) == 1000


def test_what_may_be_meant_is_looked_for_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def look(wanted: str, names: list[str], n: int, cutoff: float) -> list[str]:
        compared.append(len(wanted) * sum(map(len, names)))
        return []

    monkeypatch.setattr("innkeeper.workflow.checking.problems.get_close_matches", look)
    slots = {f"{number:0100d}": {"dataFlowType": "STRING"} for number in range(250)}
    interface = workflow(
        {"in": "core:GroupInput", "u": "Upper"},
        [f"in.{'x' * 200}{number} -> u.text" for number in range(2000)],
        interfaceInputs={**slots, "short": {"dataFlowType": "STRING"}},
    )
    with pytest.raises(WorkflowError, match=r"^node 'in' output 'xxx"):
        check(interface)
    assert len(compared) <= 100
    assert max(compared) <= 60 * 60 * 100
    asked: list[str] = []

    class Host(FakeHost):
        def node(self, full_type: str) -> Any:
            asked.append(full_type)
            return super().node(full_type)

    with pytest.raises(WorkflowError):
        check_workflow(workflow({f"n{number}": f"Nothing{number}" for number in range(2000)}), Host())
    assert len(asked) == 100
