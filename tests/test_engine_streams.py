"""Streams between nodes: every consumer gets every chunk, the slowest sets the pace, and ends follow their causes."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import msgpack
import pytest
import trio
import trio.testing

from graphs import Builder, Listener, execute, statuses
from innkeeper.bridge.channel import ITEMS
from innkeeper.errors import GuestError, LimitError
from innkeeper.workflow.engine import budgets, chunks
from node_fakes import FakeHost, Flow

CHUNKS = {"dataFlowType": "STRING", "isStream": True}


def house() -> FakeHost:
    """A host whose sources write "n" words and whose sinks read them."""
    host = FakeHost()

    async def source(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        for number in range(inputs["n"]):
            await flow.write("words", f"w{number}")
        return {"count": inputs["n"]}

    async def sink(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        return {"text": " ".join([item async for item in flow.read("words")])}

    async def first(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        async for item in flow.read("words"):
            return {"text": item}
        return {"text": "nothing came"}

    async def upper(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        async for item in flow.read("words"):
            await flow.write("words", item.upper())
        return {}

    async def breaks(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        for number in range(inputs["n"]):
            await flow.write("words", f"w{number}")
        raise GuestError("the well ran dry")

    words = {"words": CHUNKS}
    host.add("Source", source, inputs={"n": "INTEGER"}, outputs={**words, "count": "INTEGER"})
    host.add("Breaks", breaks, inputs={"n": "INTEGER"}, outputs={**words, "count": "INTEGER"})
    for name, function in (("Sink", sink), ("First", first)):
        host.add(name, function, inputs={**words, "also": "INTEGER"}, outputs={"text": "STRING"})
    host.add("Upper", upper, inputs=words, outputs=words)
    host.add("Echo", lambda i, c, r: {"out": i["in"]}, inputs={"in": "WILDCARD"}, outputs={"out": "WILDCARD"})
    return host


async def test_each_consumer_gets_every_chunk_in_order_and_batch_outputs_come_beside() -> None:
    host, heard = house(), Listener()
    build = Builder(host).add("s", "Source", {"n": 300}).add("a", "Sink").add("u", "Upper").add("b", "Sink")
    build.add("e", "Echo").edge("s.words -> a.words", "s.words -> u.words", "u.words -> b.words", "s.count -> e.in")
    outcome = await execute(build.graph(), host, listener=heard)
    words = " ".join(f"w{number}" for number in range(300))
    assert outcome.status == "complete"
    assert outcome.nodes["a"].outputs() == {"text": words}
    assert outcome.nodes["b"].outputs() == {"text": words.upper()}
    assert outcome.nodes["e"].outputs() == {"out": 300}
    assert (outcome.nodes["s"].chunks, outcome.nodes["u"].chunks) == ({"words": 300}, {"words": 300})
    said = [payload for payload in heard.wire("NODE_YIELD") if payload["sourceNodeId"] == "s"]
    assert [payload["yieldedContent"] for payload in said] == [
        *({"type": "text_chunk", "content": f"w{number}"} for number in range(300)),
        {"type": "finish_reason_chunk", "content": "Stream ended"},
    ]
    assert [payload["isLastChunk"] for payload in said] == [False] * 300 + [True]
    assert {payload["slot"] for payload in said} == {"words"}


async def test_nothing_is_written_far_ahead_of_the_slowest_consumer() -> None:
    host, ahead = house(), 0
    written = read = 0

    async def source(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        nonlocal written
        for number in range(1000):
            await flow.write("words", str(number))
            written += 1
        return {}

    async def slow(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        nonlocal ahead, read
        async for _ in flow.read("words"):
            read += 1
            ahead = max(ahead, written - read)
            if read % 16 == 0:
                await trio.testing.wait_all_tasks_blocked()
        return {}

    host.add("Count", source, outputs={"words": CHUNKS})
    host.add("Slow", slow, inputs={"words": CHUNKS})
    build = Builder(host).add("s", "Count").add("slow", "Slow").add("fast", "Sink")
    outcome = await execute(build.edge("s.words -> slow.words", "s.words -> fast.words").graph(), host)
    assert outcome.status == "complete"
    assert read == 1000
    # What waits in the producer's channel, in the hands of who passes it on, and in the consumer's.
    assert ahead <= 3 * ITEMS + 16


async def test_a_branch_that_nobody_reads_and_a_consumer_that_ends_early_stall_nobody() -> None:
    host = house()
    build = (
        Builder(host)
        .add("s", "Source", {"n": 2000})
        .add("f", "First")
        .add("a", "Sink")
        .add("alone", "Source", {"n": 999})
    )
    outcome = await execute(build.edge("s.words -> f.words", "s.words -> a.words").graph(), host)
    assert outcome.status == "complete"
    assert outcome.nodes["f"].outputs() == {"text": "w0"}
    assert len(outcome.nodes["a"].outputs()["text"].split()) == 2000
    assert outcome.nodes["alone"].chunks == {"words": 999}


async def test_a_producer_whose_consumers_are_all_gone_goes_on_and_is_still_heard() -> None:
    host, heard = house(), Listener()
    build = Builder(host).add("s", "Source", {"n": 500}).add("f", "First").edge("s.words -> f.words")
    outcome = await execute(build.graph(), host, listener=heard)
    assert statuses(outcome) == {"s": "complete", "f": "complete"}
    assert len(heard.wire("NODE_YIELD")) == 501


async def test_a_failing_producer_ends_its_consumers_whether_they_have_read_enough_or_not() -> None:
    host, heard = house(), Listener()
    build = Builder(host).add("s", "Breaks", {"n": 100}).add("f", "First").add("a", "Sink").add("e", "Echo")
    build.add("u", "Upper").add("b", "Sink").edge("s.words -> f.words", "s.words -> a.words", "f.text -> e.in")
    build.edge("s.words -> u.words", "u.words -> b.words")
    outcome = await execute(build.graph(), host, listener=heard)
    assert statuses(outcome) == {"s": "error"} | dict.fromkeys("faueb", "skipped")
    assert {node.cause for node in outcome.nodes.values() if node.status == "skipped"} == {"s"}
    assert outcome.first_error is not None
    assert outcome.first_error.message == "the well ran dry"
    last = [payload for payload in heard.wire("NODE_YIELD") if payload["isLastChunk"]]
    assert {payload["sourceNodeId"]: payload["yieldedContent"] for payload in last} == {
        "s": {"type": "error_chunk", "content": "the well ran dry"},
        "u": {"type": "error_chunk", "content": "a node that it needs did not succeed"},
    }


async def test_a_consumer_that_fails_does_not_fail_its_producer() -> None:
    host = house()

    def fails(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        raise GuestError("not hungry")

    host.add("Fails", fails, inputs={"words": CHUNKS})
    build = Builder(host).add("s", "Source", {"n": 500}).add("f", "Fails").add("a", "Sink")
    outcome = await execute(build.edge("s.words -> f.words", "s.words -> a.words").graph(), host)
    assert statuses(outcome) == {"s": "complete", "f": "error", "a": "complete"}


async def test_an_error_chunk_fails_its_node_with_what_it_says() -> None:
    host, heard = house(), Listener()

    async def source(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        await flow.write("words", "fine so far")
        await flow.write("words", {"type": "error_chunk", "content": "the model is gone"})
        await trio.sleep_forever()

    host.add("Talks", source, outputs={"words": CHUNKS})
    build = Builder(host).add("s", "Talks").add("a", "Sink").edge("s.words -> a.words").output(talk="s.words")
    with trio.fail_after(10):
        outcome = await execute(build.graph(), host, listener=heard)
    assert statuses(outcome) == {"s": "error", "a": "skipped"}
    assert outcome.first_error is not None
    assert outcome.first_error.message == "the model is gone"
    for kind in ("NODE_YIELD", "WORKFLOW_INTERFACE_YIELD"):
        assert [each["yieldedContent"]["type"] for each in heard.wire(kind)] == ["text_chunk", "error_chunk"]
    assert outcome.outputs == {"talk": {"type": "error_placeholder", "message": "no value, since node 's' failed"}}


async def test_an_error_output_of_a_producer_leaves_its_consumers_on_a_branch_not_taken() -> None:
    host = house()
    build = Builder(host).add("s", "Breaks", {"n": 5}, errorOutput=True).add("a", "Sink").add("e", "Echo")
    build.edge("s.words -> a.words", "s.innkeeperError -> e.in")
    outcome = await execute(build.graph(), host)
    assert outcome.status == "complete"
    assert statuses(outcome) == {"s": "error", "a": "skipped", "e": "complete"}
    assert outcome.nodes["a"].reason == "untaken"
    assert outcome.nodes["e"].outputs()["out"]["message"] == "the well ran dry"


async def test_chunks_of_an_interface_output_are_given_out_and_a_placeholder_stands_for_them() -> None:
    host, heard = house(), Listener()
    build = Builder(host).add("s", "Source", {"n": 3}).output(talk="s.words", count="s.count")
    outcome = await execute(build.graph(), host, listener=heard)
    assert outcome.outputs["count"] == 3
    assert outcome.outputs["talk"]["type"] == "stream_placeholder"
    yields = heard.wire("WORKFLOW_INTERFACE_YIELD")
    assert [(each["interfaceOutputKey"], each["isLastChunk"]) for each in yields] == [("talk", False)] * 3 + [
        ("talk", True)
    ]
    kinds = [event.kind for event in heard.events]
    assert kinds[-2:] == ["NODE_COMPLETE", "EXECUTION_STATUS_UPDATE"]
    assert "WORKFLOW_INTERFACE_YIELD" not in kinds[kinds.index("NODE_COMPLETE") :]


async def test_a_stream_input_without_an_edge_ends_at_once() -> None:
    host = house()
    outcome = await execute(Builder(host).add("f", "First").graph(), host)
    assert outcome.nodes["f"].outputs() == {"text": "nothing came"}


async def test_what_flows_to_a_node_that_begins_later_is_held_for_it() -> None:
    host = house()
    build = Builder(host).add("s", "Source", {"n": 1000}).add("e", "Echo").add("a", "Sink").add("b", "Sink")
    build.edge("s.words -> a.words", late=True).edge("s.count -> e.in", "e.out -> a.also", "s.words -> b.words")
    outcome = await execute(build.graph(), host)
    assert outcome.status == "complete"
    assert len(outcome.nodes["a"].outputs()["text"].split()) == 1000


async def test_a_late_consumer_may_begin_before_its_producer_ends() -> None:
    host = house()
    begun = trio.Event()

    async def waits(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        await flow.write("words", "before")
        await begun.wait()
        for number in range(300):
            await flow.write("words", str(number))
        return {}

    async def late(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        begun.set()
        return {"count": len([item async for item in flow.read("words")])}

    host.add("Waits", waits, outputs={"words": CHUNKS})
    host.add("Late", late, inputs={"words": CHUNKS, "also": "STRING"}, outputs={"count": "INTEGER"})
    build = Builder(host).add("s", "Waits").add("f", "First").add("l", "Late").edge("s.words -> f.words")
    build.add("e", "Echo", {"in": 1}).edge("s.words -> l.words", late=True).edge("e.out -> l.also")
    with trio.fail_after(10):
        outcome = await execute(build.graph(), host)
    assert outcome.nodes["l"].outputs() == {"count": 301}


async def test_a_late_consumer_of_a_failed_producer_is_skipped_and_one_on_no_branch_holds_nothing() -> None:
    host = house()
    build = Builder(host).add("s", "Breaks", {"n": 10}).add("t", "Source", {"n": 10}).branch("if", condition=False)
    build.add("a", "Sink").add("b", "Sink").add("e", "Echo", {"in": 1})
    build.edge("s.words -> a.words", "t.words -> b.words", late=True).edge("e.out -> a.also", "if.then -> b.also")
    outcome = await execute(build.graph(), host)
    assert statuses(outcome) == {
        "s": "error", "t": "complete", "if": "complete", "e": "complete", "a": "skipped", "b": "skipped",
    }  # fmt: skip
    assert (outcome.nodes["a"].reason, outcome.nodes["b"].reason) == ("failed", "untaken")


async def test_more_than_a_run_holds_fails_the_node_whose_stream_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "HELD", 10_000)
    host = house()
    build = Builder(host).add("s", "Source", {"n": 1000}).add("e", "Echo").add("a", "Sink")
    build.edge("s.words -> a.words", late=True).edge("s.count -> e.in", "e.out -> a.also")
    outcome = await execute(build.graph(), host)
    assert statuses(outcome) == {"s": "error", "e": "skipped", "a": "skipped"}
    error = outcome.first_error
    assert isinstance(error, LimitError)
    assert (error.limit, error.node) == ("held streams", "s")


async def test_a_node_of_a_group_that_cannot_begin_takes_with_it_only_who_reads_from_it() -> None:
    host = house()

    def fails(inputs: Any, config: Any, run: Any) -> Any:
        raise GuestError("no")

    host.add("Fails", fails, outputs={"out": "INTEGER"})
    build = Builder(host).add("s", "Source", {"n": 5}).add("x", "Fails").add("a", "Sink").add("b", "Sink")
    build.edge("s.words -> a.words", "s.words -> b.words", "x.out -> a.also")
    outcome = await execute(build.graph(), host)
    assert statuses(outcome) == {"s": "complete", "x": "error", "a": "skipped", "b": "complete"}


async def test_nodes_that_streams_connect_take_one_place_together() -> None:
    host = house()
    build = Builder(host)
    for number in range(40):
        build.add(f"s{number}", "Source", {"n": 200}).add(f"a{number}", "Sink").edge(
            f"s{number}.words -> a{number}.words"
        )
    outcome = await execute(build.graph(), host)
    assert set(statuses(outcome).values()) == {"complete"}


async def test_streams_do_not_grow_with_the_number_of_their_chunks() -> None:
    host, peaks = house(), list[int]()

    class Deaf(Listener):
        def emit(self, event: Any) -> None:
            if event.kind != "NODE_YIELD":
                super().emit(event)
            elif event.seq % 5000 == 0:
                peaks.append(tracemalloc.get_traced_memory()[0])

        async def room(self) -> None:
            pass

    build = Builder(host).add("s", "Source", {"n": 30_000})
    host.add("Drain", _drain, inputs={"words": CHUNKS})
    for each in "abc":
        build.add(each, "Drain").edge(f"s.words -> {each}.words")
    graph = build.graph()
    from innkeeper.workflow.engine.run import WorkflowRun

    tracemalloc.start()
    try:
        outcome = await WorkflowRun(graph, sink=Deaf(), streams=host.streams).execute()
    finally:
        tracemalloc.stop()
    assert outcome.status == "complete"
    assert len(peaks) >= 6
    assert max(peaks[1:]) - min(peaks[1:]) < 200_000


async def _drain(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
    async for _ in flow.read("words"):
        pass
    return {}


@pytest.mark.parametrize(
    ("item", "type", "payload"),
    [
        ("text", None, {"type": "text_chunk", "content": "text"}),
        ("x" * 300, None, {"type": "text_chunk", "content": "x" * 300}),
        (7, None, {"type": "custom", "content": 7}),
        (None, None, {"type": "custom", "content": None}),
        ([1, {"type": "text_chunk"}], None, {"type": "custom", "content": [1, {"type": "text_chunk"}]}),
        ({"type": "usage_chunk", "content": 1, "x": 2}, "usage_chunk", {"type": "usage_chunk", "content": 1, "x": 2}),
        ({"a": {"type": "x"}, "type": "text_chunk"}, "text_chunk", {"a": {"type": "x"}, "type": "text_chunk"}),
        ({"type": "unknown"}, None, {"type": "custom", "content": {"type": "unknown"}}),
        ({"type": [1]}, None, {"type": "custom", "content": {"type": [1]}}),
        ({"deep": {"type": "text_chunk"}}, None, {"type": "custom", "content": {"deep": {"type": "text_chunk"}}}),
    ],
)  # fmt: skip
def test_an_item_is_given_out_as_a_chunk(item: Any, type: str | None, payload: Any) -> None:
    packed = msgpack.packb(item)
    assert chunks.typed(packed) == type
    assert msgpack.unpackb(chunks.payload_of(packed, type)) == payload


@pytest.mark.parametrize(
    ("content", "said"),
    [("it broke", "it broke"), ({"message": "why"}, "why"), (None, "it wrote an error_chunk that says nothing"),
     (" ", "it wrote an error_chunk that says nothing"), ("x" * 5000, "x" * 1000)],
)  # fmt: skip
def test_what_an_error_chunk_says_is_bounded(content: Any, said: str) -> None:
    assert chunks.said(msgpack.packb({"type": "error_chunk", "content": content})) == said


async def test_a_bypassed_node_between_streams_waits_for_the_end_that_it_was_given() -> None:
    host = house()
    build = Builder(host).add("s", "Breaks", {"n": 3}).add("a", "Sink").add("e", "Echo")
    build.bypassed("by", {"words": CHUNKS}, {"words": CHUNKS, "out": "STRING"}, {})
    build.edge("s.words -> a.words", "s.words -> by.words", "by.out -> e.in")
    outcome = await execute(build.graph(), host)
    assert statuses(outcome) == {"s": "error", "a": "skipped", "by": "skipped", "e": "skipped"}
    assert {node.reason for node in outcome.nodes.values()} == {None, "failed"}


async def test_a_chain_of_streams_may_be_written_in_any_order() -> None:
    host = house()
    build = Builder(host).add("c", "Sink").add("b", "Upper").add("a", "Source", {"n": 5})
    graph = build.edge("a.words -> b.words", "b.words -> c.words").graph()
    backwards = replace(graph, stream_groups=(("c", "b", "a"),))
    outcome = await execute(backwards, host)
    assert outcome.nodes["c"].outputs() == {"text": "W0 W1 W2 W3 W4"}


async def test_what_flows_is_no_part_of_an_answer() -> None:
    host = house()
    host.add("Both", lambda i, c, r: {"words": "at once"}, outputs={"words": CHUNKS, "out": "STRING"})
    outcome = await execute(Builder(host).add("b", "Both").graph(), host)
    assert outcome.first_error is not None
    assert "an output 'words' that the node does not have" in outcome.first_error.message


async def test_a_consumer_that_closes_its_end_and_goes_on_keeps_nobody_waiting() -> None:
    host, done = house(), trio.Event()

    async def closes(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        flow.close("words", "read")
        await done.wait()
        return {}

    async def all_of_it(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        count = len([item async for item in flow.read("words")])
        done.set()
        return {"count": count}

    host.add("Closes", closes, inputs={"words": CHUNKS})
    host.add("All", all_of_it, inputs={"words": CHUNKS}, outputs={"count": "INTEGER"})
    build = Builder(host).add("s", "Source", {"n": 1000}).add("c", "Closes").add("a", "All")
    outcome = await execute(build.edge("s.words -> c.words", "s.words -> a.words").graph(), host)
    assert outcome.nodes["a"].outputs() == {"count": 1000}


async def test_chunks_of_an_interface_output_say_how_it_is_shown() -> None:
    host, heard = house(), Listener()
    build = Builder(host).add("s", "Source", {"n": 1})
    build.engine("out", "output", {"talk": {**CHUNKS, "displayName": "What is said"}})
    await execute(build.edge("s.words -> out.talk").output(talk="s.words").graph(), host, listener=heard)
    names = {each.get("interfaceOutputDisplayName") for each in heard.wire("WORKFLOW_INTERFACE_YIELD")}
    assert names == {"What is said"}
