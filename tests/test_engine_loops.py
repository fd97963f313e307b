"""Loops: one turn per item or while the body says so, bounded, and no more in memory than a turn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from graphs import Builder, Listener, execute, statuses
from innkeeper.errors import GuestError, LimitError
from innkeeper.plugins.native.hooks import Hooks, NodeInfo
from innkeeper.workflow.checking.graph import Graph
from innkeeper.workflow.engine import budgets, loops
from innkeeper.workflow.engine.run import WorkflowRun
from innkeeper.workflow.engine.slots import HostSlots
from node_fakes import FakeHost, Flow


def house() -> FakeHost:
    host = FakeHost()
    host.add("Echo", lambda i, c, r: {"out": i.get("in")}, inputs={"in": "WILDCARD"}, outputs={"out": "WILDCARD"})
    host.add(
        "Add",
        lambda i, c, r: {"sum": i["a"] + i["b"]},
        inputs={"a": "INTEGER", "b": "INTEGER"},
        outputs={"sum": "INTEGER"},
    )
    host.add(
        "Less",
        lambda i, c, r: {"out": i["a"] < i["b"]},
        inputs={"a": "INTEGER", "b": "INTEGER"},
        outputs={"out": "BOOLEAN"},
    )

    def odd(inputs: Any, config: Any, run: Any) -> Any:
        if inputs["in"] % 2:
            raise GuestError(f"{inputs['in']} is odd")
        return {"out": inputs["in"] < 6}

    host.add("Odd", odd, inputs={"in": "INTEGER"}, outputs={"out": "BOOLEAN"})
    return host


def adding(host: FakeHost) -> Graph:
    """A body that adds `more` to each item."""
    build = Builder(host).inputs("in", item="INTEGER", index="INTEGER", more="INTEGER").add("add", "Add")
    return build.edge("in.item -> add.a", "in.more -> add.b").output(sum="add.sum", index="in.index").graph()


async def test_a_body_runs_once_per_item_and_its_outputs_become_arrays_in_order() -> None:
    host, heard = house(), Listener()
    build = Builder(host).loop("each", "for_each", adding(host), 10, presets={"items": [1, 2, 3], "more": 10})
    build.add("e", "Echo").edge("each.sum -> e.in").output(sums="e.out", at="each.index")
    outcome = await execute(build.graph(), host, listener=heard)
    assert outcome.outputs == {"sums": [11, 12, 13], "at": [0, 1, 2]}
    executing = [each["nodeId"] for each in heard.wire("NODE_EXECUTING")]
    assert executing == ["each", *(f"each[{turn}]/{node}" for turn in range(3) for node in ("in", "add")), "e"]
    assert outcome.nodes["each"].turns == 3
    assert {node: each.status for node, each in outcome.nodes["each"].inner.items()} == {
        "each[2]/in": "complete", "each[2]/add": "complete",
    }  # fmt: skip
    assert [node.node for node in outcome.walk()] == ["each", "each[2]/in", "each[2]/add", "e"]


@pytest.mark.parametrize("parallel", [1, 3, 16])
async def test_turns_run_at_the_same_time_as_far_as_their_author_wants(parallel: int) -> None:
    host = house()
    now = most = 0

    async def meets(inputs: Any, config: Any, run: Any) -> Any:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await trio.testing.wait_all_tasks_blocked()
        now -= 1
        return {"out": inputs["in"]}

    host.add("Meets", meets, inputs={"in": "INTEGER"}, outputs={"out": "INTEGER"})
    body = (
        Builder(host).inputs("in", item="INTEGER").add("m", "Meets").edge("in.item -> m.in").output(out="m.out").graph()
    )
    build = Builder(host).loop("each", "for_each", body, 20, parallel, presets={"items": list(range(20))})
    outcome = await execute(build.output(out="each.out").graph(), host)
    assert outcome.outputs == {"out": list(range(20))}
    assert most == parallel


async def test_items_without_an_output_leave_null_and_no_items_are_no_turns() -> None:
    host = house()
    build = Builder(host).inputs("in", item="BOOLEAN").branch("if", value="x").edge("in.item -> if.condition")
    body = build.output(yes="if.then").graph()
    build = Builder(host).loop("each", "for_each", body, 20, presets={"items": [True, False, True]})
    build.loop("none", "for_each", body, 20, presets={"items": []}).output(yes="each.yes", none="none.yes")
    outcome = await execute(build.graph(), host)
    assert outcome.outputs == {"yes": ["x", None, "x"], "none": []}


async def test_more_items_than_the_bound_are_refused_before_the_first_turn() -> None:
    host, heard = house(), Listener()
    build = Builder(host).loop("each", "for_each", adding(host), 2, presets={"items": [1, 2, 3], "more": 1})
    outcome = await execute(build.graph(), host, listener=heard)
    error = outcome.first_error
    assert isinstance(error, LimitError)
    assert error.message == "there are 3 items, and its maxIterations is 2"
    assert [each["nodeId"] for each in heard.wire("NODE_EXECUTING")] == ["each"]


@pytest.mark.parametrize("items", ["text", {"a": 1}, 7])
async def test_what_is_no_array_has_no_turns(items: Any) -> None:
    host = house()
    build = Builder(host).add("e", "Echo", {"in": items}).loop("each", "for_each", adding(host), 2)
    outcome = await execute(build.edge("e.out -> each.items").graph(), host)
    assert isinstance(outcome.nodes["each"].error, GuestError)
    assert outcome.nodes["each"].error.message.startswith("the input 'items': ")


@pytest.mark.parametrize("parallel", [1, 4])
async def test_the_first_turn_that_fails_fails_the_loop_and_no_further_turn_begins(parallel: int) -> None:
    host = house()
    body = (
        Builder(host).inputs("in", item="INTEGER").add("o", "Odd").edge("in.item -> o.in").output(out="o.out").graph()
    )
    build = Builder(host).loop("each", "for_each", body, 100, parallel, presets={"items": [2, 4, 5, 7, *range(90)]})
    outcome = await execute(build.graph(), host)
    error = outcome.nodes["each"].error
    assert error is not None
    assert str(error) == "node 'each', plugin 'fake-msgpack', function 'Odd': turn 2, node 'o': 5 is odd"
    assert outcome.nodes["each"].turns <= 3 + parallel
    assert outcome.nodes["each"].inner["each[2]/o"].status == "error"


async def test_a_loop_has_an_error_output_and_a_time_limit() -> None:
    host = house()

    async def sleeps(inputs: Any, config: Any, run: Any) -> Any:
        await trio.sleep_forever()

    host.add("Sleeps", sleeps, outputs={"out": "INTEGER"})
    body = Builder(host).add("s", "Sleeps").output(out="s.out").graph()
    build = Builder(host).loop("each", "for_each", body, 5, presets={"items": [1]}, timeout=0.01, errorOutput=True)
    build.add("e", "Echo").edge("each.innkeeperError -> e.in").output(e="e.out")
    outcome = await execute(build.graph(), host)
    assert outcome.status == "complete"
    assert outcome.outputs["e"]["kind"] == "limit"


def counting(host: FakeHost) -> Graph:
    """A body that counts `n` up to `to`."""
    build = (
        Builder(host)
        .inputs("in", n="INTEGER", to="INTEGER")
        .add("one", "Echo", {"in": 1})
        .add("add", "Add")
        .add("less", "Less")
    )
    build.edge("in.n -> add.a", "one.out -> add.b", "add.sum -> less.a", "in.to -> less.b")
    return build.output(n="add.sum", **{"continue": "less.out"}).graph()


async def test_a_body_runs_again_while_it_says_so_with_what_it_gave() -> None:
    host = house()
    build = Builder(host).loop("w", "while", counting(host), 100, presets={"n": 0, "to": 7}).output(n="w.n")
    outcome = await execute(build.graph(), host)
    assert outcome.outputs == {"n": 7}
    assert outcome.nodes["w"].turns == 7


async def test_a_body_that_wants_to_go_on_beyond_the_bound_fails() -> None:
    host = house()
    build = Builder(host).loop("w", "while", counting(host), 3, presets={"n": 0, "to": 7})
    outcome = await execute(build.graph(), host)
    error = outcome.first_error
    assert isinstance(error, LimitError)
    assert error.message == "it wants to go on after 3 turns, and its maxIterations is 3"


async def test_loops_in_loops_have_ids_of_their_own_and_do_not_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "MOST_TURNS", 4)
    host, heard = house(), Listener()
    now = most = 0

    async def meets(inputs: Any, config: Any, run: Any) -> Any:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await trio.testing.wait_all_tasks_blocked()
        now -= 1
        return {"out": inputs["in"]}

    host.add("Meets", meets, inputs={"in": "INTEGER"}, outputs={"out": "INTEGER"})
    inner = (
        Builder(host).inputs("in", item="INTEGER").add("m", "Meets").edge("in.item -> m.in").output(out="m.out").graph()
    )
    outer = Builder(host).inputs("in", item="ARRAY").loop("b", "for_each", inner, 9, 4).edge("in.item -> b.items")
    body = outer.output(out="b.out").graph()
    items = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [0, 0, 0]]
    build = Builder(host).loop("a", "for_each", body, 9, 4, presets={"items": items}).output(out="a.out")
    outcome = await execute(build.graph(), host, listener=heard)
    assert outcome.outputs == {"out": items}
    assert most == 4
    said = {each["nodeId"] for each in heard.wire("NODE_COMPLETE")}
    assert {f"a[{x}]/b[{y}]/m" for x in range(4) for y in range(3)} <= said


async def test_streams_within_a_turn_flow_and_leave_nothing() -> None:
    host, kept = house(), set[int]()
    chunks = {"dataFlowType": "STRING", "isStream": True}

    async def source(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        kept.add(sum(map(len, host.streams._runs.values())))
        for _ in range(5):
            await flow.write("words", str(inputs["in"]))
        return {}

    async def sink(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        return {"text": "".join([item async for item in flow.read("words")])}

    host.add("Source", source, inputs={"in": "INTEGER"}, outputs={"words": chunks})
    host.add("Sink", sink, inputs={"words": chunks}, outputs={"text": "STRING"})
    body = Builder(host).inputs("in", item="INTEGER").add("s", "Source").add("k", "Sink")
    body.edge("in.item -> s.in", "s.words -> k.words").output(text="k.text")
    build = (
        Builder(host)
        .loop("each", "for_each", body.graph(), 50, presets={"items": list(range(50))})
        .output(t="each.text")
    )
    outcome = await execute(build.graph(), host)
    assert outcome.outputs == {"t": [str(number) * 5 for number in range(50)]}
    # Both nodes of one turn, and none of an earlier one.
    assert kept == {2}


async def test_turns_give_back_what_their_outputs_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "RUN_BYTES", 100_000)
    host = house()
    host.add("Large", lambda i, c, r: {"out": "x" * 10_000, "small": 1}, outputs={"out": "STRING", "small": "INTEGER"})
    body = Builder(host).add("l", "Large").output(small="l.small").graph()
    build = Builder(host).loop("each", "for_each", body, 500, 2, presets={"items": [0] * 500}).output(out="each.small")
    run = WorkflowRun(build.graph())
    outcome = await run.execute()
    assert outcome.outputs == {"out": [1] * 500}
    assert run.budgets.kept < 15_000


async def test_what_all_turns_together_give_counts_against_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "RUN_BYTES", 100_000)
    host = house()
    host.add("Large", lambda i, c, r: {"out": "x" * 10_000}, outputs={"out": "STRING"})
    body = Builder(host).add("l", "Large").output(out="l.out").graph()
    build = Builder(host).loop("each", "for_each", body, 500, presets={"items": [0] * 500})
    outcome = await execute(build.graph(), host)
    assert isinstance(outcome.first_error, LimitError)
    assert statuses(outcome) == {"each": "error"}


async def test_a_run_that_is_interrupted_in_a_turn_says_so_of_its_nodes() -> None:
    host = house()

    async def sleeps(inputs: Any, config: Any, run: Any) -> Any:
        await trio.sleep_forever()

    host.add("Sleeps", sleeps)
    body = Builder(host).inputs("in", item="INTEGER").add("s", "Sleeps").graph()
    run = WorkflowRun(Builder(host).loop("each", "for_each", body, 5, presets={"items": [1]}).graph())
    with trio.move_on_after(0.02):
        await run.execute()
    assert [(node.node, node.status) for node in run.outcome.walk()] == [
        ("each", "interrupted"), ("each[0]/in", "complete"), ("each[0]/s", "interrupted"),
    ]  # fmt: skip


async def test_native_plugins_are_told_of_the_nodes_of_turns_and_may_refuse_them() -> None:
    host, told = house(), list[Any]()

    class Told(Hooks):
        async def before_node(self, node: NodeInfo) -> None:
            told.append(("before", node.node, node.plugin))
            if node.node == "each[1]/o":
                raise GuestError("the native plugin 'n' refused to run the node: not this one")

        async def after_node(self, node: NodeInfo) -> None:
            told.append(("after", node.node, node.error))

    build = Builder(host).inputs("in", item="INTEGER").add("o", "Echo").edge("in.item -> o.in").output(out="o.out")
    graph = Builder(host).loop("each", "for_each", build.graph(), 5, presets={"items": [2, 4, 6]}).graph()
    outcome = await execute(replace(graph, hooks=Told()), host)
    refusal = "the native plugin 'n' refused to run the node: not this one"
    assert told == [
        ("before", "each[0]/o", "fake-msgpack"), ("after", "each[0]/o", None),
        ("before", "each[1]/o", "fake-msgpack"), ("after", "each[1]/o", refusal),
    ]  # fmt: skip
    assert outcome.first_error is not None
    assert outcome.first_error.message == f"turn 1, node 'o': {refusal}"


async def test_turns_that_are_cancelled_leave_nothing_to_a_run_that_goes_on() -> None:
    host = house()
    chunks = {"dataFlowType": "STRING", "isStream": True}

    async def floods(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        while True:
            await flow.write("words", "word")

    async def waits(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        await trio.sleep_forever()

    host.add("Floods", floods, outputs={"words": chunks, "out": "STRING"})
    host.add("Waits", waits, inputs={"words": chunks, "in": "STRING"})
    body = Builder(host).add("f", "Floods").add("w", "Waits").add("late", "Waits").edge("f.words -> w.words")
    body.edge("f.words -> late.words", late=True).edge("f.out -> late.in")
    for number in range(10):
        body.add(f"n{number}", "Waits")
    inner = Builder(host).inputs("in", item="INTEGER")
    inner.loop("l", "for_each", body.graph(), 2, presets={"items": [1]}, timeout=0.01, errorOutput=True)
    turn = inner.add("e", "Echo").edge("l.innkeeperError -> e.in").output(error="e.out").graph()
    build = Builder(host).loop("each", "for_each", turn, 40, 16, presets={"items": list(range(40))})
    outcome = await execute(build.output(errors="each.error").graph(), host, host_slots=HostSlots(4))
    assert [each["kind"] for each in outcome.outputs["errors"]] == ["limit"] * 40


async def test_an_id_that_somebody_gave_twice_fails_a_node_and_not_the_host() -> None:
    host = house()
    chunks = {"dataFlowType": "STRING", "isStream": True}

    async def drains(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        await trio.testing.wait_all_tasks_blocked()
        return {}

    host.add("Drains", drains, inputs={"words": chunks})
    body = Builder(host).add("d", "Drains").graph()
    build = Builder(host).loop("l", "for_each", body, 2, presets={"items": [1]}).add("l[0]/d", "Drains")
    outcome = await execute(build.graph(), host)
    assert sorted(statuses(outcome).values()) == ["complete", "error"]
