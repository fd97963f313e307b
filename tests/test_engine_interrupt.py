"""A run whose guests loop, sleep, wait in the bridge and stream ends when it is cancelled, at whatever moment: nothing
follows its final status, and nothing of it is left."""

from __future__ import annotations

import random
from pathlib import Path

import msgpack
import pytest
import trio
import trio.lowlevel

from bridge_guests import home, imports, opened, write
from graphs import Builder, Listener, nothing_left
from guests import assemble, nothing_is_held, text_block, wat
from innkeeper import Host
from innkeeper.bridge.bridge import Bridge
from innkeeper.sandbox.engine import FiberEngine
from innkeeper.workflow.checking.graph import Graph
from innkeeper.workflow.engine.events import RunEvent
from innkeeper.workflow.engine.run import WorkflowRun
from innkeeper.workflow.engine.slots import HostSlots

__all__ = ["home"]

_WORDS = {"dataFlowType": "STRING", "isStream": True}

_ANSWER = msgpack.packb({"outputs": {}})


def _asks(arguments: object, operation: str) -> str:
    return f"""{text_block("what it asks", msgpack.packb(arguments), "b")}
      (loop (drop (call $innkeeper_stream_{operation} (local.get $b))) (br 0))"""


GUEST = wat(
    f"""(memory (export "memory") 1)
    (func (export "loop") (loop (br 0)))
    (func (export "sleep")
      (i64.store (i32.const 24) (i64.const 3600000000000))
      (loop (drop (call $poll_oneoff (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 96))) (br 0)))
    (func (export "flood") (local $b i64) {_asks({"slot": "words", "item": "a word"}, "write")})
    (func (export "drain") (local $b i64) {_asks({"slot": "words"}, "read")})
    (func (export "quick") (local $b i64)
      {text_block("its answer", _ANSWER, "b")}
      (call $output_set (local.get $b) (i64.const {len(_ANSWER)})))""",
    "input_offset output_set length alloc store_u8",
    "poll_oneoff",
    imports("stream"),
)

_STREAM = '{dataFlowType = "STRING", isStream = true}'
_VALUE = '{dataFlowType = "WILDCARD"}'
MANIFEST = f"""
[[nodes]]
type = "Loop"
function = "loop"
outputs.words = {_STREAM}
[[nodes]]
type = "Sleep"
function = "sleep"
[[nodes]]
type = "Flood"
function = "flood"
outputs.words = {_STREAM}
[[nodes]]
type = "Drain"
function = "drain"
inputs.words = {_STREAM}
[[nodes]]
type = "Quick"
function = "quick"
inputs.in = {_VALUE}
outputs.out = {_VALUE}
"""


def graph(host: Host) -> Graph:
    """Guests that loop, sleep, wait for what never comes, write and read without end, in a loop too; and some that
    end."""
    body = Builder(host).inputs("in", item="INTEGER").add("flood", "busy:Flood").add("drain", "busy:Drain")
    body.edge("flood.words -> drain.words")
    build = Builder(host)
    for number in range(20):
        build.add(f"q{number}", "busy:Quick")
        if number:
            build.edge(f"q{number - 1}.out -> q{number}.in")
    build.add("sleep", "busy:Sleep").add("flood", "busy:Flood").add("one", "busy:Drain").add("two", "busy:Drain")
    build.edge("flood.words -> one.words", "flood.words -> two.words")
    # The loop is a stream's producer that never writes: its consumer waits in the bridge.
    build.add("loop", "busy:Loop").add("waits", "busy:Drain").edge("loop.words -> waits.words")
    build.loop("each", "for_each", body.graph(), 4, 2, presets={"items": [1, 2, 3]})
    return build.graph()


async def interrupt(host: Host, bridge: Bridge, made: Graph, moment: float) -> None:
    """Cancels a run after so many seconds, and looks at what there is then."""
    heard, places = Listener(), HostSlots()
    run = WorkflowRun(made, sink=heard, streams=bridge.streams, slots=places)
    with trio.fail_after(30):
        with trio.move_on_after(moment) as scope:
            await run.execute()
        assert scope.cancelled_caught
    if not heard.events:
        return
    said = len(heard.events)
    assert (heard.events[-1].kind, heard.events[-1].fields["status"]) == ("EXECUTION_STATUS_UPDATE", "interrupted")
    assert {node.status for node in run.outcome.walk()} <= {"interrupted", "complete"}
    nothing_left(run)
    assert places._free == 64
    await trio.lowlevel.checkpoint()
    assert len(heard.events) == said


class Watching(Listener):
    """Says when guests of every kind are at work."""

    def __init__(self) -> None:
        super().__init__()
        self.at_work = trio.Event()
        self.begun: set[str] = set()
        self.chunks = 0

    def emit(self, event: RunEvent) -> None:
        super().emit(event)
        if event.kind == "NODE_EXECUTING":
            self.begun.add(event.fields["nodeId"])
        self.chunks += event.kind == "NODE_YIELD"
        if self.chunks > 200 and {"q19", "sleep", "loop", "waits", "each[1]/drain"} <= self.begun:
            self.at_work.set()


async def test_a_run_whose_guests_are_all_at_work_ends_when_it_is_cancelled(home: Path) -> None:
    write(home, "busy", assemble(GUEST), manifest=MANIFEST)
    async with opened(home) as (host, bridge):
        heard = Watching()
        run = WorkflowRun(graph(host), sink=heard, streams=bridge.streams)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run.execute)
                await heard.at_work.wait()
                begun = trio.current_time()
                nursery.cancel_scope.cancel()
        print(f"ended after {1000 * (trio.current_time() - begun):.1f} ms")
        assert run.outcome.status == "interrupted"
        found = {node.node: node.status for node in run.outcome.walk()}
        still = {"sleep", "flood", "one", "two", "loop", "waits", "each"}
        assert {node for node, status in found.items() if status == "interrupted"} >= still
        assert found["q19"] == "complete"
        nothing_left(run)


async def interrupt_often(home: Path, times: int) -> None:
    write(home, "busy", assemble(GUEST), manifest=MANIFEST)
    async with opened(home) as (host, bridge):
        engine = host.engine
        assert isinstance(engine, FiberEngine)
        made = graph(host)
        for _ in range(times):
            await interrupt(host, bridge, made, random.random() * 0.05)
        await nothing_is_held(engine)


async def test_a_run_ends_at_some_random_moments_and_nothing_is_left(home: Path) -> None:
    await interrupt_often(home, 50)


@pytest.mark.soak
async def test_a_run_ends_at_a_thousand_random_moments_and_nothing_is_left(home: Path) -> None:
    await interrupt_often(home, 1000)
