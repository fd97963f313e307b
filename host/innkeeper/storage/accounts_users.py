"""Users: made by an invitation, changed, and never without the last administrator."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable
from typing import Any, Final, Literal

from sqlalchemy import Connection, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from innkeeper.storage.accounts_model import (
    MOST_INVITATIONS,
    MOST_USERS,
    SETUP,
    Invitation,
    Picture,
    TakenError,
    User,
    name_key,
)
from innkeeper.storage.accounts_schema import avatars, invitations, sessions, users
from innkeeper.storage.database import Database
from innkeeper.storage.run_model import USER
from innkeeper.storage.statements import insert_if_missing

Registered = Literal["done", "token", "full"]
Changed = Literal["done", "last", "unknown"]

COLUMNS: Final = tuple(
    users.c[name] for name in ("owner", "username", "is_admin", "disabled", "password", "avatar", "created")
)
MOST_LISTED: Final = 200
"""Users that one `list` gives."""

_ADMINISTRATES: Final = and_(users.c.is_admin, users.c.disabled.is_(False), users.c.password.is_not(None))
_STEP = 256


def as_user(row: Any) -> User:
    """The user of a row that begins with `COLUMNS`."""
    return User(*row[: len(COLUMNS)])


class UserStore:
    """Users by id. Names are checked by the caller (`checked_name`), passwords are hashes.

    All methods raise what `Database.write` and `Database.read` raise.
    """

    def __init__(self, db: Database, *, now: Callable[[], float] = time.time) -> None:
        """Args:
        db: where they are kept.
        now: seconds since 1970; called from any thread.
        """
        self._db = db
        self._now = now

    async def get(self, uid: str) -> User | None:
        """A user, or None."""
        return await self._one(users.c.owner == uid)

    async def find(self, username: str) -> User | None:
        """The user of a name, or None."""
        return await self._one(users.c.name_key == name_key(username))

    async def _one(self, which: Any) -> User | None:
        def read(connection: Connection) -> User | None:
            row = connection.execute(select(*COLUMNS).where(which)).first()
            return None if row is None else as_user(row)

        return await self._db.read(read)

    async def list(self, *, after: str = "") -> builtins.list[User]:
        """Users in the order of their ids, `MOST_LISTED` at most, those after an id."""
        query = select(*COLUMNS).where(users.c.owner > after).order_by(users.c.owner).limit(MOST_LISTED)
        return await self._db.read(lambda connection: [as_user(row) for row in connection.execute(query)])

    async def has_administrator(self) -> bool:
        """Whether somebody could log in who is an administrator."""
        query = select(users.c.owner).where(_ADMINISTRATES).limit(1)
        return await self._db.read(lambda connection: connection.execute(query).first() is not None)

    async def ensure_local(self, username: str) -> None:
        """Makes the user of the single-user modes where it is missing."""
        await self._db.write(lambda connection: self._add_local(connection, username))

    def _add_local(self, connection: Connection, username: str) -> None:
        now = self._now()
        values: dict[str, Any] = {"owner": USER, "username": username, "name_key": name_key(username), "password": None}
        values |= {"is_admin": True, "disabled": False, "avatar": None, "created": now, "updated": now}
        insert_if_missing(connection, users, values)
        if connection.execute(select(users.c.owner).where(users.c.owner == USER)).first() is None:
            # Somebody else has taken the name; nobody can have taken this one, which is no name of a user.
            insert_if_missing(connection, users, values | {"name_key": f"\n{USER}"})

    async def register(self, hash: str, uid: str, username: str, password: str) -> Registered:
        """Makes a user of an invitation, which is gone then.

        Args:
            hash: sha256 of the invitation's token.
            uid: of the new user.

        Returns:
            "done"; "token": there is no such invitation, or an administrator where it was for the first one; "full".

        Raises:
            TakenError: another user has the name; the invitation stays.
        """

        def write(connection: Connection) -> Registered:
            now = self._now()
            found = _taken(connection, hash, now)
            if found is None:
                return "token"
            if found.id == SETUP and connection.execute(select(users.c.owner).where(_ADMINISTRATES)).first():
                return "token"
            if connection.execute(select(func.count()).select_from(users)).scalar_one() >= MOST_USERS:
                return "full"
            values: dict[str, Any] = {
                "owner": uid,
                "username": username,
                "name_key": name_key(username),
                "password": password,
            }
            values |= {"is_admin": found.is_admin, "disabled": False, "avatar": None, "created": now, "updated": now}
            try:
                connection.execute(insert(users).values(**values))
            except IntegrityError:
                raise TakenError from None
            return "done"

        return await self._db.write(write)

    async def set_up(self, hash: str, username: str, password: str) -> bool:
        """Gives the user of the single-user modes the first password; False where the token is not the one for it."""

        def write(connection: Connection) -> bool:
            found = _taken(connection, hash, self._now())
            if found is None or found.id != SETUP:
                return False
            self._add_local(connection, username)
            statement = update(users).where(users.c.owner == USER, users.c.password.is_(None))
            return bool(connection.execute(statement.values(password=password, updated=self._now())).rowcount)

        return await self._db.write(write)

    async def set_password(self, uid: str, password: str, *, keep: str = "") -> bool:
        """Changes a password, and ends all sessions of the user beside one; False where there is no such user.

        Args:
            password: the hash of the new one.
            keep: hash of the session that stays, or "".
        """

        def write(connection: Connection) -> bool:
            values = {"password": password, "updated": self._now()}
            found = connection.execute(update(users).where(users.c.owner == uid).values(**values)).rowcount
            connection.execute(delete(sessions).where(sessions.c.owner == uid, sessions.c.hash != keep))
            return bool(found)

        return await self._db.write(write)

    async def rename(self, uid: str, username: str) -> bool:
        """Changes a name; False where there is no such user.

        Raises:
            TakenError: another user has it.
        """
        values = {"username": username, "name_key": name_key(username)}
        statement = update(users).where(users.c.owner == uid)

        def write(connection: Connection) -> bool:
            try:
                return bool(connection.execute(statement.values(**values, updated=self._now())).rowcount)
            except IntegrityError:
                raise TakenError from None

        return await self._db.write(write)

    async def change(self, uid: str, *, is_admin: bool | None = None, disabled: bool | None = None) -> Changed:
        """Changes a role, or whether a user is let in; who is disabled is logged out everywhere.

        Returns:
            "done"; "last": there would be no administrator left; "unknown": there is no such user.
        """
        values: dict[str, Any] = {"updated": self._now()}
        values |= {} if is_admin is None else {"is_admin": is_admin}
        values |= {} if disabled is None else {"disabled": disabled}

        def write(connection: Connection) -> Changed:
            # To be changed: on PostgreSQL this is what keeps two administrators from taking each other's role.
            query = select(users.c.owner).where(_ADMINISTRATES).order_by(users.c.owner).with_for_update()
            administrators = set(connection.scalars(query))
            if administrators == {uid} and (is_admin is False or disabled):
                return "last"
            if not connection.execute(update(users).where(users.c.owner == uid).values(**values)).rowcount:
                return "unknown"
            if disabled:
                connection.execute(delete(sessions).where(sessions.c.owner == uid))
            return "done"

        return await self._db.write(write)

    async def set_picture(self, uid: str, picture: Picture | None) -> bool:
        """Keeps a user's picture, or forgets it; False where there is no such user."""
        digest = None if picture is None else picture.digest
        values = {"avatar": digest, "updated": self._now()}

        def write(connection: Connection) -> bool:
            if not connection.execute(update(users).where(users.c.owner == uid).values(**values)).rowcount:
                return False
            connection.execute(delete(avatars).where(avatars.c.owner == uid))
            if picture is not None:
                row = {"owner": uid, "digest": picture.digest, "type": picture.type, "size": len(picture.body)}
                connection.execute(insert(avatars).values(**row, body=picture.body))
            return True

        return await self._db.write(write)

    async def picture(self, uid: str) -> Picture | None:
        """A user's picture, or None."""
        query = select(avatars.c.digest, avatars.c.type, avatars.c.body).where(avatars.c.owner == uid)

        def read(connection: Connection) -> Picture | None:
            row = connection.execute(query).first()
            return None if row is None else Picture(row.digest, row.type, bytes(row.body))

        return await self._db.read(read)


def _taken(connection: Connection, hash: str, now: float) -> Invitation | None:
    """Deletes an invitation that has not ended, and gives it. Of two who try at once one gets it, also on PostgreSQL:
    the second delete waits for the first one's transaction, and finds nothing."""
    c = invitations.c
    row = connection.execute(select(c.id, c.owner, c.is_admin, c.created, c.ends).where(c.hash == hash)).first()
    if row is None or row.ends <= now:
        return None
    if not connection.execute(delete(invitations).where(c.hash == hash)).rowcount:
        return None
    return Invitation(*row)


class InvitationStore:
    """Invitations that nobody has taken yet. All methods raise what `Database.write` and `Database.read` raise."""

    def __init__(self, db: Database, *, now: Callable[[], float] = time.time) -> None:
        """Args: as of `UserStore`."""
        self._db = db
        self._now = now

    async def add(self, invitation: Invitation, hash: str) -> bool:
        """Keeps an invitation; False where there are too many. That for the first administrator takes the place of the
        one before.

        Args:
            hash: sha256 of its token, hexadecimal.
        """

        def write(connection: Connection) -> bool:
            c = invitations.c
            old = select(c.id).where(c.ends <= self._now()).limit(_STEP)
            connection.execute(delete(invitations).where(c.id.in_(old)))
            if invitation.id == SETUP:
                connection.execute(delete(invitations).where(c.id == SETUP))
            elif connection.execute(select(func.count()).select_from(invitations)).scalar_one() >= MOST_INVITATIONS:
                return False
            values: dict[str, Any] = {
                "id": invitation.id,
                "owner": invitation.owner,
                "hash": hash,
                "is_admin": invitation.is_admin,
            }
            values |= {"created": invitation.created, "ends": invitation.ends}
            insert_if_missing(connection, invitations, values)
            return True

        return await self._db.write(write)

    async def list(self) -> builtins.list[Invitation]:
        """Those that have not ended, oldest first."""
        c = invitations.c
        query = select(c.id, c.owner, c.is_admin, c.created, c.ends).where(c.ends > self._now())
        query = query.order_by(c.created, c.id).limit(MOST_INVITATIONS + 1)
        return await self._db.read(lambda connection: [Invitation(*row) for row in connection.execute(query)])

    async def is_open(self, hash: str) -> bool:
        """Whether there is one of a token that has not ended."""
        c = invitations.c
        query = select(c.id).where(c.hash == hash, c.ends > self._now())
        return await self._db.read(lambda connection: connection.execute(query).first() is not None)

    async def remove(self, id: str) -> bool:
        """Takes an invitation back; False where there is none."""
        statement = delete(invitations).where(invitations.c.id == id)
        return await self._db.write(lambda connection: bool(connection.execute(statement).rowcount))
