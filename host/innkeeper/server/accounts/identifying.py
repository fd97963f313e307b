"""Recognises who asks: by a ticket, an API key, a session's cookie, or because nobody else can be there."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import trio
from starlette.requests import HTTPConnection

from innkeeper.errors import BusyError
from innkeeper.server.accounts.tickets import Source
from innkeeper.server.accounts.tokens import KEY, PREFIX, TOKEN, hash_of
from innkeeper.server.accounts.tries import network_of
from innkeeper.server.accounts.users import Accounts
from innkeeper.server.answers import AnswerError
from innkeeper.server.identity import Identity
from innkeeper.storage.accounts_model import ApiKey, User
from innkeeper.storage.run_model import USER

logger = logging.getLogger("innkeeper.server.accounts")

VERIFIED: Final = 1024
"""API keys whose hash was compared and is not compared again: only that the key is still there is looked up."""

STREAMS: Final = ("/api/stream/",)
"""Paths of event streams, which a browser opens without headers."""

_LATE = 300.0
"""Seconds after which it is written down again that a session or a key is used: not with each request."""

_Found = tuple[ApiKey, User | None]


class Identifying:
    """Recognises who asks: the `Identify` of a server with users.

    Guarantees: a key, session or ticket that is wrong, has ended or was taken back is refused the same way, and users
    who are disabled with it. A key is compared with one hash, whether its prefix is known or not.
    """

    def __init__(self, accounts: Accounts) -> None:
        """Args:
        accounts: the users.
        """
        self._accounts = accounts
        self._verified: OrderedDict[str, str] = OrderedDict()
        self._verifying: dict[str, trio.Event] = {}

    async def __call__(self, connection: HTTPConnection) -> Identity | None:
        """Who asks, or None where nothing was shown.

        Raises:
            AnswerError: 401: what was shown is wrong; 429: too many were.
            BusyError: too many log in at the same time.
        """
        ticket = connection.query_params.get("ticket")
        if ticket is not None and _takes_ticket(connection):
            return await self._by_ticket(ticket)
        key = bearer_of(connection)
        if key is not None:
            return await self._by_key(key, address_of(connection))
        if self._accounts.mode == "LocalNoPassword":
            return await self._local()
        session = session_of(connection)
        found = await self._of_session(session) if session else None
        return await self._local() if found is None and self._accounts.open else found

    async def _local(self) -> Identity | None:
        user = await self._accounts.local_user()
        if self._accounts.mode != "LocalNoPassword" and user.password is not None:
            return None
        return Identity(USER, user.username, True, "local")

    async def _of_session(self, hash: str) -> Identity | None:
        accounts, found = self._accounts, await self._accounts.sessions.find(hash)
        if found is None:
            return None
        session, user = found
        now, idle = accounts.now(), accounts.idle
        if now >= session.ends or now - session.seen > idle or not self._is_in(user.uid, user):
            return None
        if now - session.seen > min(_LATE, idle / 10):
            # Who asks is answered also where the database is busy.
            with suppress(BusyError):
                await accounts.sessions.touch(hash)
        return Identity(user.uid, user.username, user.is_admin, "session")

    async def _by_key(self, token: str, address: str) -> Identity:
        if KEY.fullmatch(token) is None:
            raise _wrong()
        digest = hash_of(token)
        while True:
            found = await self._accounts.keys.of_prefix(token[:PREFIX])
            known = self._verified.get(digest)
            match = next((each for each in found if each[0].hashed == known), None)
            if match is not None:
                break
            other = self._verifying.get(digest)
            if other is None:
                match = await self._verify(token, digest, found, address)
                break
            # Many requests at once with a key that is right are one try, and not as many.
            await other.wait()
        key, user = match
        identity = self._of_key(key, user)
        if key.used is None or self._accounts.now() - key.used > _LATE:
            with suppress(BusyError):
                await self._accounts.keys.touch(key.id, _LATE)
        return identity

    async def _verify(self, token: str, digest: str, found: Sequence[_Found], address: str) -> _Found:
        self._verifying[digest] = trio.Event()
        try:
            match = await self._compared(token, found, address)
        finally:
            self._verifying.pop(digest).set()
        self._verified[digest] = match[0].hashed
        self._verified.move_to_end(digest)
        if len(self._verified) > VERIFIED:
            self._verified.popitem(last=False)
        return match

    async def _compared(self, token: str, found: Sequence[_Found], address: str) -> _Found:
        tried = self._accounts.tries.begin(address, None)
        try:
            for each in found:
                if await self._accounts.key_hashes.fits(each[0].hashed, token):
                    tried.succeeded()
                    return each
            if not found:
                await self._accounts.key_hashes.fits(None, token)
        except BaseException:
            # Busy, or the client went away: nobody knows whether it was right.
            tried.undone()
            raise
        logger.warning("an API key was wrong, from %s", network_of(address))
        raise _wrong()

    def _of_key(self, key: ApiKey, user: User | None) -> Identity:
        if (key.ends is not None and self._accounts.now() >= key.ends) or not self._is_in(key.owner, user):
            raise _wrong()
        name, admin = (key.owner, True) if user is None else (user.username, user.is_admin)
        return Identity(key.owner, name, admin, "key", key.scopes)

    async def _by_ticket(self, ticket: str) -> Identity:
        source = self._accounts.tickets.take(ticket) if TOKEN.fullmatch(ticket) else None
        found = None if source is None else await self._still(source)
        if found is None:
            raise AnswerError(401, "the ticket is wrong, was used, or is too old: ask for another one")
        return replace(found, how="ticket")

    async def _still(self, source: Source) -> Identity | None:
        """Who had what a ticket was made for, if it still counts."""
        if source.how == "local":
            return await self._local() if self._accounts.open else None
        if source.how == "session":
            return await self._of_session(source.hash)
        known = self._verified.get(source.hash)
        for key, user in await self._accounts.keys.of_prefix(source.prefix):
            if key.hashed == known:
                with suppress(AnswerError):
                    return self._of_key(key, user)
        return None

    def _is_in(self, uid: str, user: User | None) -> bool:
        """Whether somebody may use a server of this mode at all."""
        if not self._accounts.several:
            return uid == USER and (user is None or not user.disabled)
        return user is not None and not user.disabled


def _wrong() -> AnswerError:
    return AnswerError(
        401, "the API key is wrong, has ended, or was revoked", headers={"WWW-Authenticate": 'Bearer realm="innkeeper"'}
    )


def _takes_ticket(connection: HTTPConnection) -> bool:
    return connection.scope["type"] == "websocket" or (
        connection.scope["method"] == "GET" and connection.url.path.startswith(STREAMS)
    )


def address_of(connection: HTTPConnection) -> str:
    """The address that a request comes from (str); behind a proxy the proxy's."""
    return connection.client.host if connection.client is not None else ""


def bearer_of(connection: HTTPConnection) -> str | None:
    """What a request shows as an API key (str), or None."""
    scheme, _, word = connection.headers.get("authorization", "").partition(" ")
    return word.strip() if scheme.lower() == "bearer" else None


def session_of(connection: HTTPConnection) -> str:
    """The hash of the session that a request's cookie names (str), or ""."""
    token = connection.cookies.get(cookie_name(connection), "")
    return hash_of(token) if TOKEN.fullmatch(token) else ""


def source_of(connection: HTTPConnection, identity: Identity) -> Source:
    """By what somebody was recognised, for a ticket."""
    if identity.how == "session":
        return Source("session", session_of(connection))
    key = bearer_of(connection) or ""
    return Source("key", hash_of(key), key[:PREFIX]) if identity.how == "key" else Source("local")


def is_https(connection: HTTPConnection) -> bool:
    """Whether the browser speaks https (bool): to this server, or to a proxy whose word counts."""
    return connection.scope.get("scheme") in ("https", "wss")


def cookie_name(connection: HTTPConnection) -> str:
    """The name of a session's cookie (str). With https it is one that only this very host can have set."""
    return "__Host-innkeeper" if is_https(connection) else "innkeeper"
