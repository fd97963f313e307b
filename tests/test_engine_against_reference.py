"""Random workflows end as the sequential reference says, whatever is first."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agreement import disagreements
from graph_host import GraphHost
from graph_library import LIBRARY
from innkeeper.workflow.engine.run import run_workflow
from innkeeper.workflow.formats.payload import payload_of
from random_graphs import workflows
from reference.interpreter import expect
from test_reference import graph


def compared(payload: dict[str, Any], seed: int = 0) -> list[str]:
    """Runs a workflow in the engine, and says in what that differs."""
    expected = expect(payload, LIBRARY)
    events: list[dict[str, Any]] = []

    async def run() -> tuple[Any, GraphHost]:
        host = GraphHost(seed)
        with trio.fail_after(60):
            return await run_workflow(payload_of(payload), host, on_event=events.append), host

    outcome, host = trio.run(run)
    return disagreements(expected, outcome, events, host.seen, host.tries)


IF = {"type": "innkeeper:If", "inputs": {"condition": True, "value": "v"}}

CASES = {
    "a stream that breaks goes before a branch that was not taken": graph(
        {"if": IF, "s": {"type": "Source", "configValues": {"broken": "yes"}}, "r": "Relay", "g": "Gather"},
        ["if.else -> r.text", "s.chunks -> r.chunks", "r.chunks -> g.one"],
    ),
    "what is bypassed in a branch that was not taken gives nothing": graph(
        {"if": IF, "s": "Source", "g": {"type": "Gather", "bypassed": True}, "w": "Work"},
        ["if.else -> s.text", "s.chunks -> g.one", "g.text -> w.text"],
    ),
    "a turn that meets a limit gives its loop the same kind of error": graph(
        {"each": {"type": "innkeeper:ForEach", "configValues": {"referencedWorkflowId": "b", "maxIterations": 2}}}
        | {"w": "Work"},
        ["w.list -> each.items"],
        innkeeper={
            "workflows": {"b": graph({"w": {"type": "Work", "configValues": {"broken": "yes", "kind": "limit"}}})}
        },
    ),
    "a whole number for a float is one wherever it was written": graph(
        {
            "a": {"type": "Work", "inputs": {"real": 4, "reals": [1, 2.5]}},
            "b": {"type": "Need", "inputs": {"text": ""}},
        },
        ["a.real -> b.any"],
    ),
    "the outputs of a workflow are there if one of them is": graph(
        {"if": IF, "a": "Work", "b": "Work", "out": "core:GroupOutput"},
        ["if.then -> a.text", "if.else -> b.text", "a.text -> out.yes", "b.text -> out.no"],
        interfaceOutputs={"yes": {"dataFlowType": "STRING"}, "no": {"dataFlowType": "STRING"}},
    ),
    "the outputs of a workflow are not there if none of them is": graph(
        {"if": IF, "b": "Work", "out": "core:GroupOutput"},
        ["if.else -> b.text", "b.text -> out.no"],
        interfaceOutputs={"no": {"dataFlowType": "STRING"}},
    ),
    "why a stream is not there is known behind a bypassed node": graph(
        {"if": IF, "s": "Source", "g": "Gather", "by": {"type": "Shortcut", "bypassed": True}},
        ["if.else -> s.text", "s.chunks -> by.other", "by.chunks -> g.one"],
    ),
    "a node that was bypassed did not fail": graph(
        {"a": {"type": "Work", "bypassed": True, "configValues": {"innkeeper": {"errorOutput": True}}}, "c": "Caught"},
        ["a.innkeeperError -> c.error"],
    ),
    "a reader that has ended early is still behind what fails later": graph(
        {"s": {"type": "Source", "configValues": {"chunks": ["a"], "repeat": 90, "broken": "yes"}}}
        | {"g": {"type": "Gather", "configValues": {"takes": 1}}, "w": "Work"},
        ["s.chunks -> g.one", "g.text -> w.text"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_cases_that_random_workflows_have_found(case: str) -> None:
    assert [compared(CASES[case], seed) for seed in range(5)] == [[]] * 5


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(workflows(), st.integers(0, 1 << 20))
def test_random_workflows_end_as_the_reference_says(payload: dict[str, Any], seed: int) -> None:
    assert compared(payload, seed) == []


@pytest.mark.soak
@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
@given(workflows(), st.integers(0, 1 << 20))
def test_five_thousand_random_workflows_end_as_the_reference_says(payload: dict[str, Any], seed: int) -> None:
    assert compared(payload, seed) == []
