"""Projects of a user, as ComfyTavern's editors ask for them."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Header, Path, Query, Request, Response
from pydantic import TypeAdapter

from innkeeper.server.files.names import MOST_NAME
from innkeeper.server.files.versions import matches
from innkeeper.server.guards.bodies import BoundedRouter, takes
from innkeeper.server.parts import PartsOf
from innkeeper.server.projects.documents import Document
from innkeeper.server.projects.projects import MOST_PROJECTS
from innkeeper.server.projects.wire import (
    ChangedProject,
    ListedProject,
    NewProject,
    ProjectMetadata,
    ProjectTemplate,
    listed_project,
    listed_template,
)
from innkeeper.server.routes.files import JSON_BOUNDS, Owner, problems

router = BoundedRouter(tags=["projects"])

ProjectId = Annotated[str, Path(max_length=MOST_NAME)]
IfMatch = Annotated[str | None, Header(max_length=2000, description="ETags; 412 where the version is another by now.")]

_LISTED = TypeAdapter(list[ListedProject])
_SIZE = 8 << 20


def answered(model: Any, *statuses: int, success: int = 200) -> dict[int | str, dict[str, Any]]:
    """What a route says that gives a document with its ETag."""
    etag = {"headers": {"ETag": {"schema": {"type": "string"}, "description": "Its version."}}}
    return {**problems(*statuses), success: {"model": model, **etag}}


def document_answer(document: Document, status: int = 200, request: Request | None = None) -> Response:
    """A document as an answer; 304 where the client has it."""
    headers = {"etag": document.etag, "cache-control": "private, no-cache"}
    if request is not None and matches(request.headers.get("if-none-match"), document.etag):
        return Response(status_code=304, headers=headers)
    return Response(document.data, status, headers, "application/json")


@router.get("/api/projects", responses={**problems(), 200: {"model": list[ListedProject]}}, response_class=Response)
async def list_projects(
    parts: PartsOf,
    identity: Owner,
    after: Annotated[str, Query(max_length=MOST_NAME)] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_PROJECTS)] = MOST_PROJECTS,
) -> Response:
    """The projects, in the order of their ids. One whose project.json is broken has `error`."""
    projects = parts.projects.of(identity.uid)

    def page() -> tuple[bytes, str]:
        rows, more = projects.page(after, limit)
        items = [listed_project(*row) for row in rows]
        return _LISTED.dump_json(items, by_alias=True, exclude_none=True), rows[-1][0] if more and rows else ""

    data, last = await parts.files.run_large(page)
    headers = {"link": f'</api/projects?after={quote(last, safe="")}&limit={limit}>; rel="next"'} if last else {}
    return Response(data, headers=headers, media_type="application/json")


@router.post(
    "/api/projects",
    status_code=201,
    response_class=Response,
    responses=answered(ProjectMetadata, 409, success=201),
)
@takes(size=_SIZE, elements=JSON_BOUNDS.elements)
async def create_project(body: NewProject, parts: PartsOf, identity: Owner) -> Response:
    """Makes a project of a template. Its id is its name, without what no folder's name can have."""
    given = body.given()
    given.pop("templateId", None)
    projects = parts.projects.of(identity.uid)
    made = await parts.files.run_large(projects.create, given, parts.files.now(), body.template_id)
    return document_answer(made, 201)


@router.get(
    "/api/projects/{project_id}/metadata",
    response_class=Response,
    responses=answered(ProjectMetadata),
)
async def project_metadata(project_id: ProjectId, request: Request, parts: PartsOf, identity: Owner) -> Response:
    """What project.json says."""
    found = await parts.files.run_large(parts.projects.of(identity.uid).get, project_id)
    return document_answer(found, request=request)


@router.put(
    "/api/projects/{project_id}",
    response_class=Response,
    responses=answered(ProjectMetadata, 409, 412),
)
@takes(size=_SIZE, elements=JSON_BOUNDS.elements)
async def change_project(
    project_id: ProjectId, body: ChangedProject, parts: PartsOf, identity: Owner, if_match: IfMatch = None
) -> Response:
    """Changes what project.json says. What is not sent stays, and so does the id, whatever the name."""
    projects = parts.projects.of(identity.uid)
    made = await parts.files.run_large(projects.change, project_id, body.given(), parts.files.now(), if_match)
    return document_answer(made)


@router.delete("/api/projects/{project_id}", status_code=204, responses=problems(412))
async def delete_project(project_id: ProjectId, parts: PartsOf, identity: Owner, if_match: IfMatch = None) -> None:
    """Puts a project into the recycle bin, with all that is in it."""
    await parts.files.run_large(parts.projects.of(identity.uid).delete, project_id, parts.files.now(), if_match)


@router.get("/api/project-templates", responses=problems())
async def list_templates(parts: PartsOf, identity: Owner) -> list[ProjectTemplate]:
    """What projects can begin with: what came with the server, and what lies in `shared://templates`."""
    return [listed_template(each) for each in await parts.files.run_large(parts.projects.templates().all)]
