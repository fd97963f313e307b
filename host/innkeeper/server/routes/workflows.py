"""Workflows of projects and of the shared library, as ComfyTavern's editors ask for them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Request, Response
from pydantic import TypeAdapter

from innkeeper.server.guards.bodies import BoundedRouter, takes
from innkeeper.server.identity import Identity
from innkeeper.server.parts import Parts, PartsOf
from innkeeper.server.projects.wire import WorkflowMetadata, WorkflowObject, listed_workflow
from innkeeper.server.projects.workflows import Workflows
from innkeeper.server.routes.files import JSON_BOUNDS, Owner, problems
from innkeeper.server.routes.projects import IfMatch, ProjectId, answered, document_answer

router = BoundedRouter(tags=["workflows"])

_METADATA = TypeAdapter(list[WorkflowMetadata])
_LIST: dict[int | str, dict[str, Any]] = {**problems(), 200: {"model": list[WorkflowMetadata]}}

WorkflowId = Annotated[str, Path(max_length=256)]


@router.get("/api/workflows", responses=_LIST, response_class=Response)
async def list_shared_workflows(parts: PartsOf, identity: Owner) -> Response:
    """The workflows of `shared://library/workflows`. Each is read at `/api/fam/read/...`."""
    return await _listed(parts, parts.projects.shared_workflows())


@router.get("/api/projects/{project_id}/workflows", responses=_LIST, response_class=Response)
async def list_workflows(project_id: ProjectId, parts: PartsOf, identity: Owner) -> Response:
    """The workflows of a project."""
    return await _listed(parts, await _workflows(parts, identity, project_id))


@router.post(
    "/api/projects/{project_id}/workflows",
    status_code=201,
    response_class=Response,
    responses=answered(WorkflowObject, 409, success=201),
)
@takes(size=JSON_BOUNDS.size, elements=JSON_BOUNDS.elements)
async def create_workflow(project_id: ProjectId, body: WorkflowObject, parts: PartsOf, identity: Owner) -> Response:
    """Stores a new workflow, with an id of its own. 409 where one of this name is there."""
    workflows = await _workflows(parts, identity, project_id)
    return document_answer(await parts.files.run_large(workflows.create, body, parts.files.now()), 201)


@router.get(
    "/api/projects/{project_id}/workflows/{workflow_id}",
    response_class=Response,
    responses=answered(WorkflowObject, 409),
)
async def get_workflow(
    project_id: ProjectId, workflow_id: WorkflowId, request: Request, parts: PartsOf, identity: Owner
) -> Response:
    """A workflow, as it was stored: with all that this host does not know."""
    workflows = await _workflows(parts, identity, project_id)
    return document_answer(await parts.files.run_large(workflows.get, workflow_id), request=request)


@router.put(
    "/api/projects/{project_id}/workflows/{workflow_id}",
    response_class=Response,
    responses=answered(WorkflowObject, 409, 412),
)
@takes(size=JSON_BOUNDS.size, elements=JSON_BOUNDS.elements)
async def replace_workflow(
    project_id: ProjectId,
    workflow_id: WorkflowId,
    body: WorkflowObject,
    parts: PartsOf,
    identity: Owner,
    if_match: IfMatch = None,
) -> Response:
    """Stores a workflow in the place of what it was. 409 where its new name is another's."""
    workflows = await _workflows(parts, identity, project_id)
    return document_answer(
        await parts.files.run_large(workflows.replace, workflow_id, body, parts.files.now(), if_match)
    )


@router.delete("/api/projects/{project_id}/workflows/{workflow_id}", status_code=204, responses=problems(409, 412))
async def delete_workflow(
    project_id: ProjectId, workflow_id: WorkflowId, parts: PartsOf, identity: Owner, if_match: IfMatch = None
) -> None:
    """Puts a workflow into the recycle bin."""
    workflows = await _workflows(parts, identity, project_id)
    await parts.files.run_large(workflows.delete, workflow_id, parts.files.now(), if_match)


async def _listed(parts: Parts, workflows: Workflows) -> Response:
    def listed() -> bytes:
        items = [listed_workflow(summary) for _, summary in workflows.summaries()]
        return _METADATA.dump_json(items, by_alias=True, exclude_none=True)

    return Response(await parts.files.run_large(listed), media_type="application/json")


async def _workflows(parts: Parts, identity: Identity, project_id: str) -> Workflows:
    return await parts.files.run(parts.projects.of(identity.uid).workflows, project_id)
