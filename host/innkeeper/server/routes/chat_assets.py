"""Pictures and sounds of a chat."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Final

from fastapi import Path, Request, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from innkeeper.server.answers import AnswerError
from innkeeper.server.cache.etags import conditional, is_known, kept_headers
from innkeeper.server.chats import assets, bounds
from innkeeper.server.chats.assets import ChatAsset
from innkeeper.server.chats.media import KINDS
from innkeeper.server.chats.wire import ProjectAsked
from innkeeper.server.guards.bodies import BoundedRouter, takes
from innkeeper.server.parts import PartsOf
from innkeeper.server.routes.chat_sessions import Reader, responses

router = BoundedRouter(tags=["chats"], prefix="/api/chat/{session}/assets")

_FORM: Final = 16 * 1024
_PIECE: Final = 64 * 1024
"""Bytes of a form beside its file."""

_NOTHING_RUNS: Final = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_UPLOAD: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": _BINARY["schema"]}, "required": ["file"]}
            },
            **dict.fromkeys(sorted(set(KINDS.values())), _BINARY),
        },
    }
}


@router.get("", responses=responses(404, 409, 422, 503))
async def listed(parts: PartsOf, identity: Reader, session: str, project_id: ProjectAsked = None) -> list[ChatAsset]:
    """The assets of a session, the oldest first."""
    return await assets.listed(parts.chats, await parts.chats.place(identity.uid, session, project_id))


@router.post("", status_code=201, responses=responses(400, 404, 409, 413, 415, 422, 503), openapi_extra=_UPLOAD)
@takes(bounds.MOST_ASSET + _FORM)
async def added(
    request: Request, parts: PartsOf, identity: Reader, session: str, project_id: ProjectAsked = None
) -> ChatAsset:
    """Keeps a picture or a sound: the body itself, or the one file of a form. What it is, its bytes say."""
    place = await parts.chats.place(identity.uid, session, project_id)
    data = await request.body()
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        data = await _file(request, data)
    if len(data) > bounds.MOST_ASSET:
        raise AnswerError(413, f"an asset has at most {bounds.MOST_ASSET:,} bytes")
    return await assets.keep(parts.chats, place, data)


@router.get(
    "/{name}",
    response_class=Response,
    responses={
        **responses(404, 409, 413, 422, 503),
        200: {"description": "The bytes.", "content": dict.fromkeys(sorted(set(KINDS.values())), _BINARY)},
        304: {"description": "The client has them."},
    },
)
async def shown(
    request: Request,
    parts: PartsOf,
    identity: Reader,
    session: str,
    name: Annotated[str, Path(max_length=64)],
    project_id: ProjectAsked = None,
) -> Response:
    """An asset."""
    place = await parts.chats.place(identity.uid, session, project_id)
    # Its name is a digest of its bytes.
    tag, modified = f'"{name}"', await assets.modified(parts.chats, place, name)
    if is_known(request.headers, tag, modified):
        # Not read for that.
        return Response(status_code=304, headers={**kept_headers(tag, modified), **_NOTHING_RUNS})
    data, kind, modified = await assets.read(parts.chats, place, name)
    return conditional({}, data, tag, media_type=kind, modified=modified, headers=_NOTHING_RUNS)


@router.delete("/{name}", status_code=204, responses=responses(404, 409, 422, 503))
async def deleted(
    parts: PartsOf,
    identity: Reader,
    session: str,
    name: Annotated[str, Path(max_length=64)],
    project_id: ProjectAsked = None,
) -> None:
    """Deletes an asset."""
    await assets.delete(parts.chats, await parts.chats.place(identity.uid, session, project_id), name)


async def _pieces(data: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]


async def _file(request: Request, data: bytes) -> bytes:
    parser = MultiPartParser(request.headers, _pieces(data), max_files=1, max_fields=8, max_part_size=_FORM)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        # What the parser says may quote the form.
        raise AnswerError(400, "the form cannot be read, or has more than one file") from error
    try:
        for value in form.values():
            if isinstance(value, UploadFile):
                return await value.read()
    finally:
        await form.close()
    raise AnswerError(422, "the form has no file")
