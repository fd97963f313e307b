"""A workflow that brings the workflows that it refers to, so that it runs where no folder has them."""

from __future__ import annotations

from typing import Any

from innkeeper.errors import UsageError
from innkeeper.workflow.formats.parts import MAX_WORKFLOWS, Extension, parsed
from innkeeper.workflow.formats.payload import WorkflowPayload, payload_of
from innkeeper.workflow.formats.references import references
from innkeeper.workflow.formats.sources import WorkflowSource


def bundle(payload: WorkflowPayload, source: WorkflowSource) -> WorkflowPayload:
    """Puts the workflows that its groups and loops refer to into a payload, and those that they refer to, and so on.

    Args:
        payload: the workflow; it is not changed. What it brings already goes before what the source has.
        source: has the others.

    Returns:
        the same payload where nothing is to be added. Workflows that the source does not have, or that cannot be read,
        are left out: the check names them by the nodes that want them.

    Raises:
        UsageError: there are more than a payload can bring; or as `WorkflowSource.find`.
    """
    have: dict[str, dict[str, Any]] = dict(payload.innkeeper.workflows) if payload.innkeeper is not None else {}
    ahead = references(payload)
    seen = set(ahead)
    added = False
    while ahead:
        id_ = ahead.pop()
        if id_ not in have:
            found = _found(source, id_)
            if found is None:
                continue
            if len(have) == MAX_WORKFLOWS:
                raise UsageError(f"the workflow refers to more than {MAX_WORKFLOWS} other workflows")
            have[id_] = found
            added = True
        try:
            further = references(payload_of(have[id_]))
        except UsageError:
            continue
        ahead += [each for each in further if each not in seen]
        seen.update(further)
    if not added:
        return payload
    kept = payload.innkeeper if payload.innkeeper is not None else Extension()
    return payload.model_copy(update={"innkeeper": kept.model_copy(update={"workflows": have})})


def _found(source: WorkflowSource, id_: str) -> dict[str, Any] | None:
    found = source.find(id_)
    if isinstance(found, bytes):
        try:
            found = parsed(found)
        except UsageError:
            return None
    return dict(found) if found is not None else None
