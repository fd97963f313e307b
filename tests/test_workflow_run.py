"""A workflow runs: what is ready at the same time, by the rules of precedence, and a failure stays in its branch."""

from __future__ import annotations

import json
import math
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgpack
import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from innkeeper.errors import GuestError, InternalError, Kind, LimitError
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.usage import Usage
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.checking.values import javascript_text
from innkeeper.workflow.engine import budgets, node_call, slots
from innkeeper.workflow.engine import call as call_module
from innkeeper.workflow.engine import interface as interface_module
from innkeeper.workflow.engine.call import read_answer, write_call
from innkeeper.workflow.engine.events import INTERFACE_OUTPUTS, Event
from innkeeper.workflow.engine.run import WorkflowRun, run_workflow
from innkeeper.workflow.engine.turns import AT_ONCE
from node_fakes import FakeHost, text_host, workflow

TEXT = {"dataFlowType": "STRING"}


def one(function: Any, outputs: dict[str, Any] | None = None, **more: Any) -> FakeHost:
    host = text_host()
    host.add("One", function, outputs={"out": "STRING"} if outputs is None else outputs, **more)
    return host


class Passes(trio.abc.Instrument):
    """Counts something in each pass of trio's loop."""

    def __init__(self) -> None:
        self.counts = [0]

    def after_io_wait(self, timeout: float) -> None:
        self.counts.append(0)


async def test_a_thousand_runs_that_are_started_together_begin_a_few_in_each_pass_of_the_loop() -> None:
    passes = Passes()

    class Host(FakeHost):
        def node(self, full_type: str) -> Any:
            passes.counts[-1] += 1
            return super().node(full_type)

    host = Host()
    host.add("One", lambda inputs, config, run: {"out": "x"}, outputs={"out": "STRING"})
    payload = workflow({"a": "One"}, [])
    trio.lowlevel.add_instrument(passes)
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                nursery.start_soon(partial(run_workflow, payload, host))
            await trio.testing.wait_all_tasks_blocked()
    finally:
        trio.lowlevel.remove_instrument(passes)
    asked = sum(passes.counts)
    assert asked >= 1000
    assert 0 < max(passes.counts) <= AT_ONCE * (asked // 1000)


async def test_a_run_that_is_cancelled_before_it_begins_leaves_its_turn_to_others() -> None:
    host, events = one(lambda inputs, config, run: {"out": "x"}), list[Event]()
    payload = workflow({"a": "One"}, [])
    for _ in range(2 * AT_ONCE):
        with trio.CancelScope() as scope:
            scope.cancel()
            await run_workflow(payload, host, on_event=events.append)
        assert scope.cancelled_caught
    assert events == []
    with trio.fail_after(10):
        assert (await run_workflow(payload, host)).status == "complete"


async def test_a_text_goes_through_nodes_of_both_codecs_and_comes_out_of_the_interface() -> None:
    payload = workflow(
        {"in": "core:GroupInput", "u": "Upper", "m": "Make", "j": "Join", "out": "core:GroupOutput"},
        ["in.text -> u.text", "u.out -> j.parts__1", "m.number -> j.parts__0", "j.out -> out.result"],
        interfaceInputs={"text": {**TEXT, "config": {"default": "grüße"}}},
        interfaceOutputs={"result": TEXT},
        outputInterfaceMappings={"flag": {"sourceNodeId": "m", "sourceSlotKey": "flag"}},
    )
    outcome = await run_workflow(payload, text_host())
    assert outcome.status == "complete"
    assert outcome.outputs == {"result": "3-GRÜSSE", "flag": True}
    assert [node.status for node in outcome.nodes.values()] == ["complete"] * 5
    assert outcome.nodes["u"].outputs() == {"out": "GRÜSSE"}
    assert outcome.nodes["u"].plugin == "fake-msgpack"
    assert outcome.nodes["in"].plugin is None
    usage = outcome.nodes["u"].usage
    assert usage is not None
    assert (usage.cpu, usage.host_calls) == (0.001, 1)


async def test_an_edge_wins_over_a_preset_a_preset_over_a_default() -> None:
    host = FakeHost()
    slots = {key: {**TEXT, "config": {"default": "default"}} for key in ("edge", "preset", "default")}
    host.add(
        "Show",
        lambda i, c, r: {},
        inputs={
            **slots,
            "suggested": {**TEXT, "config": {"suggestions": [{"value": "s", "label": "S"}]}},
            "text": "STRING",
            "int": "INTEGER",
            "float": "FLOAT",
            "bool": "BOOLEAN",
            "object": "OBJECT",
            "array": "ARRAY",
            "any": "WILDCARD",
            "matrix": {"dataFlowType": "OBJECT", "matchCategories": ["BehaviorWildcard"]},
            "multi": {**TEXT, "multi": True},
        },
    )
    host.add("Give", lambda i, c, r: {"out": "edge"}, outputs={"out": "STRING"})
    preset = {"edge": "preset", "preset": "preset"}
    await run_workflow(workflow({"g": "Give", "s": {"type": "Show", "inputs": preset}}, ["g.out -> s.edge"]), host)
    assert host.inputs_of("s") == {
        "edge": "edge", "preset": "preset", "default": "default", "suggested": "s", "text": "", "int": 0,
        "float": 0.0, "bool": False, "object": {}, "array": [], "multi": [],
    }  # fmt: skip


async def test_an_output_that_was_left_out_falls_back_to_the_preset() -> None:
    host = one(lambda i, c, r: {"out": None}, outputs={"out": "STRING", "more": "STRING"})
    payload = workflow(
        {"o": "One", "u": {"type": "Upper", "inputs": {"text": "a"}}, "v": {"type": "Upper", "inputs": {"text": "b"}}},
        ["o.out -> u.text", "o.more -> v.text"],
    )
    outcome = await run_workflow(payload, host)
    assert [outcome.nodes[node].outputs()["out"] for node in "uv"] == ["A", "B"]


async def test_an_output_that_was_left_out_fails_the_node_that_requires_it_by_name() -> None:
    outcome = await run_workflow(workflow({"o": "One", "u": "Upper"}, ["o.out -> u.text"]), one(lambda i, c, r: {}))
    assert outcome.nodes["o"].status == "complete"
    error = outcome.nodes["u"].error
    assert isinstance(error, GuestError)
    assert error.message == "the input 'text' is required, and output 'out' of node 'o' gave it no value"


@pytest.mark.parametrize("codec", ["msgpack", "json"])
async def test_values_of_every_kind_pass_between_nodes_unchanged(codec: Any) -> None:
    values = {
        "s": "é\u2028",
        "i": -5,
        "f": 0.1,
        "b": True,
        "o": {"a": [1, {"b": None}]},
        "a": ["x", 2.5],
        "y": b"\0\xff",
    }
    types = {"s": "STRING", "i": "INTEGER", "f": "FLOAT", "b": "BOOLEAN", "o": "OBJECT", "a": "ARRAY", "y": "BINARY"}
    host = FakeHost()
    host.add("Give", lambda i, c, r: values, outputs=types, codec=codec)
    host.add("Take", lambda i, c, r: {}, inputs=types)
    edges = [f"g.{key} -> t.{key}" for key in types]
    await run_workflow(workflow({"g": "Give", "t": "Take"}, edges), host)
    assert host.inputs_of("t") == values


async def test_large_values_pass_too() -> None:
    host = one(lambda i, c, r: {"out": "x" * 300_000})
    outcome = await run_workflow(
        workflow(
            {"o": "One", "u": "Upper", "j": "Join"}, ["o.out -> u.text", "u.out -> j.parts__0", "o.out -> j.parts__1"]
        ),
        host,
    )
    assert outcome.nodes["j"].outputs()["out"] == "X" * 300_000 + "-" + "x" * 300_000


async def test_a_call_carries_configuration_run_and_node() -> None:
    seen: list[Any] = []

    def look(inputs: Any, config: Any, run: Any) -> Any:
        seen.append((config, run))
        return {"out": ""}

    host = one(look, configSchema={"level": {"dataFlowType": "INTEGER", "config": {"default": 1}}})
    payload = workflow({"a": "One", "b": {"type": "One", "configValues": {"level": 2, "extra": [1]}}})
    await run_workflow(payload, host, prompt_id="p1")
    assert sorted(seen, key=lambda call: call[1]["node"]) == [
        ({"level": 1}, {"id": "p1", "node": "a"}),
        ({"level": 2, "extra": [1]}, {"id": "p1", "node": "b"}),
    ]


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"\xc1", "not msgpack"),
        (b"", "not msgpack"),
        (b"\x90", 'an object like {"outputs": {"NAME": VALUE}}'),
        (b"\x80", 'an object like {"outputs": {"NAME": VALUE}}'),
        (msgpack.packb({"outputs": [1]}), 'an object like {"outputs": {"NAME": VALUE}}'),
        (msgpack.packb({"outputs": {"aut": "x"}}), "an output 'aut' that the node does not have; did you mean 'out'?"),
        (msgpack.packb({"outputs": {"o" * 9999: "x"}}), "..."),
        (msgpack.packb({"outputs": {"out": 7}}), "output 'out': the slot is STRING and takes text, not a number"),
        (msgpack.packb({"outputs": {"out": [1]}}), "not an array"),
        (msgpack.packb({"outputs": {"out": {}}}), "not an object"),
        (msgpack.packb({"outputs": {"out": b""}}), "not bytes"),
    ],
)
async def test_an_answer_that_is_none_fails_the_node_with_a_reason(answer: bytes, word: str) -> None:
    outcome = await run_workflow(workflow({"o": "One"}), one(lambda i, c, r: answer))
    error = outcome.nodes["o"].error
    assert isinstance(error, GuestError)
    assert word in error.message
    assert len(error.message) < 500
    assert (error.node, error.plugin, error.function) == ("o", "fake-msgpack", "One")
    assert outcome.nodes["o"].usage is not None


async def test_other_fields_beside_the_outputs_do_no_harm() -> None:
    answer = msgpack.packb({"x": [1, {"y": 2}], "outputs": {"out": "ok"}, "z": None})
    outcome = await run_workflow(workflow({"o": "One"}), one(lambda i, c, r: answer))
    assert outcome.nodes["o"].outputs() == {"out": "ok"}


async def test_a_failed_node_skips_its_descendants_and_other_branches_go_on() -> None:
    def fail(inputs: Any, config: Any, run: Any) -> Any:
        raise GuestError("it hurts", code=1)

    host = one(fail)
    payload = workflow(
        {"bad": "One", "m": "Make", "child": "Upper", "grandchild": "Upper", "mixed": "Join", "good": "Upper"},
        [
            "bad.out -> child.text", "child.out -> grandchild.text", "m.text -> mixed.parts__0",
            "grandchild.out -> mixed.parts__1", "m.text -> good.text",
        ],
        outputInterfaceMappings={
            "good": {"sourceNodeId": "good", "sourceSlotKey": "out"},
            "none": {"sourceNodeId": "mixed", "sourceSlotKey": "out"},
        },
    )  # fmt: skip
    events: list[Event] = []
    outcome = await run_workflow(payload, host, on_event=events.append)
    assert outcome.status == "error"
    assert {node.node: node.status for node in outcome.nodes.values()} == {
        "bad": "error", "m": "complete", "child": "skipped", "grandchild": "skipped", "mixed": "skipped",
        "good": "complete",
    }  # fmt: skip
    missing = {"type": "error_placeholder", "message": "no value, since node 'bad' failed"}
    assert outcome.outputs == {"good": "MADE", "none": missing}
    assert {node.node: (node.reason, node.cause) for node in outcome.nodes.values() if node.status == "skipped"} == {
        "child": ("failed", "bad"), "grandchild": ("failed", "bad"), "mixed": ("failed", "bad"),
    }  # fmt: skip
    error = outcome.first_error
    assert error is not None
    assert (error.kind, error.node) == (Kind.GUEST, "bad")
    assert [event["payload"] for event in events if event["type"] == "NODE_ERROR"] == [
        {"promptId": outcome.prompt_id, "nodeId": "bad", "errorDetails": {"message": "it hurts", "kind": "guest"}}
    ]
    assert events[-1]["payload"]["status"] == "error"
    assert events[-1]["payload"]["errorInfo"] == {"message": "One or more nodes failed during execution: 'bad'"}


async def test_the_first_error_is_that_of_the_first_failed_node_in_graph_order() -> None:
    async def late(inputs: Any, config: Any, run: Any) -> Any:
        await trio.testing.wait_all_tasks_blocked()
        raise LimitError("too much", limit="cpu")

    def soon(inputs: Any, config: Any, run: Any) -> Any:
        raise GuestError("bad")

    host = FakeHost()
    host.add("Late", late)
    host.add("Soon", soon)
    outcome = await run_workflow(workflow({"a": "Late", "b": "Soon"}), host)
    assert outcome.first_error is not None
    assert outcome.first_error.kind is Kind.LIMIT


async def test_an_exception_of_a_host_function_is_an_internal_error_that_tells_no_secrets() -> None:
    def broken(inputs: Any, config: Any, run: Any) -> Any:
        raise OSError("/secret/path")

    outcome = await run_workflow(workflow({"o": "One"}), one(broken))
    error = outcome.nodes["o"].error
    assert isinstance(error, InternalError)
    assert "secret" not in str(error)
    assert isinstance(error.__cause__, OSError)


async def test_events_come_in_order_and_end_with_the_status() -> None:
    events: list[Event] = []
    payload = workflow(
        {"m": "Make", "u": "Upper"}, ["m.text -> u.text"],
        outputInterfaceMappings={"x": {"sourceNodeId": "u", "sourceSlotKey": "out"}},
    )  # fmt: skip
    outcome = await run_workflow(payload, text_host(), on_event=events.append)
    assert {event["payload"]["promptId"] for event in events} == {outcome.prompt_id}
    assert [(event["type"], event["payload"].get("nodeId", event["payload"].get("status"))) for event in events] == [
        ("PROMPT_ACCEPTED_RESPONSE", None),
        ("EXECUTION_STATUS_UPDATE", "running"),
        ("NODE_EXECUTING", "m"),
        ("NODE_COMPLETE", "m"),
        ("NODE_EXECUTING", "u"),
        ("NODE_COMPLETE", "u"),
        ("NODE_COMPLETE", INTERFACE_OUTPUTS),
        ("EXECUTION_STATUS_UPDATE", "complete"),
    ]
    assert events[5]["payload"]["output"] == {"out": "MADE"}
    assert events[6]["payload"]["output"] == {"x": "MADE"}


async def test_independent_nodes_run_at_the_same_time_up_to_the_bound() -> None:
    most = now = 0
    full = trio.Event()

    async def meet(inputs: Any, config: Any, run: Any) -> Any:
        nonlocal most, now
        now += 1
        most = max(most, now)
        if now == slots.PARALLEL:
            full.set()
        await full.wait()
        await trio.testing.wait_all_tasks_blocked()
        now -= 1
        return {}

    host = FakeHost()
    host.add("Meet", meet)
    outcome = await run_workflow(workflow(dict.fromkeys(map(str, range(50)), "Meet")), host)
    assert outcome.status == "complete"
    assert most == slots.PARALLEL


async def test_a_node_starts_as_soon_as_its_own_inputs_are_there() -> None:
    behind = trio.Event()

    async def wait(inputs: Any, config: Any, run: Any) -> Any:
        await behind.wait()
        return {"out": ""}

    def last(inputs: Any, config: Any, run: Any) -> Any:
        behind.set()
        return {}

    host = one(wait)
    host.add("Last", last, inputs={"text": "STRING"})
    outcome = await run_workflow(workflow({"slow": "One", "m": "Make", "l": "Last"}, ["m.text -> l.text"]), host)
    assert outcome.status == "complete"


async def test_a_wide_and_deep_graph_runs_to_its_end() -> None:
    nodes: dict[str, Any] = {"n0": {"type": "Add", "inputs": {"a": 1, "b": 0}}}
    edges = []
    for index in range(1, 500):
        nodes[f"n{index}"] = {"type": "Add", "inputs": {"b": 1}}
        edges.append(f"n{index - 1}.sum -> n{index}.a")
    nodes |= {f"w{index}": {"type": "Add", "inputs": {"a": 1, "b": 2}} for index in range(500)}
    outcome = await run_workflow(workflow(nodes, edges), text_host())
    assert outcome.nodes["n499"].outputs() == {"sum": 500}


async def test_a_cancelled_run_stops_its_guests_and_says_interrupted_last() -> None:
    stopped = []

    async def forever(inputs: Any, config: Any, run: Any) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            stopped.append(run["node"])

    host = one(forever)
    events: list[Event] = []
    payload = workflow({"o": "One", "m": "Make", "u": "Upper"}, ["o.out -> u.text"])
    run = WorkflowRun(check_workflow(payload, host), on_event=events.append)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.execute)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert stopped == ["o"]
    assert run.outcome.status == "interrupted"
    assert {node.node: node.status for node in run.outcome.nodes.values()} == {
        "o": "interrupted", "m": "complete", "u": "interrupted",
    }  # fmt: skip
    assert [event["payload"]["status"] for event in events if event["type"] == "EXECUTION_STATUS_UPDATE"] == [
        "running", "interrupted",
    ]  # fmt: skip
    assert events[-1]["payload"]["status"] == "interrupted"


@pytest.mark.parametrize("at", range(1, 9))
async def test_a_receiver_of_events_that_fails_ends_the_run_with_its_own_exception(at: int) -> None:
    count = 0

    def receive(event: Event) -> None:
        nonlocal count
        count += 1
        if count == at:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await run_workflow(workflow({"m": "Make", "u": "Upper"}, ["m.text -> u.text"]), text_host(), on_event=receive)
    assert count == at


async def test_inputs_beyond_the_limit_are_refused_before_they_are_joined() -> None:
    host = one(lambda i, c, r: {"out": "x" * 1000})
    host.plugins["json"].limits = Limits(input=5000)
    edges = [f"o.out -> j.parts__{index}" for index in range(6)]
    outcome = await run_workflow(workflow({"o": "One", "j": "Join"}, edges), host)
    error = outcome.nodes["j"].error
    assert isinstance(error, LimitError)
    assert error.limit == "input"
    assert (error.plugin, error.node) == ("fake-json", "j")


def joined(elements: int) -> dict[str, Any]:
    one_value = msgpack.packb([{}] * elements)
    return {"few": msgpack.packb([1, 2]), "text": msgpack.packb("a"), "many": [one_value] * 16}


@pytest.mark.parametrize("codec", ["msgpack", "json"])
def test_inputs_of_too_many_elements_together_are_refused_before_any_of_it_is_built(
    codec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_module, "MOST_ELEMENTS", 100_000)
    inputs = joined(9900)
    tracemalloc.start()
    try:
        with pytest.raises(LimitError) as caught:
            write_call(codec, inputs, {}, "run", "j")
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert str(caught.value) == "node 'j': the inputs 'few', 'many' have more than 100,000 elements together"


def test_as_many_elements_as_are_allowed_are_written_for_a_node_without_being_built_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_module, "MOST_ELEMENTS", 100_000)
    inputs = joined(6200)
    expected = {
        "inputs": {"few": [1, 2], "text": "a", "many": [[{}] * 6200] * 16},
        "config": {"c": [1]},
        "run": {"id": "run", "node": "j"},
    }
    tracemalloc.start()
    try:
        written = write_call("json", inputs, {"c": [1]}, "run", "j")
        assert tracemalloc.get_traced_memory()[1] < 6 * len(written)
    finally:
        tracemalloc.stop()
    assert json.loads(written) == expected
    assert msgpack.unpackb(write_call("msgpack", inputs, {"c": [1]}, "run", "j")) == expected


async def test_a_node_whose_inputs_have_too_many_elements_fails_by_name_and_other_branches_go_on() -> None:
    host = FakeHost()
    host.add("Give", lambda i, c, r: {"out": [[]] * 99_000}, outputs={"out": "ARRAY"})
    host.add("Take", lambda i, c, r: {}, inputs={"parts": {"dataFlowType": "ARRAY", "multi": True}}, codec="json")
    edges = [f"g.out -> t.parts__{index}" for index in range(11)] + ["g.out -> u.parts"]
    outcome = await run_workflow(workflow({"g": "Give", "t": "Take", "u": "Take"}, edges), host)
    assert [node.status for node in outcome.nodes.values()] == ["complete", "error", "complete"]
    error = outcome.nodes["t"].error
    assert isinstance(error, LimitError)
    assert error.limit == "input elements"
    assert str(error) == (
        "node 't', plugin 'fake-json', function 'Take': the input 'parts' has more than 1,000,000 elements"
    )


async def test_an_answer_in_json_may_have_fewer_elements_than_one_in_msgpack() -> None:
    host = FakeHost()
    for codec in ("json", "msgpack"):
        host.add(codec.title(), lambda i, c, r: {"out": [1] * 200_001}, outputs={"out": "ARRAY"}, codec=codec)
    outcome = await run_workflow(workflow({"j": "Json", "m": "Msgpack"}), host)
    assert outcome.nodes["m"].status == "complete"
    error = outcome.nodes["j"].error
    assert isinstance(error, GuestError)
    assert "more than 200,000 elements" in error.message


async def test_at_most_two_large_values_of_a_run_are_read_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = threading.Lock()
    now = 0
    most = 0

    def slow(*arguments: Any) -> Any:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1
        return read_answer(*arguments)

    monkeypatch.setattr(node_call, "read_answer", slow)
    host = one(lambda i, c, r: {"out": "x" * 100_000})
    outcome = await run_workflow(workflow(dict.fromkeys("abcdefgh", "One")), host)
    assert outcome.status == "complete"
    assert 1 <= most <= 2


def mapped(count: int, *sources: str) -> dict[str, Any]:
    places = [{"sourceNodeId": source, "sourceSlotKey": "out"} for source in sources]
    return {f"o{index}": places[index % len(places)] for index in range(count)}


async def test_interface_outputs_of_one_source_are_built_once() -> None:
    payload = workflow({"o": "One", "p": "One"}, outputInterfaceMappings=mapped(200, "o", "p"))
    host = one(lambda i, c, r: {"out": [{}] * 20_000}, outputs={"out": "ARRAY"})
    tracemalloc.start()
    try:
        outcome = await run_workflow(payload, host)
        # Two values take 1.5 MB each, 200 would take 290.
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert len(outcome.outputs) == 200
    assert outcome.outputs["o0"] == outcome.outputs["o1"] == [{}] * 20_000
    assert {id(value) for value in outcome.outputs.values()} == {id(outcome.outputs[key]) for key in ("o0", "o1")}


@pytest.mark.parametrize(
    ("bound_", "value", "message"),
    [
        (
            "MOST_BYTES",
            20_000,
            "the interface outputs 'o0', 'o1', 'o2', 'o3', 'o4', 'o5', 'o6', 'o7' and 2 more have 50,030 bytes "
            "together, and a run gives 20,000",
        ),
        (
            "MOST_ELEMENTS",
            9000,
            "the interface outputs 'o0', 'o1', 'o2', 'o3', 'o4', 'o5', 'o6', 'o7' and 2 more have more than 9,000 "
            "elements together",
        ),
    ],
)
async def test_interface_outputs_that_are_too_large_together_fail_the_run_and_not_its_nodes(
    monkeypatch: pytest.MonkeyPatch, bound_: str, value: int, message: str
) -> None:
    monkeypatch.setattr(interface_module, bound_, value)
    events: list[Event] = []
    payload = workflow({"o": "One", "p": "One"}, outputInterfaceMappings=mapped(10, "o", "p"))
    host = one(lambda i, c, r: {"out": [1] * 5000}, outputs={"out": "ARRAY"})
    outcome = await run_workflow(payload, host, on_event=events.append)
    assert (outcome.status, outcome.outputs) == ("error", {})
    assert [node.status for node in outcome.nodes.values()] == ["complete", "complete"]
    assert isinstance(outcome.error, LimitError)
    assert outcome.first_error is outcome.error
    assert outcome.error.message == message
    assert [event["payload"] for event in events[-2:]] == [
        {
            "promptId": outcome.prompt_id,
            "nodeId": INTERFACE_OUTPUTS,
            "errorDetails": {"message": message, "kind": "limit"},
        },
        {"promptId": outcome.prompt_id, "status": "error", "errorInfo": {"message": message}},
    ]


async def test_the_outputs_that_a_run_keeps_are_bounded() -> None:
    with bound(10_000):
        host = one(lambda i, c, r: {"out": "x" * 3000})
        outcome = await run_workflow(workflow(dict.fromkeys("abcd", "One")), host)
    failed = [node for node in outcome.nodes.values() if node.status == "error"]
    assert len(failed) == 1
    assert isinstance(failed[0].error, LimitError)


@contextmanager
def bound(value: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budgets, "RUN_BYTES", value)
        yield


async def test_the_log_of_all_nodes_of_a_run_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def talk(inputs: Any, config: Any, about: Any) -> Any:
        error = GuestError("enough said")
        error.usage = Usage(log=[("info", "x" * 100)])
        raise error

    monkeypatch.setattr(budgets, "RUN_LOG", 400)
    outcome = await run_workflow(workflow(dict.fromkeys("abcd", "One")), one(talk))
    usages = [node.usage for node in outcome.nodes.values() if node.usage is not None]
    assert sorted((len(usage.log), usage.log_dropped) for usage in usages) == [(0, 100), (0, 100), (1, 0), (1, 0)]


async def test_nan_reaches_a_node_that_speaks_msgpack_and_fails_one_that_speaks_json() -> None:
    host = one(lambda i, c, r: {"out": math.nan}, outputs={"out": "FLOAT"})
    host.add("Json", lambda i, c, r: {}, inputs={"x": "FLOAT"}, codec="json")
    payload = workflow({"o": "One", "a": "Add", "j": "Json"}, ["o.out -> a.a", "o.out -> j.x"])
    outcome = await run_workflow(payload, host)
    assert math.isnan(outcome.nodes["a"].outputs()["sum"])
    assert outcome.nodes["j"].status == "error"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"), (-0.0, "0"), (0.1, "0.1"), (1e21, "1e+21"), (1e20, "100000000000000000000"), (1e-6, "0.000001"),
        (1e-7, "1e-7"), (1.5e-9, "1.5e-9"), (123456789.125, "123456789.125"), (-2.5e30, "-2.5e+30"), (5e-324, "5e-324"),
        (math.nan, "NaN"), (-math.inf, "-Infinity"), (True, "true"), (7, "7"), (2**63, "9223372036854775808"),
    ],
)  # fmt: skip
def test_numbers_become_text_as_javascript_writes_them(value: Any, text: str) -> None:
    assert javascript_text(value) == text


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1.7976931348623157e308)
def test_text_of_a_number_reads_back_as_the_same_number(value: float) -> None:
    assert float(javascript_text(value)) == value


async def test_numbers_and_booleans_arrive_at_text_inputs_as_text() -> None:
    host = one(
        lambda i, c, r: {"i": 3, "f": 2.0, "b": False, "w": 1.5},
        outputs={"i": "INTEGER", "f": "FLOAT", "b": "BOOLEAN", "w": "WILDCARD"},
    )
    edges = [f"o.{key} -> j.parts__{index}" for index, key in enumerate("ifbw")]
    outcome = await run_workflow(workflow({"o": "One", "j": "Join"}, edges), host)
    assert outcome.nodes["j"].outputs()["out"] == "3-2-false-1.5"
