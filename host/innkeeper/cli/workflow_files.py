"""The workflow that a command was given, with its inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innkeeper.workflow.formats.payload import WorkflowPayload


def workflow_with_inputs(workflow: str, pairs: tuple[str, ...], files: tuple[str, ...]) -> WorkflowPayload:
    """The workflow of a file, with all that its groups and loops refer to and the values of its inputs put in.

    What it refers to is looked for in the folder of the file, by id.

    Args:
        workflow: name of a JSON file; "-" is standard input.
        pairs, files: as `run_inputs.give_inputs`.

    Raises:
        UsageError: it cannot be read, or an input does not fit.
    """
    from innkeeper.cli.run_inputs import give_inputs, read_file
    from innkeeper.workflow.formats.bundle import bundle
    from innkeeper.workflow.formats.payload import PAYLOAD_BOUNDS, read_payload
    from innkeeper.workflow.formats.sources import FolderSource

    payload = read_payload(read_file("the workflow", workflow, PAYLOAD_BOUNDS.size))
    if workflow != "-":
        payload = bundle(payload, FolderSource(Path(workflow).parent))
    give_inputs(payload, pairs, files)
    return payload
