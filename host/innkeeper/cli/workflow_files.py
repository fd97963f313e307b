"""The workflow that a command was given, with its inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innkeeper.workflow.formats.payload import WorkflowPayload
    from innkeeper.workflow.formats.sources import FolderSource


def workflow_with_inputs(workflow: str, pairs: tuple[str, ...], files: tuple[str, ...]) -> WorkflowPayload:
    """The workflow of a file, with the workflows beside it that it refers to, and the values of its inputs put in.

    Args:
        workflow: name of a JSON file; "-" is standard input.
        pairs, files: as `run_inputs.give_inputs`.

    Raises:
        UsageError: it cannot be read, or an input does not fit.
    """
    from innkeeper.cli.run_inputs import give_inputs, read_file
    from innkeeper.workflow.formats.bundle import bundle
    from innkeeper.workflow.formats.payload import PAYLOAD_BOUNDS, read_payload

    payload = read_payload(read_file("the workflow", workflow, PAYLOAD_BOUNDS.size))
    if (beside := source_beside(workflow)) is not None:
        payload = bundle(payload, beside)
    give_inputs(payload, pairs, files)
    return payload


def source_beside(workflow: str) -> FolderSource | None:
    """The workflows that lie beside a file, or None for standard input."""
    from innkeeper.workflow.formats.sources import FolderSource

    return None if workflow == "-" else FolderSource(Path(workflow).parent)
