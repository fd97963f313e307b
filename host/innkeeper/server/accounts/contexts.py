"""What `GET /api/auth/current` says, in the shape of the mode that the operator wrote."""

from __future__ import annotations

from typing import Any

from innkeeper.server.accounts.shapes import (
    Context,
    LocalNoPassword,
    LocalUser,
    LocalWithPassword,
    MultiUser,
    MultiUserShared,
    SingleUser,
    SomeUser,
    avatar_url,
    credential_info,
    key_info,
    moment,
)
from innkeeper.server.accounts.users import Accounts
from innkeeper.server.answers import AnswerError
from innkeeper.server.identity import Identity
from innkeeper.storage.accounts_model import User


async def context_of(accounts: Accounts, identity: Identity | None) -> Context:
    """What somebody may know of the server and of themselves.

    Args:
        accounts: the users.
        identity: who asks; None: nobody knows.

    Raises:
        AnswerError: 401: nobody is there where nobody logs in.
    """
    mode, there = accounts.mode, identity is not None
    user = None if identity is None else await _user(accounts, identity)
    if mode == "LocalNoPassword":
        if user is None:
            raise AnswerError(401, "nobody is logged in")
        return LocalNoPassword(mode=mode, current_user=LocalUser(**user))
    if mode == "LocalWithPassword":
        return LocalWithPassword(
            mode=mode,
            is_authenticated_with_global_password=there,
            current_user=None if user is None else LocalUser(**user),
        )
    found = None if user is None else SomeUser(**user)
    if mode == "MultiUserShared":
        return MultiUserShared(mode=mode, is_authenticated=there, current_user=found)
    if mode == "MultiUser":
        missing = await accounts.needs_setup()
        return MultiUser(mode=mode, is_authenticated=there, current_user=found, admin_registration_required=missing)
    password = (await accounts.local_user()).password is not None
    return SingleUser(
        mode=mode,
        # One that others reach is closed in any case.
        access_password_required=password or not accounts.open,
        is_authenticated=there,
        current_user=found,
        global_password_setup_required=not password and not accounts.open,
    )


def said(context: Context) -> dict[str, Any]:
    """A context as it is sent: of a user what there is none of is left out, as ComfyTavern's clients have it."""
    found = context.model_dump(mode="json", by_alias=True)
    return {name: _without_none(value) if name == "currentUser" else value for name, value in found.items()}


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(each) for name, each in value.items() if each is not None}
    return [_without_none(each) for each in value] if isinstance(value, list) else value


async def _user(accounts: Accounts, identity: Identity) -> dict[str, Any]:
    """The fields of a user in either shape; each takes those that it has."""
    user: User = await accounts.users.get(identity.uid) or await accounts.local_user()
    own = identity.may("account")
    keys = await accounts.keys.list(identity.uid) if own else []
    credentials = await accounts.vault.list(identity.uid) if own else []
    older = accounts.mode in ("LocalNoPassword", "LocalWithPassword")
    about: dict[str, Any] = (
        {} if older else {"uid": identity.uid, "is_admin": user.is_admin, "created_at": moment(user.created)}
    )
    return about | {
        "username": user.username,
        "avatar_url": avatar_url(user),
        "service_api_keys": [key_info(key) for key in keys],
        "external_credentials": [credential_info(each) for each in credentials],
    }
