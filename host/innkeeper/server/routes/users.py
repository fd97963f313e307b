"""What a user says of themselves: a name and a picture."""

from __future__ import annotations

from fastapi import Response
from starlette.requests import Request

from innkeeper.server.accounts.pictures import FORM, picture_of
from innkeeper.server.accounts.shapes import Avatar, Id, NameBody, avatar_url
from innkeeper.server.answers import AnswerError
from innkeeper.server.guards.bodies import BoundedRouter, takes
from innkeeper.server.identity import Caller
from innkeeper.server.parts import Parts, PartsOf
from innkeeper.server.routes.problems import problems
from innkeeper.storage.accounts_model import TakenError, checked_name
from innkeeper.storage.run_model import USER

router = BoundedRouter(tags=["users"])

_FORM = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"avatar": {"type": "string", "format": "binary"}},
                "required": ["avatar"],
            }
        }
    },
}


@router.put("/api/users/me/username", responses=problems(400, 401, 403, 404, 409, 413, 422, 503))
async def rename(body: NameBody, parts: PartsOf, caller: Caller) -> NameBody:
    """Changes the name of whoever asks."""
    caller.require("account")
    try:
        name = checked_name(body.username)
    except ValueError as error:
        raise AnswerError(422, str(error)) from None
    await _kept(parts, caller.uid)
    try:
        if not await parts.accounts.users.rename(caller.uid, name):
            raise AnswerError(404, "this user is gone")
    except TakenError:
        raise AnswerError(409, "another user has this name: choose another one") from None
    return NameBody(username=name)


@router.post(
    "/api/users/me/avatar",
    responses=problems(400, 401, 403, 404, 408, 413, 415, 503),
    openapi_extra={"requestBody": _FORM},
)
@takes(FORM)
async def put_avatar(request: Request, parts: PartsOf, caller: Caller) -> Avatar:
    """Takes a picture (PNG, JPEG, WebP or GIF, 5 MB at most) of whoever asks, in place of the one before."""
    caller.require("account")
    picture = await picture_of(request)
    await _kept(parts, caller.uid)
    if not await parts.accounts.users.set_picture(caller.uid, picture):
        raise AnswerError(404, "this user is gone")
    user = await parts.accounts.users.get(caller.uid)
    url = None if user is None else avatar_url(user)
    if url is None:
        raise AnswerError(404, "this user is gone")
    return Avatar(avatar_url=url)


@router.delete("/api/users/me/avatar", status_code=204, responses=problems(401, 403, 503))
async def delete_avatar(parts: PartsOf, caller: Caller) -> Response:
    """Forgets the picture of whoever asks."""
    caller.require("account")
    await parts.accounts.users.set_picture(caller.uid, None)
    return Response(status_code=204)


@router.get(
    "/api/users/{uid}/avatar",
    response_class=Response,
    responses=problems(401, 404, 503)
    | {
        200: {"content": {f"image/{kind}": {} for kind in ("png", "jpeg", "webp", "gif")}, "description": "OK"},
        304: {"description": "Not Modified"},
    },
)
async def avatar(uid: Id, request: Request, parts: PartsOf, caller: Caller) -> Response:
    """A user's picture, for whoever is logged in."""
    # "me" is no id of a user.
    user = await parts.accounts.users.get(caller.uid if uid == "me" else uid)
    if user is None or user.avatar is None or (not parts.accounts.several and user.uid != caller.uid):
        raise AnswerError(404, "there is no such picture")
    headers = {
        "ETag": f'"{user.avatar}"',
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        # Whatever is behind its first bytes, a browser makes no page of it.
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-site",
    }
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if headers["ETag"] in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    picture = await parts.accounts.users.picture(user.uid)
    if picture is None:
        raise AnswerError(404, "there is no such picture")
    headers["ETag"] = f'"{picture.digest}"'
    return Response(picture.body, media_type=picture.type, headers=headers)


async def _kept(parts: Parts, uid: str) -> None:
    """The user of the single-user modes is kept once there is something to keep."""
    if uid == USER and not parts.accounts.several:
        await parts.accounts.users.ensure_local((await parts.accounts.local_user()).username)
