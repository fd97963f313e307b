"""What plugins want to change, where the operator wants to see it first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import trio
from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select

from innkeeper.knowledge.store import reading
from innkeeper.knowledge.store import statements as sql
from innkeeper.knowledge.store.legs import prepare
from innkeeper.knowledge.store.store import KnowledgeStore
from innkeeper.knowledge.store.values import Applied, Change, Origin, Proposal
from innkeeper.knowledge.store.writing import ReadOnlyError, where_of
from innkeeper.storage.knowledge_model import FullError, NoSuchError, Place, VersionError
from innkeeper.storage.knowledge_schema import kb_proposals as proposals
from innkeeper.storage.names import check_name

_OF_BASE: Final = and_(proposals.c.owner == bindparam("its_owner"), proposals.c.base == bindparam("its_base"))
_COUNT: Final = (
    select(func.count().label("number"), func.coalesce(func.sum(proposals.c.size), 0).label("size"))
    .select_from(proposals)
    .where(_OF_BASE)
)
_LIST: Final = select(proposals).where(_OF_BASE).order_by(proposals.c.number)
_ONE: Final = and_(_OF_BASE, proposals.c.number == bindparam("its_number"))
_GET: Final = select(proposals).where(_ONE)
_DELETE: Final = delete(proposals).where(_ONE)
_INSERT: Final = insert(proposals).returning(proposals.c.number)


class Proposals:
    """The queue of changes that wait for consent. All methods raise as those of `KnowledgeStore`."""

    def __init__(self, store: KnowledgeStore) -> None:
        """Args:
        store: of the bases.
        """
        self._store = store

    async def require(self, place: Place, wanted: bool) -> None:
        """Says whether what plugins write to a base waits for consent."""
        where = where_of(place)

        def write(connection: Connection) -> None:
            reading.read_state(connection, place, where)
            connection.execute(sql.UPDATE_BASE, {**where, "approval": wanted})

        await self._store.db.write(write)

    async def propose(self, place: Place, change: Change, author: str) -> int:
        """Keeps a change for somebody to decide; gives its number (int).

        Args:
            change: `expect` must hold now; without, the version that the entry has now is what it must have when
                somebody consents.
            author: id of the plugin.

        Raises:
            KnowledgeError: its document is not one.
            VersionError, NoSuchError, ReadOnlyError: it could not be done now either.
            FullError: too many wait.
        """
        where = where_of(place)
        check_name(author, "author")
        (prepared,) = await trio.to_thread.run_sync(prepare, (change,), self._store.legs)
        size = 160 + len(change.id.encode()) + len((prepared.document or "").encode())

        def write(connection: Connection) -> int:
            state = reading.read_state(connection, place, where, whole=True)
            if state.read_only:
                raise ReadOnlyError(f"the knowledge base {place.base!r} is read-only")
            row = connection.execute(sql.GET, {**where, "its_id": change.id}).first()
            current = 0 if row is None else int(row.version)
            if change.expect not in (None, current):
                raise VersionError(current)
            if row is None and change.document is None:
                raise NoSuchError(f"the knowledge base {place.base!r} has no such entry")
            waiting, quota = connection.execute(_COUNT, where).one(), self._store.quota
            if waiting.number >= quota.proposals:
                raise FullError("proposals", quota.proposals)
            if waiting.size + size > quota.proposals_bytes:
                raise FullError("bytes", quota.proposals_bytes)
            values: dict[str, Any] = {"owner": place.owner, "base": place.base, "entry": change.id}
            values |= {
                "document": prepared.document,
                "expect": current,
                "author": author,
                "at": self._store.now(),
                "size": size,
            }
            return int(connection.execute(_INSERT, values).scalar_one())

        return await self._store.unfolded(place, lambda: self._store.db.write(write))

    async def list(self, place: Place) -> list[Proposal]:
        """What waits, the oldest first."""
        where = where_of(place)

        def read(connection: Connection) -> list[Proposal]:
            reading.read_state(connection, place, where)
            return [_proposal(row) for row in connection.execute(_LIST, where)]

        return await self._store.read(place, read)

    async def accept(self, place: Place, number: int) -> Applied:
        """Does what was proposed, and takes it off the queue.

        Raises:
            NoSuchError: nothing with this number waits.
            VersionError: somebody changed the entry since; it goes on waiting.
        """
        where = {**where_of(place), "its_number": number}

        def read(connection: Connection) -> Proposal | None:
            row = connection.execute(_GET, where).first()
            return None if row is None else _proposal(row)

        found = await self._store.read(place, read)
        if found is None:
            raise _none(number)
        change = Change(found.entry, found.document, found.expect)
        # Done first: killed in between, it waits although it is done, and is then refused for its version.
        applied = await self._store.change(place, [change], Origin("accepted", found.author))
        await self.refuse(place, number)
        return applied

    async def refuse(self, place: Place, number: int) -> None:
        """Takes a change off the queue.

        Raises:
            NoSuchError: nothing with this number waits.
        """
        where = {**where_of(place), "its_number": number}
        if await self._store.db.write(lambda connection: connection.execute(_DELETE, where).rowcount) != 1:
            raise _none(number)


def _proposal(row: Any) -> Proposal:
    document: Mapping[str, Any] | None = None if row.document is None else json.loads(row.document)
    return Proposal(row.number, row.entry, document, row.expect, row.author, row.at)


def _none(number: int) -> NoSuchError:
    return NoSuchError(f"no change with the number {number} waits for consent")
