"""Sessions and API keys: what says who somebody is, found by a hash or a prefix, never by the secret itself."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from innkeeper.storage.accounts_model import MOST_KEYS, MOST_SESSIONS, ApiKey, Session, User
from innkeeper.storage.accounts_schema import service_api_keys, sessions, users
from innkeeper.storage.accounts_users import COLUMNS, as_user
from innkeeper.storage.database import Database
from innkeeper.storage.run_model import TooManyError

_STEP = 256
_CANDIDATES: Final = 4
"""Keys of one prefix that are looked at. By chance two of them have one once in 2^24 keys."""


class SessionStore:
    """Sessions by the hash of their token. All methods raise what `Database.write` and `Database.read` raise."""

    def __init__(self, db: Database, *, now: Callable[[], float] = time.time) -> None:
        """Args:
        db: where they are kept.
        now: seconds since 1970; called from any thread.
        """
        self._db = db
        self._now = now

    async def add(self, session: Session, password: str | None) -> bool:
        """Keeps a session; those that have ended go, and the oldest where there are too many of its user.

        Args:
            password: the hash with which the user logged in; where it is another one meanwhile, or the user is
                disabled or gone, nothing is kept, and this is False.
        """
        its = select(users.c.password, users.c.disabled).where(users.c.owner == session.owner)

        def write(connection: Connection) -> bool:
            # To be changed: on PostgreSQL who changes the password comes before, or ends this session, too.
            user = connection.execute(its.with_for_update()).first()
            if user is None or user.disabled or user.password != password:
                return False
            c = sessions.c
            old = select(c.hash).where(c.ends <= self._now()).order_by(c.ends).limit(_STEP)
            connection.execute(delete(sessions).where(c.hash.in_(old)))
            own = select(c.hash).where(c.owner == session.owner).order_by(c.created.desc(), c.hash)
            surplus = [*connection.scalars(own.offset(MOST_SESSIONS - 1).limit(_STEP))]
            connection.execute(delete(sessions).where(c.hash.in_(surplus)))
            values = {"hash": session.hash, "owner": session.owner, "created": session.seen}
            connection.execute(insert(sessions).values(**values, seen=session.seen, ends=session.ends))
            return True

        return await self._db.write(write)

    async def find(self, hash: str) -> tuple[Session, User] | None:
        """A session and its user, whether it has ended or not; None where there is none."""
        c = sessions.c
        query = select(*COLUMNS, c.hash, c.owner, c.seen, c.ends).join(sessions, c.owner == users.c.owner)

        def read(connection: Connection) -> tuple[Session, User] | None:
            row = connection.execute(query.where(c.hash == hash)).first()
            return None if row is None else (Session(*row[len(COLUMNS) :]), as_user(row))

        return await self._db.read(read)

    async def touch(self, hash: str) -> None:
        """Says that it was used now."""
        statement = update(sessions).where(sessions.c.hash == hash).values(seen=self._now())
        await self._db.write(lambda connection: connection.execute(statement))

    async def end(self, hash: str) -> None:
        """Ends one."""
        statement = delete(sessions).where(sessions.c.hash == hash)
        await self._db.write(lambda connection: connection.execute(statement))

    async def end_all(self, owner: str) -> int:
        """Ends all of a user; gives how many (int)."""
        statement = delete(sessions).where(sessions.c.owner == owner)
        return await self._db.write(lambda connection: connection.execute(statement).rowcount)


_KEY: Final = tuple(
    service_api_keys.c[name]
    for name in ("id", "owner", "name", "prefix", "hashed_key", "scopes", "created", "ends", "used")
)


def _as_key(row: Any) -> ApiKey:
    id, owner, name, prefix, hashed, scopes, *times = row[: len(_KEY)]
    return ApiKey(id, owner, name, prefix, hashed, frozenset(scopes.split()), *times)


class ApiKeyStore:
    """API keys by owner and id. All methods raise what `Database.write` and `Database.read` raise."""

    def __init__(self, db: Database, *, now: Callable[[], float] = time.time) -> None:
        """Args: as of `SessionStore`."""
        self._db = db
        self._now = now

    async def add(self, key: ApiKey) -> None:
        """Keeps a key.

        Raises:
            TooManyError: its user has too many.
        """
        c = service_api_keys.c
        values = {"id": key.id, "owner": key.owner, "name": key.name, "prefix": key.prefix, "hashed_key": key.hashed}
        values |= {"scopes": " ".join(sorted(key.scopes))}
        count = select(func.count()).select_from(service_api_keys).where(c.owner == key.owner)

        def write(connection: Connection) -> None:
            if connection.execute(count).scalar_one() >= MOST_KEYS:
                raise TooManyError("API keys", MOST_KEYS)
            connection.execute(insert(service_api_keys).values(**values, created=key.created, ends=key.ends))

        await self._db.write(write)

    async def list(self, owner: str) -> builtins.list[ApiKey]:
        """Those of a user, oldest first."""
        c = service_api_keys.c
        query = select(*_KEY).where(c.owner == owner).order_by(c.created, c.id).limit(MOST_KEYS)
        return await self._db.read(lambda connection: [_as_key(row) for row in connection.execute(query)])

    async def of_prefix(self, prefix: str) -> builtins.list[tuple[ApiKey, User | None]]:
        """Keys that begin so, each with its user; the user of the single-user modes may not be kept (None)."""
        query = select(*_KEY, *COLUMNS).outerjoin(users, users.c.owner == service_api_keys.c.owner)
        query = query.where(service_api_keys.c.prefix == prefix).limit(_CANDIDATES)

        def read(connection: Connection) -> builtins.list[tuple[ApiKey, User | None]]:
            found = []
            for row in connection.execute(query):
                user = row[len(_KEY) :]
                found.append((_as_key(row), None if user[0] is None else as_user(user)))
            return found

        return await self._db.read(read)

    async def touch(self, id: str, least: float) -> None:
        """Says that one was used now, unless the last time that was said is less than so many seconds ago."""
        c, now = service_api_keys.c, self._now()
        late = or_(c.used.is_(None), c.used < now - least)
        statement = update(service_api_keys).where(c.id == id, late).values(used=now)
        await self._db.write(lambda connection: connection.execute(statement))

    async def remove(self, owner: str, id: str) -> bool:
        """Deletes one of a user's; False where there is none."""
        c = service_api_keys.c
        statement = delete(service_api_keys).where(c.id == id, c.owner == owner)
        return await self._db.write(lambda connection: bool(connection.execute(statement).rowcount))
