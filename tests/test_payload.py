"""Reading a workflow from bytes that anyone may have written."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import UsageError
from innkeeper.workflow.formats import payload as payload_module
from innkeeper.workflow.formats.payload import read_payload

NODE = {"id": "a", "fullType": "core:TextMerge"}
EDGE = {"sourceNodeId": "a", "sourceHandle": "out", "targetNodeId": "a", "targetHandle": "in"}


def read(value: Any) -> Any:
    return read_payload(json.dumps(value).encode())


def refusal(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(UsageError) as caught:
        read_payload(data)
    return caught.value.message


def test_a_payload_is_read_with_the_names_of_the_wire() -> None:
    payload = read(
        {
            "workflowId": "w",
            "nodes": [{**NODE, "inputs": {"x": 1}, "configValues": {"m": "a"}, "inputConnectionOrders": {"k": ["e"]}}],
            "edges": [{**EDGE, "id": "e"}],
            "interfaceInputs": {"text": {"key": "text", "dataFlowType": "STRING", "config": {"default": "hi"}}},
            "interfaceOutputs": {"out": {"dataFlowType": "STREAM"}},
            "outputInterfaceMappings": {"out": {"sourceNodeId": "a", "sourceSlotKey": "out"}},
        }
    )
    assert payload.workflow_id == "w"
    assert payload.nodes[0].config_values == {"m": "a"}
    assert payload.nodes[0].input_connection_orders == {"k": ["e"]}
    assert payload.edges[0].target_handle == "in"
    assert payload.interface_inputs["text"].config["default"] == "hi"
    assert payload.interface_outputs["out"].is_stream
    assert payload.output_interface_mappings["out"].source_slot_key == "out"


def test_unknown_fields_survive_at_every_level() -> None:
    value = {"nodes": [{**NODE, "colour": "red"}], "edges": [{**EDGE, "label": "x"}], "metadata": {"workflowName": "n"}}
    written = read(value).model_dump(by_alias=True, exclude_unset=True)
    assert written == value


def test_a_byte_order_mark_is_no_part_of_the_workflow() -> None:
    assert read_payload(b"\xef\xbb\xbf" + json.dumps({"nodes": [], "edges": []}).encode()).nodes == []


def test_broken_json_is_named_by_line_and_column_in_one_sentence() -> None:
    message = refusal(b'{"nodes": [\n  {"id": "a" 1}\n]}')
    assert "line 2, column 14" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b"[]", "object"),
        (b"7", "object"),
        (b'{"nodes": NaN}', "NaN"),
        (b"[" * 100_000, "deep"),
        (b'{"nodes": [' + b"{}," * 3_000_000 + b"{}]}", "elements"),
    ],
)
def test_what_is_no_workflow_is_refused_with_a_reason(data: bytes, word: str) -> None:
    assert word in refusal(data)


def test_a_file_beyond_the_bound_is_refused_before_it_is_parsed() -> None:
    assert "bytes" in refusal(b" " * (payload_module.PAYLOAD_BOUNDS.size + 1))


def test_every_problem_of_the_form_has_its_own_line_with_its_place() -> None:
    message = refusal(
        {"nodes": [{"id": "a"}, {"id": 3, "fullType": "x:y"}, {**NODE, "bypassed": "yes"}], "edges": [{"id": "e"}]}
    )
    lines = message.splitlines()
    assert "the workflow's nodes[0].fullType: this field is missing" in lines
    assert "the workflow's nodes[1].id: this must be text" in lines
    assert "the workflow's nodes[2].bypassed: this must be true or false" in lines
    assert "the workflow's edges[0].sourceNodeId: this field is missing" in lines
    assert not any("pydantic" in line or "ValidationError" in line for line in lines)


def test_a_thousand_problems_are_counted_and_twenty_are_shown() -> None:
    lines = refusal({"nodes": [{}] * 1000, "edges": []}).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 1,980 more problems in the workflow"


@pytest.mark.parametrize("bad", ["", "x" * 257, "a\nb", "a\x1b[31m"])
def test_an_id_is_short_and_has_no_control_characters(bad: str) -> None:
    assert "nodes[0].id" in refusal({"nodes": [{**NODE, "id": bad}], "edges": []})
    assert "edges[0].targetHandle" in refusal({"nodes": [], "edges": [{**EDGE, "targetHandle": bad}]})


@pytest.mark.parametrize("odd", ["a\x1b[31m", "a\r", "a\x9b2J", "a\u202eb", "a\x00"])
def test_a_place_in_a_message_shows_control_characters_as_escapes(odd: str) -> None:
    message = refusal({"nodes": [{**NODE, "inputs": {odd: 1}}], "edges": [], "interfaceInputs": {odd: 1}})
    assert message.replace("\n", "").isprintable()
    assert repr(odd)[1:-1] in message


def test_nodes_and_edges_are_bounded_in_number() -> None:
    message = refusal({"nodes": [NODE] * 10_001, "edges": [EDGE] * 100_001})
    assert "10000" in message
    assert "100000" in message


@pytest.mark.parametrize(
    "value",
    [
        {"nodes": [{"id": "a", "type": "core:TextMerge", "position": {"x": 0, "y": 0}}], "edges": [], "viewport": {}},
        {"nodes": [], "edges": [{"id": "e", "source": "a", "target": "b"}]},
    ],
)
def test_a_workflow_as_an_editor_stores_it_is_read_as_a_payload(value: Any) -> None:
    payload = read(value)
    assert [node.full_type for node in payload.nodes] == [node["type"] for node in value["nodes"]]
    assert [edge.source_node_id for edge in payload.edges] == [edge["source"] for edge in value["edges"]]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
keys = st.sampled_from(["nodes", "edges", "interfaceInputs", "id", "fullType", "inputs", "type", "position", "source"])
shaped = st.dictionaries(keys, json_values | st.lists(st.dictionaries(keys, json_values, max_size=4), max_size=3))


@settings(deadline=None)
@given(shaped | json_values)
def test_whatever_json_is_given_the_answer_is_a_payload_or_one_kind_of_error(value: Any) -> None:
    with contextlib.suppress(UsageError):
        read(value)
