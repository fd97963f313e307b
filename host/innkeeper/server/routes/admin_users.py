"""What administrators do with users: see them, change their role, keep them out, invite them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from innkeeper.server.accounts.shapes import (
    Id,
    InvitationInfo,
    InvitationWithToken,
    InviteBody,
    UserChange,
    UserInfo,
    invitation_info,
    user_info,
)
from innkeeper.server.accounts.signing_in import invite
from innkeeper.server.answers import AnswerError
from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.identity import Administrator
from innkeeper.server.parts import PartsOf
from innkeeper.server.routes.auth import NOT_KEPT, by_person
from innkeeper.server.routes.problems import problems

router = BoundedRouter(tags=["administration"])


@router.get("/api/admin/users", responses=problems(401, 403, 503))
async def list_users(
    parts: PartsOf, caller: Administrator, after: Annotated[str, Query(max_length=64, pattern="^[0-9A-Za-z_-]*$")] = ""
) -> list[UserInfo]:
    """Users in the order of their ids, 200 at most; `after` is the last id of the page before."""
    return [user_info(user) for user in await parts.accounts.users.list(after=after)]


@router.patch("/api/admin/users/{uid}", responses=problems(400, 401, 403, 404, 409, 413, 422, 503))
async def change_user(uid: Id, body: UserChange, parts: PartsOf, caller: Administrator) -> UserInfo:
    """Changes whether a user is an administrator, or is disabled: then nothing lets them in, at once."""
    done = await parts.accounts.users.change(uid, is_admin=body.is_admin, disabled=body.disabled)
    if done == "last":
        raise AnswerError(409, "there would be no administrator left")
    user = await parts.accounts.users.get(uid)
    if done == "unknown" or user is None:
        raise AnswerError(404, "there is no such user")
    return user_info(user)


@router.get("/api/admin/invitations", responses=problems(401, 403, 503))
async def list_invitations(parts: PartsOf, caller: Administrator) -> list[InvitationInfo]:
    """Invitations that nobody has taken yet, without their tokens."""
    return [invitation_info(each) for each in await parts.accounts.invitations.list()]


@router.post("/api/admin/invitations", status_code=201, responses=problems(400, 401, 403, 409, 413, 422, 503))
async def new_invitation(
    body: InviteBody, response: Response, parts: PartsOf, caller: Administrator
) -> InvitationWithToken:
    """Invites one person. The token is in this answer, and is never shown again."""
    by_person(caller)
    if not parts.accounts.several:
        raise AnswerError(409, "this server has one user: there is nobody to invite")
    invitation, token = await invite(parts.accounts, caller.uid, is_admin=body.is_admin, lasting=body.expires_in)
    response.headers.update(NOT_KEPT)
    return InvitationWithToken(**invitation_info(invitation).model_dump(), token=token)


@router.delete("/api/admin/invitations/{id}", status_code=204, responses=problems(401, 403, 404, 503))
async def delete_invitation(id: Id, parts: PartsOf, caller: Administrator) -> Response:
    """Takes an invitation back."""
    if not await parts.accounts.invitations.remove(id):
        raise AnswerError(404, "there is no such invitation")
    return Response(status_code=204)
