"""A workflow in the form that it has: whoever writes it again loses nothing."""

from __future__ import annotations

from typing import Any

from innkeeper.errors import UsageError
from innkeeper.workflow.formats.parts import is_stored, parsed, validated
from innkeeper.workflow.formats.payload import WorkflowPayload
from innkeeper.workflow.formats.stored import StoredWorkflow
from innkeeper.workflow.formats.translate import to_execution, to_stored

Workflow = WorkflowPayload | StoredWorkflow
"""Either form."""


def read_workflow(data: bytes) -> Workflow:
    """Reads a workflow from the bytes of a JSON file.

    Raises:
        UsageError: as `payload.read_payload`.
    """
    return workflow_of(parsed(data))


def workflow_of(value: Any) -> Workflow:
    """Reads a workflow from plain data that somebody has bounded.

    Raises:
        UsageError: as `payload.payload_of`.
    """
    if not isinstance(value, dict):
        raise UsageError("the workflow is not a JSON object with 'nodes' and 'edges'")
    return validated(StoredWorkflow, value) if is_stored(value) else validated(WorkflowPayload, value)


def written(workflow: Workflow) -> dict[str, Any]:
    """A workflow as plain data (dict): what was read, unknown fields included. The legacy slot type STREAM has become
    WILDCARD with `isStream`."""
    return workflow.model_dump(by_alias=True, exclude_unset=True)


def as_payload(workflow: Workflow) -> WorkflowPayload:
    """A workflow as an execution payload; as `translate.to_execution`."""
    if isinstance(workflow, WorkflowPayload):
        return workflow
    return validated(WorkflowPayload, to_execution(written(workflow)))


def as_stored(workflow: Workflow) -> StoredWorkflow:
    """A workflow as an editor stores it; as `translate.to_stored`."""
    if isinstance(workflow, StoredWorkflow):
        return workflow
    return validated(StoredWorkflow, to_stored(written(workflow)))
