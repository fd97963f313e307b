"""Journals of calls: apart by owner, kept for some days and in some amount."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, insert, select

from innkeeper.storage.aging import AgingRows
from innkeeper.storage.database import Database
from innkeeper.storage.names import check_name
from innkeeper.storage.schema import journals, journals_usage

MOST_LISTED: Final = 1000
"""Journals that one `list` gives."""

_SWEEP_EVERY = 3600.0
"""Seconds after which the next journal also takes those with it that are too old."""

_DAY = 86400.0
_NAME = 200
_INSERT = insert(journals)
_HEAD = [each for each in journals.c if each.name != "body"]
_AGING = AgingRows(journals, journals_usage, key="id", oldest=("id",))


@dataclass(frozen=True, slots=True)
class JournalHead:
    """What is known of a journal without reading it.

    Attributes:
        id: grows from journal to journal; never given twice.
        at: when the call began, seconds since 1970.
        plugin: id of the plugin.
        digest: sha256 of its bytes, 64 hexadecimal digits.
        function: that was called.
        outcome: "output", or the kind of error that it ended with.
        size: bytes of the journal.
    """

    id: int
    at: float
    plugin: str
    digest: str
    function: str
    outcome: str
    size: int


@dataclass(frozen=True, slots=True)
class NewJournal:
    """A journal that is to be kept. Its attributes are those of `JournalHead`, and:

    Attributes:
        body: its bytes.
    """

    at: float
    plugin: str
    digest: str
    function: str
    outcome: str
    body: bytes


class JournalStore:
    """Journals by owner; those that are too old are never given, swept or not.

    Its methods raise ValueError for arguments out of bounds, and what `Database.write` and `Database.read` raise.
    """

    def __init__(
        self,
        db: Database,
        *,
        now: Callable[[], float] = time.time,
        days: float = 30.0,
        total_bytes: int = 256 << 20,
    ) -> None:
        """Args:
        db: where they are kept.
        now: seconds since 1970; called from any thread.
        days: for which a journal is kept, above 0.
        total_bytes: that all journals of one owner may have, at least 1.
        """
        if not days > 0 or total_bytes < 1:
            raise ValueError("journals are kept for more than 0 days, and at least 1 byte of them")
        self._db = db
        self._now = now
        self._kept = days * _DAY
        self._total = total_bytes
        # When the next sweep is due; only the writer's thread touches it. The first journal sweeps.
        self._due = 0.0

    async def append(self, owner: str, new: Sequence[NewJournal]) -> list[int | None]:
        """Keeps journals; the oldest of their owner go where they do not fit beside them.

        Args:
            owner: whose they are.
            new: few enough for one transaction.

        Returns:
            Their ids (list of int), in order; None for one that alone is more than the owner's may have together.
        """
        check_name(owner, "owner")
        for each in new:
            check_name(each.plugin, "plugin")
        made: list[int | None] = []

        def write(connection: Connection) -> list[int | None]:
            done: list[int | None] = []
            entries, size = _AGING.usage.lock(connection, owner)
            added = 0
            for each in new[len(made) :]:
                length = len(each.body)
                if length > self._total:
                    done.append(None)
                    continue
                if entries and size + length > self._total:
                    if not done:
                        # In a step of its own: making room for a large one may take many small ones.
                        _AGING.make_room(connection, owner, size + length - self._total)
                    break
                done.append(_insert(connection, owner, each))
                entries, size, added = entries + 1, size + length, added + length
            _AGING.usage.add(connection, owner, sum(each is not None for each in done), added)
            now = self._now()
            if now >= self._due:
                self._due = now + _SWEEP_EVERY
                self._sweep(connection)
            return done

        while len(made) < len(new):
            made += await self._db.write(write)
        return made

    async def list(self, owner: str, *, before: int | None = None, limit: int = 100) -> list[JournalHead]:
        """An owner's journals, newest first.

        Args:
            before: only those with a smaller id: the last one of the page before.
            limit: how many at most, 1 to `MOST_LISTED`.
        """
        check_name(owner, "owner")
        if not 1 <= limit <= MOST_LISTED:
            raise ValueError(f"the limit must be 1 to {MOST_LISTED}")
        query = select(*_HEAD).where(journals.c.owner == owner)
        if before is not None:
            query = query.where(journals.c.id < _checked(before))
        query = query.order_by(journals.c.id.desc()).limit(limit)

        def read(connection: Connection) -> list[JournalHead]:
            rows = connection.execute(query.where(journals.c.at >= self._now() - self._kept))
            return [_head(row) for row in rows]

        return await self._db.read(read)

    async def get(self, owner: str, id: int) -> tuple[JournalHead, bytes] | None:
        """An owner's journal and its bytes, or None."""
        check_name(owner, "owner")
        query = select(journals).where(journals.c.owner == owner, journals.c.id == _checked(id))

        def read(connection: Connection) -> tuple[JournalHead, bytes] | None:
            row = connection.execute(query.where(journals.c.at >= self._now() - self._kept)).first()
            return None if row is None else (_head(row), bytes(row.body))

        return await self._db.read(read)

    async def delete(self, owner: str, id: int) -> bool:
        """Deletes an owner's journal; False if there was none."""
        check_name(owner, "owner")
        _checked(id)

        def write(connection: Connection) -> bool:
            _AGING.usage.lock(connection, owner)
            rows = connection.execute(_AGING.rows.where(journals.c.owner == owner, journals.c.id == id)).all()
            _AGING.remove(connection, rows)
            return bool(rows)

        return await self._db.write(write)

    async def erase(self, owner: str) -> int:
        """Deletes all journals of an owner, in steps; gives how many (int)."""
        return await _AGING.erase(self._db, owner)

    async def sweep(self) -> int:
        """Deletes a bounded number of journals, of whomever, that are too old; gives how many (int)."""
        return await self._db.write(self._sweep)

    async def usage(self, owner: str) -> tuple[int, int]:
        """How many journals an owner has on disk, and their bytes."""
        return await _AGING.count(self._db, owner)

    def _sweep(self, connection: Connection) -> int:
        return _AGING.sweep(connection, self._now() - self._kept)


def _insert(connection: Connection, owner: str, new: NewJournal) -> int:
    values = {"owner": owner, "at": new.at, "plugin": new.plugin, "digest": new.digest, "size": len(new.body)}
    texts = {"function": new.function[:_NAME], "outcome": new.outcome[:_NAME]}
    key = connection.execute(_INSERT, {**values, **texts, "body": new.body}).inserted_primary_key
    assert key is not None
    return int(key[0])


def _head(row: Any) -> JournalHead:
    return JournalHead(row.id, row.at, row.plugin, row.digest, row.function, row.outcome, row.size)


def _checked(id: int) -> int:
    if not 0 <= id < 1 << 63:
        raise ValueError("that is not the number of a journal")
    return id
