"""Who asks: what every route that belongs to somebody begins with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends
from starlette.requests import HTTPConnection

from innkeeper.errors import InnkeeperError, Kind
from innkeeper.server.answers import AnswerError
from innkeeper.server.guards.rates import retry_after
from innkeeper.server.telemetry.present import present

How = Literal["local", "session", "key", "ticket"]
"""By what somebody was recognised: nobody else can be there; a session's cookie; an API key; a ticket."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    Attributes:
        uid: the user's id, which owns what belongs to the user.
        username: for people.
        is_admin: whether the user may do what concerns everybody.
        how: by what the user was recognised.
        scopes: what an API key is limited to; None: nothing, as with a session.
    """

    uid: str
    username: str
    is_admin: bool
    how: How
    scopes: frozenset[str] | None = None

    def may(self, scope: str) -> bool:
        """Whether the key, if it is one, reaches a scope."""
        return self.scopes is None or scope in self.scopes

    def require(self, scope: str) -> None:
        """Refuses a key that does not reach a scope.

        Raises:
            AnswerError: 403.
        """
        if not self.may(scope):
            raise AnswerError(403, f"the API key does not reach {scope!r}")


class UnknownError(InnkeeperError):
    """Nobody knows who asks."""

    kind = Kind.DENIED


Identify = Callable[[HTTPConnection], Awaitable[Identity | None]]
"""Recognises who asks, or gives None. Raises AnswerError(401) where something was shown that is wrong."""


async def current(connection: HTTPConnection) -> Identity:
    """The user who asks.

    Raises:
        AnswerError: 401: nobody knows; 429: the user asks too often.
    """
    parts = connection.app.state.parts
    found = await parts.identify(connection)
    if found is None:
        raise AnswerError(401, "nobody is logged in: log in, or send an API key as 'Authorization: Bearer ctsk_...'")
    identity: Identity = found
    asking = present.get()
    if asking is not None:
        asking.user = identity.uid
    if identity.how != "local":
        late = parts.guards.asks(identity.uid, connection, by_key=identity.how == "key")
        if late:
            raise AnswerError(429, "too many requests: ask less often", headers=retry_after(late))
    return identity


async def administrator(identity: Annotated[Identity, Depends(current)]) -> Identity:
    """The administrator who asks.

    Raises:
        AnswerError: 401, 403: it is none.
    """
    if not identity.is_admin or not identity.may("admin"):
        raise AnswerError(403, "only an administrator may do this")
    return identity


def scoped(scope: str) -> Any:
    """A dependency: the user who asks, whose key reaches the scope."""

    async def reaching(caller: Annotated[Identity, Depends(current)]) -> Identity:
        caller.require(scope)
        return caller

    return Depends(reaching)


Caller = Annotated[Identity, Depends(current)]
Administrator = Annotated[Identity, Depends(administrator)]
