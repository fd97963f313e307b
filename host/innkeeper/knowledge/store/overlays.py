"""What one chat says of a base: entries in place of the base's own, and what activation remembers of the chat.

An overlay changes no base: another session sees nothing of it. A session that nobody writes to for long goes, with its
overlay (`storage.knowledge_sweeping`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import trio
from sqlalchemy import Connection, Text, and_, bindparam, delete, func, insert, select, update

from innkeeper.knowledge.store import reading
from innkeeper.knowledge.store.legs import check_id, dump
from innkeeper.knowledge.store.store import KnowledgeStore
from innkeeper.knowledge.store.values import Overlaid
from innkeeper.knowledge.store.writing import where_of
from innkeeper.storage.knowledge_model import FullError, NoSuchError, Place, VersionError
from innkeeper.storage.knowledge_schema import kb_overlays as overlays
from innkeeper.storage.knowledge_schema import kb_sessions as sessions
from innkeeper.storage.names import check_name

_SESSION: Final = and_(
    sessions.c.owner == bindparam("its_owner", type_=Text()),
    sessions.c.base == bindparam("its_base", type_=Text()),
    sessions.c.session == bindparam("its_session", type_=Text()),
)
_OVERLAY: Final = and_(
    overlays.c.owner == bindparam("its_owner", type_=Text()),
    overlays.c.base == bindparam("its_base", type_=Text()),
    overlays.c.session == bindparam("its_session", type_=Text()),
)
_ONE: Final = and_(_OVERLAY, overlays.c.entry == bindparam("its_id", type_=Text()))
_OF_BASE: Final = and_(sessions.c.owner == bindparam("its_owner"), sessions.c.base == bindparam("its_base"))

_READ: Final = select(sessions).where(_SESSION)
_LOCK: Final = _READ.with_for_update()
_COUNT: Final = select(func.count()).select_from(sessions).where(_OF_BASE)
_BYTES: Final = select(func.coalesce(func.sum(sessions.c.bytes), 0)).where(_OF_BASE)
_OLDEST: Final = select(sessions.c.session).where(_OF_BASE).order_by(sessions.c.at, sessions.c.session).limit(1)
_OLDEST_PLAIN: Final = _OLDEST.where(sessions.c.entries == 0)
_INSERT: Final = insert(sessions)
_UPDATE: Final = update(sessions).where(_SESSION)
_DELETE: Final = delete(sessions).where(_SESSION)
_ALL: Final = select(overlays).where(_OVERLAY).order_by(overlays.c.entry)
_GET: Final = select(overlays.c.version, overlays.c.size).where(_ONE)
_PUT: Final = insert(overlays)
_REPLACE: Final = update(overlays).where(_ONE)
_REMOVE: Final = delete(overlays).where(_ONE)
_REMOVE_ALL: Final = delete(overlays).where(_OVERLAY)

_ROW: Final = 160


class Sessions:
    """Overlays and states of sessions.

    All methods raise as those of `KnowledgeStore`, and ValueError for a session whose name is none.
    """

    def __init__(self, store: KnowledgeStore) -> None:
        """Args:
        store: of the bases.
        """
        self._store = store
        self._quota = store.quota

    async def overlay(self, place: Place, session: str) -> list[Overlaid]:
        """What a session says in place of a base, in the order of the entries' ids; nothing where nobody knows it."""
        where = _where(place, session)

        def read(connection: Connection) -> list[Overlaid]:
            reading.read_state(connection, place, where)
            return [
                Overlaid(
                    row.entry,
                    None if row.document is None else json.loads(row.document),
                    row.version,
                    row.author,
                    row.at,
                )
                for row in connection.execute(_ALL, where)
            ]

        return await self._store.read(place, read)

    async def put(
        self,
        place: Place,
        session: str,
        id: str,
        document: Mapping[str, Any] | None,
        *,
        expect: int | None = None,
        author: str = "",
    ) -> int:
        """Says something of an entry in a session alone; gives its version there (int).

        Args:
            id: of the entry; the base need not have it.
            document: with the same id in it; None: the session does not have the base's entry.
            expect: the version that it must have in the session, 0 where the session says nothing of it; None:
                whatever there is.
            author: id of the plugin, or "".

        Raises:
            KnowledgeError: the document is not one.
            VersionError: it has another version.
            FullError: the overlay has no room.
        """
        where = {**_where(place, session), "its_id": id}
        check_id(id)
        text = None if document is None else await trio.to_thread.run_sync(_checked, id, document)
        size = _ROW + len(id.encode()) + (0 if text is None else len(text.encode()))

        def write(connection: Connection) -> int:
            reading.read_state(connection, place, where)
            now = self._store.now()
            row = self._session(connection, place, session, where, now, writes=True)
            old = connection.execute(_GET, where).first()
            current = 0 if old is None else old.version
            if expect is not None and expect != current:
                raise VersionError(current)
            entries, kept = row.entries + (old is None), row.bytes + size - (0 if old is None else old.size)
            if entries > self._quota.overlaid and old is None:
                raise FullError("entries", self._quota.overlaid)
            if kept > self._quota.overlaid_bytes and kept > row.bytes:
                raise FullError("bytes", self._quota.overlaid_bytes)
            if kept > row.bytes:
                all_ = connection.execute(_BYTES, where).scalar_one() + kept - row.bytes
                if all_ > self._quota.overlays_bytes:
                    raise FullError("bytes", self._quota.overlays_bytes)
            version = int(row.version) + 1
            values = {"document": text, "version": version, "author": author, "at": now, "size": size}
            if old is None:
                names = {"owner": place.owner, "base": place.base, "session": session, "entry": id}
                connection.execute(_PUT, {**names, **values})
            else:
                connection.execute(_REPLACE, {**where, **values})
            connection.execute(_UPDATE, {**where, "version": version, "entries": entries, "bytes": kept, "at": now})
            return version

        return await self._store.db.write(write)

    async def remove(self, place: Place, session: str, id: str) -> None:
        """The session says nothing of an entry any more.

        Raises:
            NoSuchError: it said nothing.
        """
        where = {**_where(place, session), "its_id": id}

        def write(connection: Connection) -> None:
            row = connection.execute(_LOCK, where).first()
            old = connection.execute(_GET, where).first()
            if row is None or old is None:
                raise NoSuchError("the session says nothing of this entry")
            connection.execute(_REMOVE, where)
            counts = {"entries": row.entries - 1, "bytes": row.bytes - old.size, "version": row.version + 1}
            connection.execute(_UPDATE, {**where, **counts, "at": self._store.now()})

        await self._store.db.write(write)

    async def forget(self, place: Place, session: str) -> bool:
        """Deletes a session with its overlay; False where there was none."""
        where = _where(place, session)

        def write(connection: Connection) -> bool:
            connection.execute(_REMOVE_ALL, where)
            return connection.execute(_DELETE, where).rowcount > 0

        return await self._store.db.write(write)

    async def state(self, place: Place, session: str) -> tuple[bytes, int]:
        """What activation remembers of a session, and its version (int); b"" and 0 where there is nothing."""
        where = _where(place, session)

        def read(connection: Connection) -> tuple[bytes, int]:
            row = connection.execute(_READ, where).first()
            return (b"", 0) if row is None else (row.state, row.version)

        return await self._store.read(place, read)

    async def keep_state(self, place: Place, session: str, state: bytes, *, expect: int) -> int:
        """Remembers something of a session; gives the version (int). As `keep_states` of one base."""
        return (await self.keep_states(session, [(place, state, expect)]))[0]

    async def keep_states(self, session: str, states: Sequence[tuple[Place, bytes, int]]) -> list[int]:
        """Remembers something of a session at several bases, at all of them or at none; gives the versions (list of
        int).

        Args:
            states: for each base what is remembered, `StoreQuota.state` bytes at most, and the version that `state`
                gave; an overlay that was changed since has moved it, too.

        Raises:
            VersionError: one has another version: read all again, and decide again.
            FullError: there are too many sessions, and each has an overlay.
            ValueError: one is too large.
        """
        wheres = [_where(place, session) for place, _, _ in states]
        if any(len(state) > self._quota.state for _, state, _ in states):
            raise ValueError(f"what is remembered of a session has at most {self._quota.state} bytes")

        def write(connection: Connection) -> list[int]:
            return [
                self._keep(connection, place, session, where, state, expect)
                for where, (place, state, expect) in zip(wheres, states, strict=True)
            ]

        return await self._store.db.write(write)

    def _keep(
        self, connection: Connection, place: Place, session: str, where: dict[str, Any], state: bytes, expect: int
    ) -> int:
        reading.read_state(connection, place, where)
        now = self._store.now()
        there = connection.execute(_LOCK, where).first()
        current = 0 if there is None else there.version
        if current != expect:
            raise VersionError(current)
        row = self._session(connection, place, session, where, now, writes=False)
        version = int(row.version) + 1
        connection.execute(_UPDATE, {**where, "state": state, "version": version, "at": now, "size": len(state) + _ROW})
        return version

    def _session(
        self, connection: Connection, place: Place, session: str, where: dict[str, Any], now: float, *, writes: bool
    ) -> Any:
        """A session's row, made where it is missing. Where there are too many, one without an overlay goes: whoever
        only reads can name as many sessions as it likes, and must not take away what others wrote.

        Args:
            writes: whether whoever asks may write to the base, so that an overlay may go, too.
        """
        row = connection.execute(_LOCK, where).first()
        if row is not None:
            return row
        if connection.execute(_COUNT, where).scalar_one() >= self._quota.sessions:
            name = connection.scalar(_OLDEST_PLAIN, where)
            if name is None and writes:
                name = connection.scalar(_OLDEST, where)
            if name is None:
                raise FullError("sessions", self._quota.sessions)
            oldest = {**where, "its_session": name}
            connection.execute(_REMOVE_ALL, oldest)
            connection.execute(_DELETE, oldest)
        names = {"owner": place.owner, "base": place.base, "session": session}
        counts = {"state": b"", "version": 0, "entries": 0, "bytes": 0, "at": now, "size": _ROW}
        connection.execute(_INSERT, {**names, **counts})
        return connection.execute(_LOCK, where).one()


def _where(place: Place, session: str) -> dict[str, Any]:
    check_name(session, "session")
    return {**where_of(place), "its_session": session}


def _checked(id: str, document: Mapping[str, Any]) -> str:
    from innkeeper.knowledge.model.bounds import MOST_ENTRY
    from innkeeper.knowledge.model.entry import read_entry
    from innkeeper.knowledge.model.problems import KnowledgeError, Problem

    entry, problems = read_entry(document)
    if entry is None:
        raise KnowledgeError(problems)
    if entry.id != id:
        raise KnowledgeError(Problem("id", f"must be {id!r}, as the entry is called", entry.id[:100]))
    text = dump(document)
    if len(text.encode()) > MOST_ENTRY:
        raise KnowledgeError(Problem("", f"has more than {MOST_ENTRY:,} bytes as JSON", entry.name))
    return text
