"""Branches, bypasses and failures: what runs, what is skipped and why, and what an error output takes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio
import trio.testing

from graphs import Builder, Listener, execute, statuses
from innkeeper.errors import BusyError, GuestError, LimitError
from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.workflow.checking.graph import Constant, Passed
from innkeeper.workflow.engine.plan import Plan
from innkeeper.workflow.engine.run import run_workflow
from innkeeper.workflow.engine.slots import HostSlots
from innkeeper.workflow.formats.payload import payload_of
from node_fakes import FakeHost, text_host


def house() -> FakeHost:
    host = FakeHost()
    host.add("Echo", lambda i, c, r: {"out": i.get("in")}, inputs={"in": "WILDCARD"}, outputs={"out": "WILDCARD"})
    host.add("Need", lambda i, c, r: {"out": i["in"]}, inputs={"in!": "WILDCARD"}, outputs={"out": "WILDCARD"})
    host.add("Float", lambda i, c, r: {"out": i["in"]}, inputs={"in": "FLOAT"}, outputs={"out": "WILDCARD"})
    host.add("Text", lambda i, c, r: {"out": i["in"]}, inputs={"in": "STRING"}, outputs={"out": "WILDCARD"})

    def fails(inputs: Any, config: Any, run: Any) -> Any:
        raise GuestError("it hurts")

    host.add("Fails", fails, inputs={"in": "WILDCARD"}, outputs={"out": "WILDCARD", "more": "STRING"})
    return host


@pytest.mark.parametrize(("condition", "taken", "other"), [(True, "then", "else"), (False, "else", "then")])
async def test_a_branch_takes_one_way_and_the_other_is_skipped(condition: bool, taken: str, other: str) -> None:
    host, heard = house(), Listener()
    build = (
        Builder(host)
        .add("c", "Echo", {"in": condition})
        .branch("if", value="x")
        .add("then", "Echo")
        .add("else", "Echo")
    )
    build.add("behind", "Echo").merge("m").output(out="m.value")
    build.edge("c.out -> if.condition", "if.then -> then.in", "if.else -> else.in", "else.out -> behind.in")
    build.edge("then.out -> m.values", "behind.out -> m.values")
    outcome = await execute(build.graph(), host, listener=heard)
    assert outcome.status == "complete"
    assert outcome.outputs == {"out": "x"}
    assert outcome.nodes[taken].status == "complete"
    skipped = {"then"} if condition is False else {"else", "behind"}
    assert {node for node, status in statuses(outcome).items() if status == "skipped"} == skipped
    assert heard.wire("NODE_SKIPPED") == [
        {"nodeId": node, "reason": "untaken", "cause": "if"} for node in ("then", "else", "behind") if node in skipped
    ]


async def test_a_branch_is_taken_also_without_a_value() -> None:
    host = house()
    build = Builder(host).branch("if", condition=True).add("a", "Echo").add("b", "Echo")
    outcome = await execute(build.edge("if.then -> a.in", "if.else -> b.in").graph(), host)
    assert statuses(outcome) == {"if": "complete", "a": "complete", "b": "skipped"}


async def test_a_condition_that_is_neither_true_nor_false_fails_the_branch() -> None:
    host = house()
    build = Builder(host).add("c", "Echo", {"in": "yes"}).branch("if").edge("c.out -> if.condition")
    outcome = await execute(build.graph(), host)
    assert outcome.first_error is not None
    assert outcome.first_error.message == "the input 'condition': the slot is BOOLEAN and takes true or false, not text"


async def test_merging_passes_over_what_is_absent_and_is_skipped_only_where_nothing_was_taken() -> None:
    host = house()
    build = Builder(host).branch("if", condition=True).add("none", "Echo").add("x", "Echo", {"in": "x"})
    build.merge("m").merge("gone").merge("empty")
    build.edge("if.else -> m.values", "none.out -> m.values", "x.out -> m.values", "if.else -> gone.values")
    build.edge("if.else -> empty.values", "none.out -> empty.values").output(m="m.value", e="empty.value")
    outcome = await execute(build.graph(), host)
    assert outcome.outputs == {"m": "x"}
    assert [outcome.nodes[each].status for each in ("m", "gone", "empty")] == ["complete", "skipped", "complete"]


async def test_a_failure_wins_over_a_branch_that_was_not_taken() -> None:
    host = house()
    build = Builder(host).branch("if", condition=True).add("f", "Fails").merge("m").add("j", "Echo")
    build.engine(
        "both", "merge", {"values": {"dataFlowType": "WILDCARD", "multi": True}, "b": "WILDCARD"}, {"value": "WILDCARD"}
    )
    build.edge(
        "if.else -> m.values", "f.out -> m.values", "if.else -> both.values", "f.out -> both.b", "m.value -> j.in"
    )
    outcome = await execute(build.graph(), host)
    assert {each: (node.reason, node.cause) for each, node in outcome.nodes.items() if node.status == "skipped"} == {
        "m": ("failed", "f"), "both": ("failed", "f"), "j": ("failed", "f"),
    }  # fmt: skip


async def test_what_is_left_of_several_values_goes_to_an_input_of_several() -> None:
    host = house()
    host.add(
        "Join",
        lambda i, c, r: {"out": i["in"]},
        inputs={"in": {"dataFlowType": "WILDCARD", "multi": True}},
        outputs={"out": "ARRAY"},
    )
    build = Builder(host).branch("if", condition=True, value=1).add("x", "Echo", {"in": 2}).add("j", "Join")
    outcome = await execute(build.edge("if.else -> j.in", "x.out -> j.in", "if.then -> j.in").graph(), host)
    assert outcome.nodes["j"].outputs() == {"out": [2, 1]}


async def test_an_error_output_takes_a_failure_and_the_run_does_not_fail() -> None:
    host, heard = house(), Listener()
    build = (
        Builder(host)
        .add("f", "Fails", errorOutput=True)
        .add("on", "Echo")
        .add("off", "Echo")
        .add("g", "Echo", {"in": 1}, errorOutput=True)
    )
    build.add("never", "Echo").add("ok", "Echo").merge("m").output(m="m.value")
    build.edge("f.innkeeperError -> on.in", "f.out -> off.in", "g.innkeeperError -> never.in", "g.out -> ok.in")
    build.edge("off.out -> m.values", "on.out -> m.values")
    outcome = await execute(build.graph(), host, listener=heard)
    assert outcome.status == "complete"
    assert outcome.first_error is None
    assert outcome.nodes["f"].handled
    assert statuses(outcome) == {
        "f": "error", "g": "complete", "on": "complete", "off": "skipped", "never": "skipped", "ok": "complete",
        "m": "complete",
    }  # fmt: skip
    error = {"kind": "guest", "message": "it hurts", "node": "f", "plugin": "fake-msgpack", "tries": 1}
    assert outcome.outputs == {"m": error}
    assert heard.wire("NODE_ERROR") == [
        {"nodeId": "f", "errorDetails": {"message": "it hurts", "kind": "guest"}, "handled": True, "tries": 1}
    ]


async def test_the_error_output_of_a_bypassed_node_is_a_branch_that_was_not_taken() -> None:
    config = {"innkeeper": {"errorOutput": True}}
    nodes = [
        {"id": "by", "fullType": "t:Upper", "bypassed": True, "inputs": {"text": "x"}, "configValues": config},
        {"id": "on", "fullType": "core:GroupOutput"},
    ]
    edges = [
        {"sourceNodeId": "by", "sourceHandle": "out", "targetNodeId": "on", "targetHandle": "out"},
        {"sourceNodeId": "by", "sourceHandle": "innkeeperError", "targetNodeId": "on", "targetHandle": "error"},
    ]
    interface = {"out": {"dataFlowType": "STRING"}, "error": {"dataFlowType": "OBJECT"}}
    payload = payload_of({"nodes": nodes, "edges": edges, "interfaceOutputs": interface})
    outcome = await run_workflow(payload, text_host())
    assert outcome.nodes["by"].untook("innkeeperError")
    # One of the workflow's outputs is there, and that is enough for the node that takes them.
    assert statuses(outcome) == {"by": "skipped", "on": "complete"}
    assert outcome.outputs == {"out": "x"}


async def test_a_guest_cannot_answer_with_the_engines_own_error_output() -> None:
    host = house()
    host.add("Forges", lambda i, c, r: {"innkeeperError": {"kind": "internal"}}, outputs={"out": "STRING"})
    outcome = await execute(Builder(host).add("f", "Forges", errorOutput=True).graph(), host)
    assert outcome.nodes["f"].handled
    assert "'innkeeperError' that the node does not have" in outcome.nodes["f"].outputs()["innkeeperError"]["message"]


@pytest.mark.parametrize("good_at", [1, 2, 3, 9])
async def test_a_node_is_called_again_as_often_as_its_author_wants(
    good_at: int, autojump_clock: trio.testing.MockClock
) -> None:
    host, heard, calls = house(), Listener(), list[float]()

    def flaky(inputs: Any, config: Any, run: Any) -> Any:
        calls.append(trio.current_time())
        if len(calls) < good_at:
            raise BusyError("later", bound="live guests")
        return {"out": len(calls)}

    host.add("Flaky", flaky, outputs={"out": "INTEGER"})
    build = Builder(host).add("f", "Flaky", retry={"tries": 3, "delay": 2.0, "factor": 3.0, "mostDelay": 5.0})
    outcome = await execute(build.graph(), host, listener=heard)
    assert outcome.status == ("complete" if good_at <= 3 else "error")
    assert outcome.nodes["f"].tries == len(calls) == min(good_at, 3)
    assert [later - earlier for earlier, later in itertools.pairwise(calls)] == [2.0, 5.0][: len(calls) - 1]
    details = {"message": "later", "kind": "busy"}
    assert (
        heard.wire("NODE_RETRY")
        == [
            {"nodeId": "f", "attempt": 2, "delay": 2.0, "errorDetails": details},
            {"nodeId": "f", "attempt": 3, "delay": 5.0, "errorDetails": details},
        ][: len(calls) - 1]
    )


async def test_a_failure_of_another_kind_is_not_tried_again() -> None:
    host = house()
    build = Builder(host).add("f", "Fails", retry={"tries": 3, "kinds": ["busy"]})
    outcome = await execute(build.graph(), host)
    assert (outcome.status, outcome.nodes["f"].tries) == ("error", 1)


async def test_a_node_that_waits_to_be_called_again_takes_no_place(autojump_clock: trio.testing.MockClock) -> None:
    host, ends = house(), dict[str, float]()

    def flaky(inputs: Any, config: Any, run: Any) -> Any:
        if trio.current_time() - begin < 25:
            raise GuestError("not yet")
        return {}

    async def other(inputs: Any, config: Any, run: Any) -> Any:
        await trio.sleep(1)
        ends[run["node"]] = trio.current_time() - begin
        return {}

    host.add("Flaky", flaky)
    host.add("Other", other)
    build = Builder(host)
    for number in range(4):
        build.add(f"f{number}", "Flaky", retry={"tries": 2, "delay": 30.0})
    for number in range(4):
        build.add(f"o{number}", "Other")
    begin = trio.current_time()
    with trio.fail_after(1000):
        outcome = await execute(build.graph(), host, host_slots=HostSlots(2))
    assert outcome.status == "complete"
    assert max(ends.values()) <= 4


async def test_a_run_that_is_cancelled_while_a_node_waits_to_be_called_again_gives_back_what_it_has() -> None:
    from innkeeper.workflow.engine.run import WorkflowRun

    host, places = house(), HostSlots(1)
    run = WorkflowRun(Builder(host).add("f", "Fails", retry={"tries": 2, "delay": 60.0}).graph(), slots=places)
    with trio.move_on_after(0.01):
        await run.execute()
    assert run.outcome.status == "interrupted"
    assert places.take()


async def test_a_call_that_takes_longer_than_its_author_gives_it_fails_by_name(
    autojump_clock: trio.testing.MockClock,
) -> None:
    host = house()

    async def sleeps(inputs: Any, config: Any, run: Any) -> Any:
        await trio.sleep_forever()

    host.add("Sleeps", sleeps)
    outcome = await execute(Builder(host).add("s", "Sleeps", timeout=5.0).graph(), host)
    error = outcome.first_error
    assert isinstance(error, LimitError)
    assert (error.limit, error.node, error.plugin) == ("timeout", "s", "fake-msgpack")
    assert trio.current_time() < 60


async def test_a_bypassed_node_gives_what_its_inputs_have_each_to_one_output() -> None:
    host, heard = house(), Listener()
    build = Builder(host).add("x", "Echo", {"in": "x"}).add("none", "Echo")
    slots_ = {"a": "STRING", "b": "STRING", "n": "INTEGER", "s": "STRING"}
    outputs = {"one": "STRING", "two": "STRING", "three": "STRING", "four": "FLOAT", "five": "OBJECT"}
    bypass = {
        "one": Passed(("a", "b", "s"), ""), "two": Passed(("a", "b", "s"), ""), "three": Passed(("a", "b", "s"), ""),
        "four": Passed(("n",), 0.0), "five": Passed((), {}),
    }  # fmt: skip
    build.bypassed("by", slots_, outputs, bypass, n=3, s="preset")
    build.add("t", "Text").edge("none.out -> by.a", "x.out -> by.b", "by.four -> t.in")
    outcome = await execute(build.graph(), host, listener=heard)
    expected = {"one": "x", "two": "preset", "three": "", "four": 3.0, "five": {}}
    assert outcome.nodes["by"].outputs() == expected
    assert (outcome.nodes["by"].status, outcome.nodes["by"].reason) == ("skipped", "bypassed")
    assert heard.wire("NODE_BYPASSED") == [{"nodeId": "by", "pseudoOutputs": expected}]
    assert "by" not in [each["nodeId"] for each in heard.wire("NODE_EXECUTING")]
    assert outcome.nodes["t"].outputs() == {"out": "3"}


async def test_a_bypass_that_its_author_mapped_may_give_one_input_to_several_outputs() -> None:
    host = house()
    build = Builder(host).add("x", "Echo", {"in": "x"})
    node = build.bypassed("by", {"a": "STRING"}, {"one": "STRING", "two": "STRING", "mute": "STRING"}, {
        "one": Passed(("a",), ""), "two": Passed(("a",), ""),
    })  # fmt: skip
    node.definition = NodeDefinition.model_validate(
        {"namespace": "t", "type": "By", "bypassBehavior": {"passThrough": {"one": "a", "two": "a"}}}
    )
    outcome = await execute(build.edge("x.out -> by.a").graph(), host)
    assert outcome.nodes["by"].outputs() == {"one": "x", "two": "x"}


async def test_a_bypassed_node_behind_a_failure_is_skipped_like_any_other() -> None:
    host = house()
    build = Builder(host).add("f", "Fails").add("e", "Echo")
    build.bypassed("by", {"a": "STRING"}, {"one": "STRING"}, {"one": Passed(("a",), "")})
    outcome = await execute(build.edge("f.out -> by.a", "by.one -> e.in").graph(), host)
    assert {each: node.cause for each, node in outcome.nodes.items() if node.reason == "failed"} == {
        "by": "f",
        "e": "f",
    }


@pytest.mark.parametrize("value", [0, 7, -3, 2**40, -(2**40), 2**64 - 1, 1.5])
async def test_an_integer_arrives_at_a_float_input_as_a_float(value: Any) -> None:
    host = house()
    build = Builder(host).add("e", "Echo", {"in": value}).add("f", "Float").edge("e.out -> f.in")
    await execute(build.graph(), host)
    found = host.inputs_of("f")["in"]
    assert (type(found), found) == (float, float(value))


async def test_constants_are_values_like_those_of_edges() -> None:
    host = house()
    build = Builder(host).add("a", "Text").add("b", "Need").add("c", "Echo", {"in": "preset"})
    build.constant("a.in", 3, "INTEGER").constant("b.in", {"x": 1}, "OBJECT").constant("c.in", None, "STRING")
    outcome = await execute(build.graph(), host)
    assert [outcome.nodes[each].outputs()["out"] for each in "abc"] == ["3", {"x": 1}, "preset"]


async def test_an_interface_output_may_be_a_constant() -> None:
    host = house()
    build = Builder(host).add("a", "Echo")
    build.outputs |= {
        "text": Constant("x", "STRING"), "bytes": Constant("AAE=", "BINARY"), "nothing": Constant(None, "STRING"),
    }  # fmt: skip
    outcome = await execute(build.graph(), host)
    assert outcome.outputs == {"text": "x", "bytes": b"\0\1"}
    assert set(outcome.encoded) == {"text", "bytes"}


async def test_a_large_preset_is_written_without_keeping_others_waiting() -> None:
    host = house()
    build = Builder(host).add("a", "Echo", {"in": [[1, 2, 3]] * 10_000}).add("b", "Echo").edge("a.out -> b.in")
    build.constant("b.in", ["x"] * 10_000, "ARRAY")
    graph = build.graph()
    assert Plan(graph).heavy == {"a", "b"}
    outcome = await execute(graph, host)
    assert outcome.nodes["b"].outputs() == {"out": [[1, 2, 3]] * 10_000}
