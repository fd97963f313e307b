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


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(workflows(), st.integers(0, 1 << 20))
def test_random_workflows_end_as_the_reference_says(payload: dict[str, Any], seed: int) -> None:
    assert compared(payload, seed) == []


@pytest.mark.soak
@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
@given(workflows(), st.integers(0, 1 << 20))
def test_five_thousand_random_workflows_end_as_the_reference_says(payload: dict[str, Any], seed: int) -> None:
    assert compared(payload, seed) == []
