"""What routes about users take and give, as ComfyTavern's clients know it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_camel

from innkeeper.server.accounts.passwords import LONGEST as LONGEST_PASSWORD
from innkeeper.server.accounts.vault import LONGEST as LONGEST_CREDENTIAL
from innkeeper.storage.accounts_model import MOST_NAME, ApiKey, Credential, Invitation, User

SCOPES = ("runs", "files", "nodes", "account", "admin")
"""What an API key can reach."""

GIVEN = ("runs", "files", "nodes")
"""What one reaches where nobody says: neither its user's other keys and credentials, nor what is everybody's."""

Scope = Literal["runs", "files", "nodes", "account", "admin"]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=LONGEST_PASSWORD)]
Token = Annotated[SecretStr, Field(min_length=1, max_length=64)]
Id = Annotated[str, Path(max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
UserName = Annotated[str, Field(min_length=1, max_length=MOST_NAME)]


def _shown(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it has a character that is not shown")
    return text


Label = Annotated[str, Field(max_length=100), AfterValidator(_shown)]


class Wire(BaseModel):
    """What is sent; names are in camel case there."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Body(Wire):
    """What is taken. What a client adds of its own counts for nothing."""

    model_config = ConfigDict(hide_input_in_errors=True)


class KeyInfo(Wire):
    """An API key, without the key."""

    id: str
    name: str | None = None
    prefix: str
    scopes: list[str]
    created_at: str
    last_used_at: str | None = None
    expires_at: str | None = None


class KeyWithSecret(KeyInfo):
    """An API key, the one time that it is shown."""

    secret: str


class Hint(Wire):
    """By what its user knows a credential."""

    prefix: str
    suffix: str


class CredentialInfo(Wire):
    """A credential, without what is secret."""

    id: str
    service_name: str
    display_name: str | None = None
    display_hint: Hint | None = None
    created_at: str


class LocalUser(Wire):
    """The user of the single-user modes, in the older shape."""

    id: Literal["default_user"] = "default_user"
    username: str
    avatar_url: str | None = None
    service_api_keys: list[KeyInfo]
    external_credentials: list[CredentialInfo]


class SomeUser(Wire):
    """A user."""

    uid: str
    username: str
    is_admin: bool
    created_at: str
    avatar_url: str | None = None
    service_api_keys: list[KeyInfo]
    external_credentials: list[CredentialInfo]


class LocalNoPassword(Wire):
    mode: Literal["LocalNoPassword"]
    multi_user_mode: Literal[False] = False
    access_password_required: Literal[False] = False
    is_authenticated: Literal[True] = True
    current_user: LocalUser


class LocalWithPassword(Wire):
    mode: Literal["LocalWithPassword"]
    multi_user_mode: Literal[False] = False
    access_password_required: Literal[True] = True
    is_authenticated_with_global_password: bool
    current_user: LocalUser | None


class MultiUserShared(Wire):
    mode: Literal["MultiUserShared"]
    multi_user_mode: Literal[True] = True
    is_authenticated: bool
    current_user: SomeUser | None


class SingleUser(Wire):
    mode: Literal["SingleUser"]
    multi_user_mode: Literal[False] = False
    access_password_required: bool
    is_authenticated: bool
    current_user: SomeUser | None
    global_password_setup_required: bool


class MultiUser(Wire):
    mode: Literal["MultiUser"]
    multi_user_mode: Literal[True] = True
    is_authenticated: bool
    current_user: SomeUser | None
    admin_registration_required: bool


Context = Annotated[
    LocalNoPassword | LocalWithPassword | MultiUserShared | SingleUser | MultiUser, Field(discriminator="mode")
]
"""What a client learns of the server's mode and of who it is."""


class InvitationInfo(Wire):
    """An invitation that nobody has taken yet, without its token."""

    id: str
    invited_by: str
    is_admin: bool
    created_at: str
    expires_at: str


class InvitationWithToken(InvitationInfo):
    """An invitation, the one time that its token is shown."""

    token: str


class UserInfo(Wire):
    """A user, for administrators."""

    uid: str
    username: str
    is_admin: bool
    disabled: bool
    has_password: bool
    created_at: str


class LoginBody(Body):
    username: Annotated[str, Field(max_length=MOST_NAME)] = ""
    password: Secret


class RegisterBody(Body):
    username: UserName
    password: Secret
    token: Token


class SetupBody(Body):
    password: Secret
    token: Token


class PasswordBody(Body):
    current: Secret
    password: Secret


class NameBody(Body):
    username: UserName


class KeyBody(Body):
    name: Label | None = None
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(SCOPES))] | None = None
    expires_in: Annotated[float, Field(gt=0, le=3.2e9, description="seconds from now")] | None = None


class CredentialBody(Body):
    service_name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_shown)]
    credential: Annotated[SecretStr, Field(min_length=1, max_length=LONGEST_CREDENTIAL)]
    display_name: Label | None = None


class InviteBody(Body):
    is_admin: bool = False
    expires_in: Annotated[float, Field(gt=0, le=2_592_000, description="seconds from now")] = 604_800.0


class UserChange(Body):
    is_admin: bool | None = None
    disabled: bool | None = None


class Avatar(Wire):
    avatar_url: str


class Ticket(Wire):
    ticket: str
    expires_in: float


def moment(at: float) -> str:
    """A time as ISO 8601 has it (str), in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def key_info(key: ApiKey) -> KeyInfo:
    """An API key as clients know it."""
    return KeyInfo(
        id=key.id,
        name=key.name or None,
        prefix=key.prefix,
        scopes=sorted(key.scopes),
        created_at=moment(key.created),
        last_used_at=None if key.used is None else moment(key.used),
        expires_at=None if key.ends is None else moment(key.ends),
    )


def credential_info(credential: Credential) -> CredentialInfo:
    """A credential as clients know it."""
    hint = Hint(prefix=credential.first, suffix=credential.last) if credential.first else None
    return CredentialInfo(
        id=credential.id,
        service_name=credential.service,
        display_name=credential.name or None,
        display_hint=hint,
        created_at=moment(credential.created),
    )


def invitation_info(invitation: Invitation) -> InvitationInfo:
    """An invitation as administrators know it."""
    return InvitationInfo(
        id=invitation.id,
        invited_by=invitation.owner,
        is_admin=invitation.is_admin,
        created_at=moment(invitation.created),
        expires_at=moment(invitation.ends),
    )


def user_info(user: User) -> UserInfo:
    """A user as administrators know them."""
    return UserInfo(
        uid=user.uid,
        username=user.username,
        is_admin=user.is_admin,
        disabled=user.disabled,
        has_password=user.password is not None,
        created_at=moment(user.created),
    )


def avatar_url(user: User) -> str | None:
    """Where a user's picture is (str), or None. Another picture has another address."""
    return None if user.avatar is None else f"/api/users/{user.uid}/avatar?v={user.avatar[:16]}"
