"""Workflows that refer to each other, in few words."""

from __future__ import annotations

from typing import Any

from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.checking.graph import Graph
from innkeeper.workflow.checking.problems import WorkflowError
from innkeeper.workflow.formats.payload import WorkflowPayload
from innkeeper.workflow.formats.reading import written
from innkeeper.workflow.formats.sources import MappingSource
from node_fakes import FakeHost, text_host, workflow

TEXT: dict[str, Any] = {"dataFlowType": "STRING"}
STREAM: dict[str, Any] = {"dataFlowType": "STRING", "isStream": True}


def group(reference: str, **more: Any) -> dict[str, Any]:
    """A node that is a group."""
    return {"type": "core:NodeGroup", "configValues": {"referencedWorkflowId": reference}, **more}


def loop(kind: str, reference: str, *, at_most: int = 10, **more: Any) -> dict[str, Any]:
    """A node that is a loop; further words are its configuration, but for `inputs` and `bypassed`."""
    fields = {key: more.pop(key) for key in ("inputs", "bypassed") if key in more}
    config = {"referencedWorkflowId": reference, "maxIterations": at_most, **more}
    return {"type": f"innkeeper:{kind}", "configValues": config, **fields}


def inner(
    nodes: dict[str, Any],
    edges: list[str] | None = None,
    *,
    inputs: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A workflow with an interface, as plain data; "in" and "out" are the nodes of the interface."""
    ends = {"in": "core:GroupInput"} if inputs else {}
    if outputs:
        ends["out"] = "core:GroupOutput"
    return written(
        workflow({**ends, **nodes}, edges, interfaceInputs=inputs or {}, interfaceOutputs=outputs or {}, **more)
    )


UPPER = inner(
    {"u": "Upper"}, ["in.text -> u.text", "u.out -> out.result"], inputs={"text": TEXT}, outputs={"result": TEXT}
)
"""text -> result"""

PASS = inner({}, ["in.text -> out.result"], inputs={"text": TEXT}, outputs={"result": TEXT})
"""text -> result, and no node between."""


def check(payload: WorkflowPayload, host: FakeHost | None = None, **workflows: dict[str, Any]) -> Graph:
    return check_workflow(payload, host or text_host(), MappingSource(workflows))


def problems(payload: WorkflowPayload, host: FakeHost | None = None, **workflows: dict[str, Any]) -> list[str]:
    try:
        check(payload, host, **workflows)
    except WorkflowError as error:
        return error.message.splitlines()
    return []


def stream_host() -> FakeHost:
    """With `Source` (s, and a value `done`), `Relay` (s to s; value `text` to value `done`) and `Sink` (s required)."""
    host = text_host()
    host.add("Source", lambda i, c, r: {}, inputs={"text": "STRING"}, outputs={"s": STREAM, "done": "STRING"})
    host.add(
        "Relay", lambda i, c, r: {}, inputs={"s": STREAM, "text": "STRING"}, outputs={"s": STREAM, "done": "STRING"}
    )
    host.add("Sink", lambda i, c, r: {}, inputs={"s!": STREAM, "text": "STRING"}, outputs={"done": "STRING"})
    return host
