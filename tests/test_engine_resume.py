"""After a crash a run goes on where it was: what ended is kept, what is harmless is called again, and nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from graphs import Builder, Listener, execute, statuses
from innkeeper.errors import GuestError, Kind
from innkeeper.workflow.checking.graph import Graph, Passed
from innkeeper.workflow.engine.outcome import RunOutcome
from innkeeper.workflow.engine.resuming import Resume, resume_of
from innkeeper.workflow.engine.run import WorkflowRun
from node_fakes import FakeHost, Flow

CHUNKS = {"dataFlowType": "STRING", "isStream": True}
AGAIN = {"afterCrash": "again"}


class House(FakeHost):
    """Counts how often each node is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

        def add(inputs: Any, config: Any, run: Any) -> Any:
            self.calls[run["node"]] += 1
            return {"out": (inputs.get("in") or 0) + 1}

        def fails(inputs: Any, config: Any, run: Any) -> Any:
            self.calls[run["node"]] += 1
            raise GuestError("it hurts")

        async def source(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
            self.calls[run["node"]] += 1
            for number in range(3):
                await flow.write("words", str(number))
            return {"count": 3}

        async def sink(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
            self.calls[run["node"]] += 1
            return {"text": "".join([item async for item in flow.read("words")])}

        number = {"in": "INTEGER"}
        self.add("Add", add, inputs=number, outputs={"out": "INTEGER"})
        self.add("Fails", fails, inputs=number, outputs={"out": "INTEGER"})
        self.add("Source", source, inputs=number, outputs={"words": CHUNKS, "count": "INTEGER"})
        self.add("Sink", sink, inputs={"words": CHUNKS, **number}, outputs={"text": "STRING"})


def everything(host: House, policy: dict[str, Any]) -> Graph:
    """A bit of all that there is."""
    body = Builder(host).inputs("in", item="INTEGER").add("x", "Add", **policy).add("y", "Add", **policy)
    body.edge("in.item -> x.in", "x.out -> y.in").output(out="y.out")
    build = Builder(host).inputs("in", start={"dataFlowType": "INTEGER", "config": {"default": 5}})
    build.add("a", "Add", **policy).branch("if", condition=True).add("yes", "Add", **policy).add("no", "Add", **policy)
    build.merge("m").add("f", "Fails", **policy, errorOutput=True).add("g", "Fails", **policy).add("h", "Add", **policy)
    build.add("s", "Source", **policy).add("k", "Sink", **policy).add("late", "Sink", **policy)
    build.loop("each", "for_each", body.graph(), 9, presets={"items": [1, 2]})
    build.bypassed("by", {"in": "INTEGER"}, {"out": "INTEGER"}, {"out": Passed(("in",), 0)})
    build.edge("in.start -> a.in", "a.out -> if.value", "if.then -> yes.in", "if.else -> no.in", "yes.out -> m.values")
    build.edge("no.out -> m.values", "g.out -> h.in", "a.out -> by.in", "s.words -> k.words", "s.count -> late.in")
    build.edge("s.words -> late.words", late=True)
    return build.output(m="m.value", each="each.out", by="by.out", text="k.text", late="late.text").graph()


def summary(outcome: RunOutcome) -> Any:
    said = {node: (each.reason, each.cause, each.handled, each.turns) for node, each in outcome.nodes.items()}
    # What nobody looked at again is not known any more.
    said["each"] = said["each"][:3]
    error = outcome.first_error
    return outcome.status, outcome.outputs, statuses(outcome), said, error and (error.kind, error.message)


async def test_a_run_that_is_resumed_after_any_event_ends_as_it_would_have() -> None:
    host, heard = House(), Listener()
    whole = await execute(everything(host, AGAIN), host, listener=heard)
    assert whole.outputs == {
        "m": 7, "each": [3, 4], "by": 6, "text": "012", "late": "012",
    }  # fmt: skip
    for after in range(1, len(heard.events)):
        known = resume_of(heard.events[:after])
        assert known.seq == after
        host, more = House(), Listener()
        resumed = await execute(everything(host, AGAIN), host, listener=more, resume=known)
        assert summary(resumed) == summary(whole), after
        flowing = {"s", "k", "late"}
        over = set(known.results) | set(known.failed)
        assert not (set(host.calls) & over) - flowing, after
        if flowing <= over:
            assert not set(host.calls) & flowing
        assert max(host.calls.values(), default=1) == 1
        # Nothing of what had been said is said again but what flows, which node begins, and that the run goes on.
        ends = ("NODE_COMPLETE", "NODE_ERROR", "NODE_SKIPPED", "NODE_BYPASSED")
        said = [event.fields["nodeId"] for event in [*heard.events[:after], *more.events] if event.kind in ends]
        twice = {node for node, count in Counter(said).items() if count > 1} - {"__WORKFLOW_INTERFACE_OUTPUTS__"}
        assert twice <= flowing, after


async def test_a_node_that_had_begun_is_not_called_again_where_that_may_do_harm() -> None:
    host, heard = House(), Listener()
    await execute(everything(host, {}), host, listener=heard)
    for after, event in enumerate(heard.events, 1):
        if event.kind != "NODE_EXECUTING":
            continue
        node = event.fields["nodeId"]
        known = resume_of(heard.events[:after])
        host = House()
        outcome = await execute(everything(host, {}), host, resume=known)
        assert not set(host.calls) & (set(known.begun) - {"s", "k", "late"})
        plugin = node in ("a", "yes", "f", "g", "s", "k", "late") or node.startswith("each[")
        if plugin and not node.endswith("/in"):
            assert outcome.status == "error"
            assert any("its host ended while it ran" in str(each.error) for each in outcome.walk())


async def test_what_streams_connect_is_called_again_as_a_whole_or_not_at_all() -> None:
    for policy, calls in ((AGAIN, {"s": 1, "k": 1}), ({}, {})):
        host = House()
        build = Builder(host).add("s", "Source", **policy).add("k", "Sink", **policy).edge("s.words -> k.words")
        resume = Resume({"s": {"count": b"\x03"}}, {"s", "k"}, seq=7)
        outcome = await execute(build.graph(), host, resume=resume)
        assert dict(host.calls) == calls
        assert outcome.status == ("complete" if policy else "error")


async def test_a_failure_that_was_kept_stays_what_it_was() -> None:
    host = House()
    build = Builder(host).add("a", "Add").add("b", "Add").edge("a.out -> b.in")
    resume = Resume({}, {"a"}, 3, {"a": (Kind.LIMIT, "too much")})
    outcome = await execute(build.graph(), host, resume=resume)
    assert outcome.first_error is not None
    assert (outcome.first_error.kind, outcome.first_error.message) == (Kind.LIMIT, "too much")
    assert statuses(outcome) == {"a": "error", "b": "skipped"}
    assert not host.calls


async def test_it_is_kept_that_a_node_begins_before_it_does_what_is_done_once() -> None:
    host, kept = House(), list[int]()

    class Slow(Listener):
        async def settled(self) -> None:
            kept.append(len(self.events))

    seen: list[int] = []
    heard = Slow()
    host.add("Once", lambda i, c, r: seen.append(kept[-1]) or {}, outputs={})
    await execute(Builder(host).add("o", "Once").graph(), host, listener=heard)
    assert [event.kind for event in heard.events[: seen[0]]][-1] == "NODE_EXECUTING"


async def test_a_run_that_is_not_begun_again_does_not_wait_until_it_is_kept_what_began() -> None:
    host = House()

    class Never(Listener):
        async def settled(self) -> None:
            raise AssertionError

    host.add("Once", lambda i, c, r: {}, outputs={})
    heard = Never()
    run = WorkflowRun(Builder(host).add("o", "Once").graph(), sink=heard, again=False)
    assert (await run.execute()).status == "complete"
    assert "NODE_EXECUTING" in {event.kind for event in heard.events}


@pytest.mark.parametrize("failing", ["emit", "room", "settled"])
async def test_a_receiver_that_fails_ends_the_run_with_its_own_exception_and_hears_no_more(failing: str) -> None:
    host = House()

    class Lost(Listener):
        lost = False

        def fail(self, what: str) -> None:
            assert not self.lost
            if what == failing and len(self.events) > 5:
                self.lost = True
                raise BrokenPipeError

        def emit(self, event: Any) -> None:
            super().emit(event)
            self.fail("emit")

        async def room(self) -> None:
            self.fail("room")

        async def settled(self) -> None:
            self.fail("settled")

    heard = Lost()
    with pytest.raises(BrokenPipeError):
        await execute(everything(host, {}), host, listener=heard)
    assert heard.lost
