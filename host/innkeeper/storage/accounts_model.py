"""Users, and what says who somebody is, as the stores give them. Times are in seconds since 1970."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Final

MOST_USERS: Final = 10_000
"""Users of a database."""

MOST_KEYS: Final = 50
"""API keys of a user."""

MOST_CREDENTIALS: Final = 100
"""Credentials of a user."""

MOST_SESSIONS: Final = 50
"""Sessions of a user; the oldest goes for another one."""

MOST_INVITATIONS: Final = 200
"""Invitations that nobody has taken yet."""

MOST_NAME: Final = 64
"""Characters of a user's name."""

SETUP: Final = "setup"
"""The id of the one invitation that makes the first administrator, or sets the access password."""


class TakenError(Exception):
    """Another user has this name."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody.

    Attributes:
        uid: the id; the owner of what is theirs.
        username: for people; at most `MOST_NAME` characters.
        is_admin: whether they may do what concerns everybody.
        disabled: whether nothing lets them in.
        password: its argon2id hash, or None.
        avatar: sha256 of their picture, hexadecimal, or None.
        created: when.
    """

    uid: str
    username: str
    is_admin: bool
    disabled: bool
    password: str | None = field(repr=False)
    avatar: str | None
    created: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A user's picture.

    Attributes:
        digest: its sha256, hexadecimal.
        type: its media type.
        body: its bytes.
    """

    digest: str
    type: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, without the key itself.

    Attributes:
        id, owner, name: of it; the name may be "".
        prefix: its first characters.
        hashed: its argon2id hash.
        scopes: what it reaches.
        created: when.
        ends: when it ends; None: never.
        used: when it was last used, or a little before; None: never.
    """

    id: str
    owner: str
    name: str
    prefix: str
    hashed: str = field(repr=False)
    scopes: frozenset[str]
    created: float
    ends: float | None = None
    used: float | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """What a user can log in with elsewhere, without the secret itself.

    Attributes:
        id, owner: of it.
        service: where, as the user calls it.
        name: as the user calls it; may be "".
        first, last: characters of a long secret by which its user knows it; "" of others.
        created: when.
    """

    id: str
    owner: str
    service: str
    name: str
    first: str
    last: str
    created: float


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is logged in.

    Attributes:
        hash: sha256 of its token, hexadecimal.
        owner: who.
        seen: when it was last used, or a little before.
        ends: when it ends in any case.
    """

    hash: str
    owner: str
    seen: float
    ends: float


@dataclass(frozen=True, slots=True)
class Invitation:
    """The right of one person to become a user.

    Attributes:
        id: of it.
        owner: who invited.
        is_admin: whether the user will be an administrator.
        created, ends: when it was made, and when it ends.
    """

    id: str
    owner: str
    is_admin: bool
    created: float
    ends: float


def checked_name(text: str) -> str:
    """A user's name as it is kept (str): without spaces around it, composed.

    Raises:
        ValueError: it is none. The message does not show it.
    """
    if len(text) > 4 * MOST_NAME:
        raise ValueError(f"the user name is longer than {MOST_NAME} characters")
    name = unicodedata.normalize("NFC", text).strip()
    if not name:
        raise ValueError("the user name is empty")
    if len(name) > MOST_NAME:
        raise ValueError(f"the user name is longer than {MOST_NAME} characters")
    # No controls, marks of direction, halves of pairs and private characters: nobody sees them.
    if any(unicodedata.category(each) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for each in name):
        raise ValueError("the user name has a character that is not shown")
    return name


def name_key(name: str) -> str:
    """What two names have in common that people take for the same (str): case and width do not count."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())
