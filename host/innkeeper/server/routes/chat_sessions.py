"""Sessions of chats: listed, made, described, deleted, and taken along as files."""

from __future__ import annotations

from typing import Annotated, Any, Final

import trio
from fastapi import APIRouter, Query, Request, Response

from innkeeper.server.answers import AnswerError
from innkeeper.server.chats import bounds
from innkeeper.server.chats.edits import describe
from innkeeper.server.chats.exports import exported
from innkeeper.server.chats.imports import brought
from innkeeper.server.chats.model import ChatHistoryTree
from innkeeper.server.chats.names import ProjectId, is_project
from innkeeper.server.chats.places import new_tree
from innkeeper.server.chats.sessions import ChatSession, summary
from innkeeper.server.chats.wire import (
    ExportAsked,
    Match,
    NewSession,
    ProjectAsked,
    SessionChange,
    Version,
    check_extra,
    version_of,
)
from innkeeper.server.guards.bodies import bounded_route, parsed, takes
from innkeeper.server.identity import Identity, scoped
from innkeeper.server.models import Problem
from innkeeper.server.parts import PartsOf

router = APIRouter(tags=["chats"], prefix="/api/chat/sessions", route_class=bounded_route(bounds.REQUEST))

Reader = Annotated[Identity, scoped("files")]

STATUSES: Final = {
    400: "The body is no JSON, or lies too deep.",
    401: "Nobody is logged in.",
    403: "The key does not reach chats.",
    404: "There is no such session, project or message.",
    409: "The chat has another version by now: `details.version`.",
    413: "It is more than is taken.",
    415: "The body is of another kind.",
    422: "It does not fit, or the file is no chat.",
    428: "A change says the version from which it was made.",
    503: "Somebody else is at it: try again.",
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route of chats answers where it cannot do what it is asked: always 401 and 403, and these."""
    return {status: {"model": Problem, "description": STATUSES[status]} for status in sorted({401, 403, *statuses})}


_CHANGES: Final = responses(400, 404, 409, 413, 415, 422, 428, 503)


@router.get(
    "",
    responses={
        **responses(404, 422, 503),
        200: {
            "description": "Sessions of the project.",
            "headers": {"X-Total-Count": {"description": "How many there are.", "schema": {"type": "integer"}}},
        },
    },
)
async def listed(
    parts: PartsOf,
    identity: Reader,
    response: Response,
    project_id: Annotated[ProjectId, Query(alias="projectId")],
    offset: Annotated[int, Query(ge=0, le=bounds.MOST_SESSIONS)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> list[ChatSession]:
    """Sessions of a project, the one that changed last first. One whose file is no chat has an `error`."""
    found, total = await parts.chats.sessions(identity.uid, project_id, offset, limit)
    response.headers["X-Total-Count"] = str(total)
    return found


@router.post("", status_code=201, responses=responses(400, 404, 413, 415, 422, 503))
async def created(parts: PartsOf, identity: Reader, asked: NewSession) -> ChatSession:
    """Makes a session without messages."""
    check_extra(asked.settings)
    metadata = asked.model_dump(by_alias=True, exclude={"project_id"}, exclude_none=True)
    place = await parts.chats.create(identity.uid, asked.project_id, lambda session: new_tree(session, metadata))
    return summary(place.project, (await parts.chats.read(place)).tree, place.session)


@router.post(
    "/import",
    status_code=201,
    responses=responses(400, 404, 413, 422, 503),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}},
)
@takes(bounds.FILE.size, bounds.FILE.depth, bounds.FILE.elements)
async def imported(request: Request, parts: PartsOf, identity: Reader, project_id: ProjectAsked = None) -> ChatSession:
    """Takes a chat in that was exported as JSON: by itself with the query's `projectId`, or as `tree` beside
    `projectId`. All of it is kept, fields that are not known here as well; only a session's id that is taken is
    another one afterwards."""
    body = await parsed(await request.body(), bounds.FILE)
    named, wanted, made = brought(body)
    project = project_id or named
    if project is None or not is_project(project):
        raise AnswerError(422, "say with projectId into which project the chat goes")
    place = await parts.chats.create(identity.uid, project, made, wanted)
    return summary(place.project, (await parts.chats.read(place)).tree, place.session)


@router.delete("/{session}", status_code=204, responses=responses(404, 409, 422, 428, 503))
async def deleted(
    parts: PartsOf,
    identity: Reader,
    session: str,
    project_id: ProjectAsked = None,
    version: Annotated[Version | None, Query(strict=False)] = None,
    match: Match = None,
) -> None:
    """Moves a session to the user's recycle bin."""
    place = await parts.chats.place(identity.uid, session, project_id)
    await parts.chats.delete(place, version_of(version, match))


@router.put("/{session}/metadata", responses=_CHANGES)
async def described(
    parts: PartsOf,
    identity: Reader,
    session: str,
    asked: SessionChange,
    project_id: ProjectAsked = None,
    match: Match = None,
) -> ChatSession:
    """Changes what is known of a session; what is not named stays."""
    check_extra(asked.settings)
    fields = asked.model_dump(exclude_unset=True, exclude={"version", "name"})
    if "name" in asked.model_fields_set and "title" not in fields:
        fields["title"] = asked.name

    def edit(tree: ChatHistoryTree) -> ChatHistoryTree:
        return describe(tree, fields)

    place = await parts.chats.place(identity.uid, session, project_id)
    kept = await parts.chats.change(place, version_of(asked, match), edit)
    return summary(place.project, kept.tree, place.session)


@router.post(
    "/{session}/export",
    response_class=Response,
    responses={
        **responses(400, 404, 413, 415, 422, 503),
        200: {
            "description": "The chat as a file.",
            "content": {kind: {} for kind in ("application/json", "text/csv", "text/plain", "text/markdown")},
        },
    },
)
async def given(
    parts: PartsOf, identity: Reader, session: str, asked: ExportAsked, project_id: ProjectAsked = None
) -> Response:
    """A chat as a file: `json` is lossless, `csv` has every message, `text` and `markdown` the way to the active
    leaf."""
    kept = await parts.chats.read(await parts.chats.place(identity.uid, session, project_id))
    found = await trio.to_thread.run_sync(exported, kept, asked.format, limiter=parts.chats.limiter)
    return Response(
        found.data,
        media_type=found.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="chat-{session}.{found.ending}"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        },
    )
