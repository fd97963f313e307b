"""A user's API keys, and the credentials for other services."""

from __future__ import annotations

from fastapi import Response

from innkeeper.server.accounts.keys import new_api_key
from innkeeper.server.accounts.master_key import MasterKeyError
from innkeeper.server.accounts.shapes import (
    GIVEN,
    CredentialBody,
    CredentialInfo,
    Id,
    KeyBody,
    KeyInfo,
    KeyWithSecret,
    credential_info,
    key_info,
)
from innkeeper.server.answers import AnswerError
from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.identity import Caller
from innkeeper.server.parts import PartsOf
from innkeeper.server.routes.auth import NOT_KEPT, by_person
from innkeeper.server.routes.problems import problems
from innkeeper.storage.run_model import TooManyError

router = BoundedRouter(tags=["keys"])


@router.get("/api/users/me/service-keys", responses=problems(401, 403, 503), response_model_exclude_none=True)
async def list_keys(parts: PartsOf, caller: Caller) -> list[KeyInfo]:
    """The API keys of whoever asks, without the keys."""
    caller.require("account")
    return [key_info(key) for key in await parts.accounts.keys.list(caller.uid)]


@router.post(
    "/api/users/me/service-keys",
    status_code=201,
    responses=problems(400, 401, 403, 409, 413, 422, 503),
    response_model_exclude_none=True,
)
async def new_key(body: KeyBody, response: Response, parts: PartsOf, caller: Caller) -> KeyWithSecret:
    """Makes an API key. It is in this answer (`secret`), and is never shown again."""
    by_person(caller)
    scopes = frozenset(body.scopes or GIVEN)
    if "admin" in scopes and not caller.is_admin:
        raise AnswerError(403, "only an administrator's key reaches 'admin'")
    try:
        key, secret = await new_api_key(
            parts.accounts, caller.uid, name=body.name or "", scopes=scopes, lasting=body.expires_in
        )
    except TooManyError as error:
        raise AnswerError(409, f"there are {error.value} API keys already: delete one") from None
    response.headers.update(NOT_KEPT)
    return KeyWithSecret(**key_info(key).model_dump(), secret=secret)


@router.delete("/api/users/me/service-keys/{id}", status_code=204, responses=problems(401, 403, 404, 503))
async def delete_key(id: Id, parts: PartsOf, caller: Caller) -> Response:
    """Revokes one of the API keys of whoever asks, at once."""
    caller.require("account")
    if not await parts.accounts.keys.remove(caller.uid, id):
        raise AnswerError(404, "there is no such API key")
    return Response(status_code=204)


@router.get("/api/users/me/credentials", responses=problems(401, 403, 503), response_model_exclude_none=True)
async def list_credentials(parts: PartsOf, caller: Caller) -> list[CredentialInfo]:
    """The credentials of whoever asks, without what is secret."""
    caller.require("account")
    return [credential_info(each) for each in await parts.accounts.vault.list(caller.uid)]


@router.post(
    "/api/users/me/credentials",
    status_code=201,
    responses=problems(400, 401, 403, 409, 413, 422, 503),
    response_model_exclude_none=True,
)
async def new_credential(body: CredentialBody, parts: PartsOf, caller: Caller) -> CredentialInfo:
    """Keeps a credential, encrypted. No answer ever has it."""
    caller.require("account")
    secret = body.credential.get_secret_value()
    if any("\ud800" <= each <= "\udfff" for each in secret):
        raise AnswerError(422, "this is no text of Unicode")
    try:
        made = await parts.accounts.vault.add(caller.uid, body.service_name, body.display_name or "", secret)
    except TooManyError as error:
        raise AnswerError(409, f"there are {error.value} credentials already: delete one") from None
    except MasterKeyError:
        raise AnswerError(503, "the server has no master key that fits: its operator must look at it") from None
    return credential_info(made)


@router.delete("/api/users/me/credentials/{id}", status_code=204, responses=problems(401, 403, 404, 503))
async def delete_credential(id: Id, parts: PartsOf, caller: Caller) -> Response:
    """Deletes one of the credentials of whoever asks."""
    caller.require("account")
    if not await parts.accounts.vault.remove(caller.uid, id):
        raise AnswerError(404, "there is no such credential")
    return Response(status_code=204)
