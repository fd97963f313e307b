"""Random workflows whose host ends, or which somebody interrupts, at any event; and previews of them."""

from __future__ import annotations

import copy
from typing import Any

import trio
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from agreement import present, resumed_disagreements
from graph_host import GraphHost
from graph_library import LIBRARY
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.engine.events import RunEvent, wire_event
from innkeeper.workflow.engine.outcome import RunOutcome
from innkeeper.workflow.engine.resuming import Resume, resume_of
from innkeeper.workflow.engine.run import WorkflowRun, run_workflow
from innkeeper.workflow.formats.payload import payload_of
from innkeeper.workflow.formats.preview import target_preview
from random_graphs import workflows
from reference.interpreter import expect


class Kept:
    """An `EventSink` that keeps all, and calls somebody at one of them."""

    def __init__(self, at: int = -1, scope: trio.CancelScope | None = None) -> None:
        self.events: list[RunEvent] = []
        self._at = at
        self._scope = scope

    def emit(self, event: RunEvent) -> None:
        """As `EventSink.emit`."""
        self.events.append(event)
        if self._scope is not None and len(self.events) == self._at:
            self._scope.cancel()

    async def room(self) -> None:
        """As `EventSink.room`."""

    async def settled(self) -> None:
        """As `EventSink.settled`."""


async def executed(payload: Any, host: GraphHost, sink: Kept, resume: Resume | None = None) -> RunOutcome:
    graph = check_workflow(payload_of(payload), host)
    return await WorkflowRun(graph, sink=sink, streams=host.streams, prompt_id="run", resume=resume).execute()


def harmless(payload: dict[str, Any]) -> dict[str, Any]:
    """The same workflow, all of whose nodes may be called again after a crash."""
    payload = copy.deepcopy(payload)
    for workflow in (payload, *payload.get("innkeeper", {}).get("workflows", {}).values()):
        for node in workflow["nodes"]:
            if node.get("fullType", node.get("type")).startswith("t:"):
                config = node.setdefault("configValues", {})
                config["innkeeper"] = {**config.get("innkeeper", {}), "afterCrash": "again"}
    return payload


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(workflows(), st.integers(0, 1 << 20), st.floats(0, 1))
def test_a_run_that_goes_on_after_any_event_ends_as_it_would_have(payload: Any, seed: int, part: float) -> None:
    payload = harmless(payload)
    expected = expect(payload, LIBRARY)
    first, more = Kept(), Kept()

    async def run() -> RunOutcome:
        with trio.fail_after(60):
            await executed(payload, GraphHost(seed), first)
            del first.events[max(1, int(part * (len(first.events) - 1))) :]
            return await executed(payload, GraphHost(seed + 1), more, resume_of(first.events))

    outcome = trio.run(run)
    events = [wire_event(event, "run") for event in (*first.events, *more.events)]
    assert resumed_disagreements(expected, outcome, events) == []


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(workflows(), st.integers(0, 1 << 20), st.integers(1, 100))
def test_a_run_that_is_interrupted_at_any_event_ends_and_leaves_nothing(payload: Any, seed: int, at: int) -> None:
    async def run() -> Kept:
        host = GraphHost(seed)
        with trio.fail_after(60):
            with trio.CancelScope() as scope:
                sink = Kept(at, scope)
                await executed(payload, host, sink)
            for _ in range(20):
                await trio.lowlevel.checkpoint()
        assert not list(host.streams._runs)
        return sink

    events = trio.run(run).events
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    statuses = [event.fields["status"] for event in events if event.kind == "EXECUTION_STATUS_UPDATE"]
    assert events[-1].kind == "EXECUTION_STATUS_UPDATE"
    assert len(statuses) <= 2
    assert statuses[-1] in ("interrupted", "complete", "error")
    if statuses[-1] != "interrupted":
        # There were fewer events, or it was in its last breath.
        assert len(events) - at <= 1


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(workflows(), st.integers(0, 1 << 20), st.integers(0, 30))
def test_a_preview_of_one_output_gives_what_a_preview_of_all_does(payload: Any, seed: int, chosen: int) -> None:
    plain = [node for node in payload["nodes"] if node["fullType"].startswith(("t:", "innkeeper:"))]
    assume(plain)
    node = plain[chosen % len(plain)]
    whole = expect({**payload, "metadata": {"isPreviewRun": True}}, LIBRARY)
    slots = list(whole.nodes[node["id"]].outputs)
    assume(slots)
    preview = target_preview(payload_of(payload), node["id"], slots[0])

    async def run() -> RunOutcome:
        with trio.fail_after(60):
            return await run_workflow(preview, GraphHost(seed))

    outcome = trio.run(run)
    assert node["id"] in outcome.nodes
    # Of the interface there is only what the output needs.
    for each in (each for each in outcome.nodes.values() if not each.type.startswith("core:Group")):
        report = whole.nodes[each.node]
        assert (each.status, each.reason or "", present(each.outputs())) == (
            report.status,
            report.reason,
            present(report.values()) if not report.handled else present(each.outputs()),
        )
