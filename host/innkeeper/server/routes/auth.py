"""Who somebody is: logging in and out, registering, and tickets."""

from __future__ import annotations

from typing import Final

from fastapi import Response
from starlette.requests import Request
from starlette.responses import JSONResponse

from innkeeper.server.accounts import signing_in
from innkeeper.server.accounts.contexts import context_of, said
from innkeeper.server.accounts.identifying import address_of, cookie_name, is_https, session_of, source_of
from innkeeper.server.accounts.shapes import Context, LoginBody, PasswordBody, RegisterBody, SetupBody, Ticket
from innkeeper.server.accounts.tickets import LIFE
from innkeeper.server.answers import AnswerError
from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.identity import Caller, Identity
from innkeeper.server.parts import Parts, PartsOf
from innkeeper.server.routes.problems import problems
from innkeeper.storage.accounts_model import User

router = BoundedRouter(tags=["auth"])

NOT_KEPT: Final = {"Cache-Control": "no-store"}
"""Of answers that hold a secret."""


@router.get("/api/auth/current", response_model=Context, responses=problems(401, 429, 503))
async def current(request: Request, parts: PartsOf) -> Response:
    """The server's mode, and who asks: also where nobody is logged in."""
    found = await context_of(parts.accounts, await parts.identify(request))
    return JSONResponse(said(found), headers=NOT_KEPT)


@router.post("/api/auth/login", response_model=Context, responses=problems(400, 401, 409, 413, 422, 429, 503))
async def login(body: LoginBody, request: Request, parts: PartsOf) -> Response:
    """Logs in by a password: sets the cookie of a new session."""
    user = await signing_in.log_in(parts.accounts, body.username, body.password.get_secret_value(), address_of(request))
    return await _entered(parts, user, request, 200)


@router.post(
    "/api/auth/register",
    response_model=Context,
    status_code=201,
    responses=problems(400, 401, 403, 409, 413, 422, 429, 503),
)
async def register(body: RegisterBody, request: Request, parts: PartsOf) -> Response:
    """Makes a user of an invitation, or of the token that the server prints while it has no administrator; logs in."""
    user = await signing_in.register(
        parts.accounts,
        body.username,
        body.password.get_secret_value(),
        body.token.get_secret_value(),
        address_of(request),
    )
    return await _entered(parts, user, request)


@router.post(
    "/api/auth/setup-password",
    response_model=Context,
    status_code=201,
    responses=problems(400, 401, 403, 409, 413, 422, 429, 503),
)
async def setup_password(body: SetupBody, request: Request, parts: PartsOf) -> Response:
    """Sets the first access password of a server with one user, by the token that the server prints; logs in."""
    user = await signing_in.set_up(
        parts.accounts, body.password.get_secret_value(), body.token.get_secret_value(), address_of(request)
    )
    return await _entered(parts, user, request)


@router.post("/api/auth/logout", status_code=204, responses=problems(503))
async def logout(request: Request, parts: PartsOf) -> Response:
    """Ends the session of the cookie, if there is one."""
    hash = session_of(request)
    if hash:
        await parts.accounts.sessions.end(hash)
    return _forgotten(request)


@router.post("/api/auth/logout-all", status_code=204, responses=problems(401, 403, 503))
async def logout_all(request: Request, parts: PartsOf, caller: Caller) -> Response:
    """Ends all sessions of whoever asks."""
    caller.require("account")
    await parts.accounts.sessions.end_all(caller.uid)
    return _forgotten(request)


@router.put("/api/users/me/password", status_code=204, responses=problems(400, 401, 403, 409, 413, 422, 429, 503))
async def change_password(body: PasswordBody, request: Request, parts: PartsOf, caller: Caller) -> Response:
    """Changes the password of whoever asks; all their other sessions end."""
    by_person(caller)
    user = await parts.accounts.users.get(caller.uid)
    if user is None or user.password is None:
        raise AnswerError(409, "there is no password yet: `innkeeper user password` sets one")
    await signing_in.change_password(
        parts.accounts,
        user,
        body.current.get_secret_value(),
        body.password.get_secret_value(),
        address_of(request),
        session_of(request),
    )
    return Response(status_code=204)


@router.post("/api/auth/ticket", responses=problems(401, 429, 503))
async def ticket(request: Request, response: Response, parts: PartsOf, caller: Caller) -> Ticket:
    """A ticket for one WebSocket or event stream, `?ticket=`, where a browser cannot send a header."""
    response.headers.update(NOT_KEPT)
    return Ticket(ticket=parts.accounts.tickets.make(caller.uid, source_of(request, caller)), expires_in=LIFE)


def by_person(caller: Identity) -> None:
    """Refuses an API key where it would make itself last longer, or reach further, than whoever made it said.

    Raises:
        AnswerError: 403.
    """
    if caller.how not in ("session", "local"):
        raise AnswerError(403, "an API key does not do this: log in")


async def _entered(parts: Parts, user: User, request: Request, status: int = 201) -> Response:
    accounts = parts.accounts
    before = session_of(request)
    token = await signing_in.start_session(accounts, user)
    if before:
        # Whoever knew the cookie from before is not logged in by this.
        await accounts.sessions.end(before)
    found = await context_of(accounts, Identity(user.uid, user.username, user.is_admin, "session"))
    response = JSONResponse(said(found), status, NOT_KEPT)
    response.set_cookie(
        cookie_name(request),
        token,
        max_age=int(accounts.longest),
        path="/",
        secure=is_https(request),
        httponly=True,
        samesite="lax",
    )
    return response


def _forgotten(request: Request) -> Response:
    response = Response(status_code=204)
    response.delete_cookie(cookie_name(request), path="/", secure=is_https(request), httponly=True, samesite="lax")
    return response
