"""Previews run by themselves: what one output needs, or what changed nodes change."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from group_samples import STREAM, TEXT, UPPER, check, group, inner, stream_host
from innkeeper.errors import UsageError
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.checking.graph import Source
from innkeeper.workflow.checking.previews import changed_preview
from innkeeper.workflow.engine.run import run_workflow
from innkeeper.workflow.formats.payload import WorkflowPayload, read_payload
from innkeeper.workflow.formats.preview import target_preview
from innkeeper.workflow.formats.reading import written
from node_fakes import FakeHost, text_host, workflow


def ids(payload: WorkflowPayload) -> list[str]:
    return [node.id for node in payload.nodes]


def preview_host() -> FakeHost:
    host = text_host()
    host.add(
        "Send",
        lambda i, c, r: {"out": "sent"},
        inputs={"text": "STRING"},
        outputs={"out": "STRING"},
        isPreviewUnsafe=True,
    )
    host.add("Bytes", lambda i, c, r: {"out": b"\x00\xff"}, outputs={"out": "BINARY"})
    host.add("Size", lambda i, c, r: {"out": len(i["data"])}, inputs={"data": "BINARY"}, outputs={"out": "INTEGER"})
    host.add(
        "Many",
        lambda i, c, r: {"out": len(i["all"])},
        inputs={"all": {"dataFlowType": "BINARY", "multi": True}},
        outputs={"out": "INTEGER"},
    )
    return host


# --- of a target ----------------------------------------------------------------------------------------------------

CHAIN = workflow(
    {
        "in": "core:GroupInput",
        "a": "Upper",
        "b": "Upper",
        "c": "Upper",
        "x": "Upper",
        "out": "core:GroupOutput",
    },
    ["in.text -> a.text", "a.out -> b.text", "b.out -> c.text", "in.other -> x.text", "c.out -> out.result"],
    interfaceInputs={"text": {**TEXT, "config": {"default": "hi"}}, "other": {**TEXT, "required": True}},
    interfaceOutputs={"result": TEXT},
    previewTarget={"nodeId": "b", "slotKey": "out"},
)


async def test_only_what_the_target_needs_runs() -> None:
    payload = target_preview(CHAIN, "b", "out")
    assert ids(payload) == ["in", "a", "b"]
    outcome = await run_workflow(payload, text_host())
    assert outcome.outputs == {"out": "HI"}
    assert ids(CHAIN) == ["in", "a", "b", "c", "x", "out"]


def test_a_target_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="node 'gone', and there is no such node"):
        target_preview(CHAIN, "gone", "out")


# --- of changes -----------------------------------------------------------------------------------------------------


async def run_changed(payload: WorkflowPayload, changed: Iterable[str], host: FakeHost) -> tuple[WorkflowPayload, Any]:
    """A preview after a run of the whole, by way of JSON, and what it gives."""
    whole = await run_workflow(payload, host)
    results = {node.node: node.outputs() for node in whole.nodes.values()}
    made = changed_preview(payload, host, list(changed), json.loads(json.dumps(results, default=_base64)))
    return made, await run_workflow(read_payload(json.dumps(written(made)).encode()), host)


def _base64(value: bytes) -> str:
    import base64

    return base64.b64encode(value).decode()


async def test_only_what_lies_behind_a_change_runs_with_the_last_results_of_the_rest() -> None:
    payload = workflow(
        {"m": "Make", "u": "Upper", "v": "Upper", "w": "Upper"},
        ["m.text -> u.text", "u.out -> v.text", "m.text -> w.text"],
        outputInterfaceMappings={
            "v": {"sourceNodeId": "v", "sourceSlotKey": "out"},
            "w": {"sourceNodeId": "w", "sourceSlotKey": "out"},
        },
    )
    made, outcome = await run_changed(payload, ["v"], text_host())
    assert ids(made) == ["v"]
    assert made.nodes[0].inputs == {"text": "MADE"}
    assert outcome.outputs == {"v": "MADE"}
    assert made.is_preview


async def test_values_that_a_preset_would_not_give_go_through_the_interface() -> None:
    host = preview_host()
    payload = workflow(
        {"m": "Make", "u": "Upper", "s": "Upper", "by": "Bytes", "j": "Join", "z": "Size", "many": "Many"},
        [
            "m.text -> j.parts__0",
            "u.out -> j.parts__1",
            "m.text -> j.parts__2",
            "m.number -> s.text",
            "by.out -> z.data",
            "by.out -> many.all",
        ],
        outputInterfaceMappings={
            node: {"sourceNodeId": node, "sourceSlotKey": "out"} for node in ("j", "s", "z", "many")
        },
    )
    payload.nodes[1].inputs = {"text": "new"}
    made, outcome = await run_changed(payload, ["u", "s", "z", "many"], host)
    assert set(ids(made)) == {"u", "s", "z", "many", "j", "preview"}
    assert outcome.outputs == {"j": "made-NEW-made", "s": "3", "z": 2, "many": 1}


async def test_nodes_that_are_unsafe_are_left_out_with_all_behind_them() -> None:
    payload = workflow(
        {"m": "Make", "u": "Upper", "send": "Send", "v": "Upper", "w": "Upper"},
        ["m.text -> u.text", "u.out -> send.text", "send.out -> v.text", "u.out -> w.text"],
    )
    made, outcome = await run_changed(payload, ["u"], preview_host())
    assert ids(made) == ["u", "w"]
    assert outcome.status == "complete"
    made, _ = await run_changed(payload, ["v"], preview_host())
    assert made.nodes[0].inputs == {"text": "sent"}


async def test_the_interface_stays_where_it_has_to_do_with_what_runs() -> None:
    payload = CHAIN.model_copy(deep=True)
    payload.interface_inputs["other"].config["default"] = "o"
    made, outcome = await run_changed(payload, ["a"], text_host())
    assert ids(made) == ["in", "a", "b", "c", "out"]
    assert list(made.interface_inputs) == ["text"]
    assert outcome.outputs == {"result": "HI"}


def test_a_node_that_a_stream_comes_from_runs_again() -> None:
    host = stream_host()
    payload = workflow(
        {"m": "Make", "a": "Source", "r": "Relay", "z": "Sink"}, ["m.text -> a.text", "a.s -> r.s", "r.s -> z.s"]
    )
    made = changed_preview(payload, host, ["z"], {"m": {"text": "last"}})
    assert ids(made) == ["a", "r", "z"]
    assert made.nodes[0].inputs == {"text": "last"}
    assert check(made, host).stream_groups == (("a", "r", "z"),)


def test_what_needs_a_stream_of_an_unsafe_node_is_left_out() -> None:
    host = stream_host()
    host.add("Call", lambda i, c, r: {}, outputs={"s": STREAM}, isPreviewUnsafe=True)
    payload = workflow({"a": "Call", "r": "Relay", "z": "Sink", "x": "Make"}, ["a.s -> r.s", "r.s -> z.s"])
    assert ids(changed_preview(payload, host, ["z", "x"], {})) == ["x"]


def test_a_group_gets_the_last_results_through_its_slots() -> None:
    payload = workflow({"m": "Make", "g": group("w")}, ["m.text -> g.text"], innkeeper={"workflows": {"w": UPPER}})
    made = changed_preview(payload, text_host(), ["g"], {"m": {"text": "last"}})
    graph = check_workflow(made, text_host())
    assert graph.nodes["g/u"].sources == {"text": [Source("preview", "m.text")]}
    assert graph.interface_values == {"m.text": "last"}


def test_more_values_than_an_interface_has_room_for_are_refused() -> None:
    many = {f"m{at}": "Make" for at in range(300)}
    payload = workflow({**many, "j": "Join"}, [f"{node}.text -> j.parts" for node in many])
    with pytest.raises(UsageError, match="300 values through its interface"):
        changed_preview(payload, text_host(), ["j"], {node: {"text": "x"} for node in many})


def test_a_run_that_is_a_preview_mutes_what_is_unsafe() -> None:
    nodes = {"m": "Make", "s": {"type": "Send", "inputs": {"text": "x"}}}
    graph = check(workflow(nodes, metadata={"isPreviewRun": True}), preview_host())
    assert (graph.nodes["s"].role, graph.nodes["s"].bypass) == ("bypassed", {})
    assert graph.nodes["m"].role == "plugin"
    for metadata in (None, "x", {"isPreviewRun": "yes"}, {}):
        assert check(workflow(nodes, metadata=metadata), preview_host()).nodes["s"].role == "plugin"
    within = inner(nodes)
    graph = check(workflow({"g": group("w")}, metadata={"isPreviewRun": True}), preview_host(), w=within)
    assert graph.nodes["g/s"].role == "bypassed"


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_whatever_has_changed_the_preview_checks_where_the_whole_does(data: st.DataObject) -> None:
    host = preview_host()
    kinds: dict[str, str] = {}
    nodes: dict[str, Any] = {}
    edges = []
    for at in range(data.draw(st.integers(1, 7))):
        kind = data.draw(st.sampled_from(["Make", "Upper", "Join", "Send"]))
        slot = {"Upper": "text", "Send": "text", "Join": "parts"}.get(kind)
        nodes[f"n{at}"] = kind if slot is None or kinds else {"type": kind, "inputs": {slot: "x"}}
        for _ in range(0 if slot is None or not kinds else data.draw(st.integers(1, 3 if kind == "Join" else 1))):
            source = data.draw(st.sampled_from(list(kinds)))
            edges.append(f"{source}.{_output(kinds[source])} -> n{at}.{slot}")
        kinds[f"n{at}"] = kind
    payload = workflow(nodes, edges)
    check_workflow(payload, host)
    changed = data.draw(st.lists(st.sampled_from([*nodes, "gone"]), max_size=3))
    results = {node: {_output(kind): "last"} for node, kind in kinds.items()}
    graph = check_workflow(changed_preview(payload, host, changed, results), host)
    assert not any(kinds.get(node) == "Send" for node in graph.nodes)
    target = data.draw(st.sampled_from(list(nodes)))
    assert target in check_workflow(target_preview(payload, target, _output(kinds[target])), host).nodes


def _output(kind: str) -> str:
    return "text" if kind == "Make" else "out"
