"""Character cards: the gallery, and its pictures."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Path, Query, Request, Response

from innkeeper.server.cache.etags import conditional, etag_of_file, is_known, kept_headers
from innkeeper.server.characters.entry import ApiCharacterEntry
from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.identity import Identity, scoped
from innkeeper.server.models import Problem
from innkeeper.server.parts import PartsOf

router = BoundedRouter(tags=["characters"], prefix="/api/characters")

Reader = Annotated[Identity, scoped("files")]

_STATUSES: Final = {
    400: "The name cannot be one.",
    401: "Nobody is logged in.",
    403: "The key does not reach characters.",
    404: "There is no such picture.",
    409: "What lies there is a link.",
    415: "The file is no picture.",
    422: "It does not fit, or the file is too large.",
}


_BINARY: Final = {"type": "string", "format": "binary"}


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {each: {"model": Problem, "description": _STATUSES[each]} for each in sorted({401, 403, *statuses})}


@router.get("", responses=_responses(409, 422))
async def listed(
    parts: PartsOf,
    identity: Reader,
    offset: Annotated[int, Query(ge=0, le=10_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 1_000,
) -> list[ApiCharacterEntry]:
    """The cards in `user://library/SillyTavern/CharacterCard`, by name of their files. One that cannot be read has an
    `error`."""
    return await parts.characters.listed(identity.uid, offset, limit)


@router.get(
    "/image/{name}",
    response_class=Response,
    responses={
        **_responses(400, 404, 409, 415, 422),
        200: {
            "description": "The picture.",
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "The client has it."},
    },
)
async def image(
    request: Request, parts: PartsOf, identity: Reader, name: Annotated[str, Path(min_length=1, max_length=255)]
) -> Response:
    """The picture of a card."""
    stamp = await parts.characters.image_stamp(identity.uid, name)
    tag = etag_of_file(stamp.modified, stamp.size, stamp.inode)
    if is_known(request.headers, tag, stamp.modified):
        # Not read for that.
        headers = {**kept_headers(tag, stamp.modified), "X-Content-Type-Options": "nosniff"}
        return Response(status_code=304, headers=headers)
    data, kind, stamp = await parts.characters.image(identity.uid, name)
    return conditional(
        {},
        data,
        etag_of_file(stamp.modified, stamp.size, stamp.inode),
        media_type=kind,
        modified=stamp.modified,
        headers={"Content-Security-Policy": "sandbox; default-src 'none'"},
    )
