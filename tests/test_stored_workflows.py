"""Both JSON forms of a workflow: what is read is written again without a loss, and one becomes the other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import UsageError
from innkeeper.knowledge.interchange.preset_workflow import workflow_of as preset_workflow
from innkeeper.knowledge.interchange.presets import read_preset
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.formats.parts import is_stored
from innkeeper.workflow.formats.payload import WorkflowPayload, read_payload
from innkeeper.workflow.formats.reading import as_payload, as_stored, read_workflow, workflow_of, written
from innkeeper.workflow.formats.stored import StoredWorkflow
from node_fakes import text_host

STORED: dict[str, Any] = {
    "id": "0b7f7a52-5a4c-4d0e-8f52-0d5a4c4d0e8f",
    "name": "Größe",
    "description": None,
    "nodes": [
        {
            "id": "m",
            "type": "t:Make",
            "position": {"x": 1, "y": 2.5},
            "width": 300,
            "zIndex": 3,
            "data": {"componentStates": {"text": {"height": 80}}, "isMissing": False},
            "displayName": "made",
            "customSlotDescriptions": {"inputs": {}, "outputs": {"text": "t"}},
        },
        {
            "id": "j",
            "type": "t:Join",
            "position": {"x": 0, "y": 0},
            "inputValues": {"separator": ", "},
            "configValues": {"innkeeper": {"timeout": 5}},
            "inputConnectionOrders": {"parts": ["e2", "e1"]},
        },
        {"id": "lost", "type": "gone:Type", "position": {"x": 0}, "data": {"isMissing": True, "originalNodeData": {}}},
    ],
    "edges": [
        {"id": "e1", "source": "m", "target": "j", "sourceHandle": "text", "targetHandle": "parts__0", "label": "x"},
        {"id": "e2", "source": "m", "target": "j", "sourceHandle": "text", "targetHandle": "parts__1", "markerEnd": {}},
        {"id": "e3", "source": "j", "target": "lost", "sourceHandle": None, "targetHandle": None},
    ],
    "viewport": {"x": 0, "y": -1, "zoom": 1.0},
    "createdAt": "2025-06-23T10:00:00Z",
    "version": "0.0.5",
    "interfaceInputs": {"a": {"key": "a", "dataFlowType": "STRING", "min": 1, "hideHandle": True, "unknown": [1, 2.0]}},
    "interfaceOutputs": {},
    "referencedWorkflows": ["x"],
    "previewTarget": {"nodeId": "j", "slotKey": "out"},
    "extensions": {"anything": {"at": ["all", None, 1.0, 1]}},
}


def text_of(value: Any) -> str:
    """JSON, in which 1 and 1.0 differ."""
    return json.dumps(value, sort_keys=True)


def test_a_stored_workflow_is_written_as_it_was_read() -> None:
    stored = read_workflow(json.dumps(STORED).encode())
    assert isinstance(stored, StoredWorkflow)
    assert text_of(written(stored)) == text_of(STORED)


def test_a_payload_is_written_as_it_was_read() -> None:
    payload = {
        "nodes": [{"id": "a", "fullType": "x:y", "inputs": {"n": 1.0, "i": 1}, "colour": None}],
        "edges": [{"sourceNodeId": "a", "sourceHandle": "o", "targetNodeId": "a", "targetHandle": "i", "zz": 0.0}],
        "metadata": {"isPreviewRun": False},
        "innkeeper": {"workflows": {"w": {"nodes": 7}}, "later": 1},
    }
    read = read_workflow(json.dumps(payload).encode())
    assert isinstance(read, WorkflowPayload)
    assert text_of(written(read)) == text_of(payload)


def test_a_stored_workflow_becomes_a_payload() -> None:
    payload = read_payload(json.dumps(STORED).encode())
    assert payload.workflow_id == STORED["id"]
    join = payload.nodes[1]
    assert (join.full_type, join.inputs, join.config_values) == (
        "t:Join",
        {"separator": ", "},
        {"innkeeper": {"timeout": 5}},
    )
    assert join.input_connection_orders == {"parts": ["e2", "e1"]}
    assert [(edge.source_handle, edge.target_handle) for edge in payload.edges] == [
        ("text", "parts__0"),
        ("text", "parts__1"),
        (None, None),
    ]
    assert list(payload.interface_inputs) == ["a"]


def test_a_stored_workflow_checks_and_keeps_the_order_of_its_edges() -> None:
    value = {**STORED, "nodes": STORED["nodes"][:2], "edges": STORED["edges"][:2], "interfaceOutputs": None}
    value["nodes"] = [*value["nodes"], {"id": "m2", "type": "t:Make", "position": {"x": 0, "y": 0}}]
    value["edges"] = [value["edges"][0], {**value["edges"][1], "source": "m2"}]
    graph = check_workflow(read_payload(json.dumps(value).encode()), text_host())
    assert [getattr(each, "node", None) for each in graph.nodes["j"].sources["parts"]] == ["m2", "m"]


@pytest.mark.parametrize(
    ("fields", "bypassed"),
    [
        ({}, False),
        ({"bypassed": True}, True),
        ({"data": {"bypassed": True}}, True),
        ({"bypassed": False, "data": {"bypassed": True}}, False),
        ({"bypassed": None, "data": {"bypassed": "yes"}}, False),
        ({"bypassed": None, "data": None}, False),
    ],
)
def test_bypassed_survives_wherever_an_editor_keeps_it(fields: dict[str, Any], bypassed: bool) -> None:
    value = {"nodes": [{"id": "a", "type": "x:y", **fields}], "edges": []}
    assert read_payload(json.dumps(value).encode()).nodes[0].bypassed is bypassed


def test_a_stored_workflow_goes_to_a_payload_and_back_without_a_loss() -> None:
    stored = workflow_of(json.loads(json.dumps(STORED)))
    again = as_stored(as_payload(stored))
    expected = {key: value for key, value in STORED.items() if key != "description"}
    found = {key: value for key, value in written(again).items() if key != "description"}
    assert text_of(found) == text_of(expected)


def test_a_payload_becomes_what_an_editor_can_open() -> None:
    payload = workflow_of(
        {
            "workflowId": "w",
            "metadata": {"workflowName": "Named"},
            "nodes": [{"id": "a", "fullType": "t:Make"}, {"id": "b", "fullType": "t:Upper", "inputs": {"text": "x"}}],
            "edges": [
                {"sourceNodeId": "a", "sourceHandle": "text", "targetNodeId": "b", "targetHandle": "text"},
                {"id": "e0", "sourceNodeId": "a", "sourceHandle": "text", "targetNodeId": "b", "targetHandle": "text"},
            ],
            "outputInterfaceMappings": {"o": {"sourceNodeId": "b", "sourceSlotKey": "out"}},
        }
    )
    stored = written(as_stored(payload))
    assert (stored["id"], stored["name"]) == ("w", "Named")
    assert [node["type"] for node in stored["nodes"]] == ["t:Make", "t:Upper"]
    places = [(node["position"]["x"], node["position"]["y"]) for node in stored["nodes"]]
    assert len(set(places)) == 2
    assert [edge["id"] for edge in stored["edges"]] == ["e0-2", "e0"]
    assert set(stored["viewport"]) == {"x", "y", "zoom"}
    back = as_payload(workflow_of(json.loads(json.dumps(stored))))
    assert written(back)["outputInterfaceMappings"] == {"o": {"sourceNodeId": "b", "sourceSlotKey": "out"}}
    assert back.nodes[1].inputs == {"text": "x"}


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ({"nodes": [], "edges": []}, False),
        ({"nodes": [], "edges": [], "viewport": {}}, True),
        ({"nodes": [{"id": "a", "type": "x:y"}], "edges": []}, True),
        ({"nodes": [{"id": "a", "fullType": "x:y", "type": "z"}], "edges": []}, False),
        ({"nodes": [7, {"id": "a", "type": "x:y"}], "edges": {}}, True),
        ({"nodes": [], "edges": [{"source": "a", "target": "b"}]}, True),
    ],
)
def test_the_forms_are_told_apart_by_what_nodes_and_edges_have(value: Any, stored: bool) -> None:
    assert is_stored(value) == stored


def test_every_fault_of_a_stored_workflow_is_named_by_its_place_in_the_file() -> None:
    value = {"nodes": [{"id": "a", "type": 7}, {"type": "x:y"}], "edges": [{"source": "a"}], "viewport": {}}
    with pytest.raises(UsageError) as caught:
        read_payload(json.dumps(value).encode())
    assert caught.value.message.splitlines() == [
        "the workflow's nodes[0].type: this must be text",
        "the workflow's nodes[1].id: this field is missing",
        "the workflow's edges[0].target: this field is missing",
    ]


def test_a_stored_workflow_has_the_bounds_of_a_payload() -> None:
    node, edge = {"id": "a", "type": "x:y"}, {"source": "a", "target": "a"}
    with pytest.raises(UsageError) as caught:
        read_payload(json.dumps({"nodes": [node] * 10_001, "edges": [edge] * 100_001}).encode())
    assert "10000" in caught.value.message
    assert "100000" in caught.value.message
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    with pytest.raises(UsageError, match="deep"):
        read_workflow(json.dumps({"nodes": [{**node, "data": {"x": deep}}], "edges": []}).encode())


numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(texts, deeper, max_size=3),
    max_leaves=6,
)
ids = st.sampled_from(["a", "b", "c d", "ü"])
keys = st.sampled_from(["text", "x__1", "y"])
strange = st.dictionaries(
    st.sampled_from(["colour", "zz", "position", "label", "width", "émoji"]), anything, max_size=3
)
slots = st.fixed_dictionaries(
    {"dataFlowType": st.sampled_from(["STRING", "ARRAY", "WILDCARD"])},
    optional={"required": st.booleans(), "config": st.dictionaries(keys, anything, max_size=2), "min": anything},
)
interface = st.dictionaries(keys, slots, max_size=2)
presets = st.dictionaries(keys, anything, max_size=2)
orders = st.dictionaries(keys, st.lists(ids, max_size=2), max_size=1)


def joined(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda found: {key: value for each in found for key, value in each.items()})


stored_nodes = joined(
    strange,
    st.fixed_dictionaries(
        {"id": ids, "type": ids, "position": st.just({"x": 0, "y": 1.0})},
        optional={
            "inputValues": presets,
            "configValues": presets,
            "inputConnectionOrders": orders,
            "bypassed": st.booleans(),
            "data": st.dictionaries(st.sampled_from(["isMissing", "originalNodeData"]), anything, max_size=2),
        },
    ),
)
stored_edges = joined(
    strange,
    st.fixed_dictionaries(
        {"id": ids, "source": ids, "target": ids, "sourceHandle": st.none() | ids, "targetHandle": ids}
    ),
)
stored_workflows = joined(
    strange,
    st.fixed_dictionaries(
        {
            "nodes": st.lists(stored_nodes, max_size=3),
            "edges": st.lists(stored_edges, max_size=3),
            "name": st.just("n"),
        },
        optional={"id": ids, "interfaceInputs": interface, "interfaceOutputs": interface, "version": anything},
    ),
    st.just({"viewport": {"x": 0, "y": 0, "zoom": 1}}),
)
execution_workflows = joined(
    strange,
    st.fixed_dictionaries(
        {
            "nodes": st.lists(
                joined(
                    strange,
                    st.fixed_dictionaries(
                        {"id": ids, "fullType": ids},
                        optional={"inputs": presets, "configValues": presets, "bypassed": st.booleans()},
                    ),
                ),
                max_size=3,
            ),
            "edges": st.lists(
                joined(
                    strange,
                    st.fixed_dictionaries(
                        {"sourceNodeId": ids, "sourceHandle": ids, "targetNodeId": ids, "targetHandle": st.none() | ids}
                    ),
                ),
                max_size=3,
            ),
        },
        optional={"workflowId": ids, "interfaceInputs": interface, "metadata": anything},
    ),
)


@settings(deadline=None)
@given(stored_workflows | execution_workflows)
def test_either_form_is_written_as_it_was_read(value: Any) -> None:
    data = json.dumps(value).encode()
    assert text_of(written(read_workflow(data))) == text_of(json.loads(data))


@settings(deadline=None)
@given(stored_workflows)
def test_a_stored_workflow_survives_being_a_payload(value: Any) -> None:
    stored = read_workflow(json.dumps(value).encode())
    assert text_of(written(as_stored(as_payload(stored)))) == text_of(value)


@settings(deadline=None)
@given(execution_workflows)
def test_a_payload_survives_being_stored(value: Any) -> None:
    payload = as_payload(read_workflow(json.dumps(value).encode()))
    again = as_payload(workflow_of(json.loads(json.dumps(written(as_stored(payload))))))
    assert [
        node.model_dump(include={"id", "full_type", "inputs", "config_values", "bypassed"}) for node in again.nodes
    ] == [node.model_dump(include={"id", "full_type", "inputs", "config_values", "bypassed"}) for node in payload.nodes]
    ends = {"source_node_id", "source_handle", "target_node_id", "target_handle"}
    assert [edge.model_dump(include=ends) for edge in again.edges] == [
        edge.model_dump(include=ends) for edge in payload.edges
    ]
    assert again.interface_inputs == payload.interface_inputs
    assert again.workflow_id == payload.workflow_id


def test_a_workflow_made_of_a_preset_is_the_same_in_both_forms() -> None:
    made = {"prompts": [{"identifier": "main", "role": "system", "content": "Be brief."}], "temperature": 0.5}
    preset = read_preset(json.dumps(made).encode(), "chat.json")
    payload = read_payload(json.dumps(preset_workflow(preset)).encode())
    stored = read_payload(json.dumps(preset_workflow(preset, stored=True)).encode())
    compared = {"id", "full_type", "inputs", "config_values", "input_connection_orders"}
    assert [node.model_dump(include=compared) for node in stored.nodes] == [
        node.model_dump(include=compared) for node in payload.nodes
    ]
    ends = {"source_node_id", "source_handle", "target_node_id", "target_handle"}
    assert [edge.model_dump(include=ends) for edge in stored.edges] == [
        edge.model_dump(include=ends) for edge in payload.edges
    ]
    assert stored.output_interface_mappings == payload.output_interface_mappings
