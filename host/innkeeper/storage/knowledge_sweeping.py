"""Deletes what knowledge bases need no more: old history, sessions that nobody touches, vectors of texts that are gone,
proposals that nobody decided on, batches whose process died.

Candidates are looked for by a thread that reads, however long that takes; a transaction then deletes a few of them, if
they still are what they were.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, exists, func, select, update

from innkeeper.storage.database import Database
from innkeeper.storage.knowledge_schema import (
    kb_bases,
    kb_batches,
    kb_entries,
    kb_history,
    kb_overlays,
    kb_proposals,
    kb_sessions,
    kb_staged,
    kb_steps,
    kb_vectors,
)

HISTORY_DAYS: Final = 90.0
"""What was changed longer ago cannot be taken back any more."""

SESSION_DAYS: Final = 90.0
"""A session that nobody wrote to for so long goes, with its overlay."""

PROPOSAL_DAYS: Final = 30.0

VECTOR_DAYS: Final = 7.0
"""A vector of a text that no entry has stays for so long: whoever takes a change back has it again."""

BATCH_DAYS: Final = 1.0

_DAY: Final = 86400.0
_SOME: Final = 200
_SESSIONS_AT_ONCE: Final = 5

_used = exists(
    select(kb_entries.c.id).where(
        kb_entries.c.owner == kb_vectors.c.owner,
        kb_entries.c.base == kb_vectors.c.base,
        kb_entries.c.digest == kb_vectors.c.digest,
    )
)
_valid = exists(
    select(kb_bases.c.base).where(
        kb_bases.c.owner == kb_batches.c.owner,
        kb_bases.c.base == kb_batches.c.base,
        kb_bases.c.folding == kb_batches.c.batch,
    )
)


class KnowledgeSweeps:
    """Each method deletes a bounded number of things in one transaction, and gives how many (int)."""

    def __init__(self, db: Database, *, now: Callable[[], float] = time.time) -> None:
        """Args:
        db: where they are kept.
        now: seconds since 1970; called from any thread.
        """
        self._db = db
        self._now = now

    async def history(self) -> int:
        """Changes that are older than `HISTORY_DAYS`."""
        before = self._now() - HISTORY_DAYS * _DAY

        def write(connection: Connection) -> int:
            query = select(kb_history.c.number, kb_history.c.owner, kb_history.c.base, kb_history.c.revision)
            query = query.add_columns(kb_history.c.size).where(kb_history.c.at < before)
            rows = connection.execute(query.order_by(kb_history.c.at).limit(_SOME)).all()
            if not rows:
                return 0
            connection.execute(delete(kb_history).where(kb_history.c.number.in_([row.number for row in rows])))
            for place in {(row.owner, row.base) for row in rows}:
                mine = [row for row in rows if (row.owner, row.base) == place]
                revision = max(row.revision for row in mine)
                base = and_(kb_bases.c.owner == place[0], kb_bases.c.base == place[1])
                connection.execute(
                    update(kb_bases)
                    .where(base)
                    .values(
                        history_rows=kb_bases.c.history_rows - len(mine),
                        history_bytes=kb_bases.c.history_bytes - sum(row.size for row in mine),
                        forgotten=revision,
                    )
                )
                steps = and_(kb_steps.c.owner == place[0], kb_steps.c.base == place[1])
                connection.execute(delete(kb_steps).where(steps, kb_steps.c.revision <= revision))
            return len(rows)

        return await self._db.write(write)

    async def sessions(self) -> int:
        """Sessions that nobody wrote to for `SESSION_DAYS`, and their overlays."""
        before = self._now() - SESSION_DAYS * _DAY

        def write(connection: Connection) -> int:
            keys = (kb_sessions.c.owner, kb_sessions.c.base, kb_sessions.c.session)
            rows = connection.execute(select(*keys).where(kb_sessions.c.at < before).limit(_SESSIONS_AT_ONCE)).all()
            for row in rows:
                for table in (kb_overlays, kb_sessions):
                    connection.execute(
                        delete(table).where(
                            table.c.owner == row.owner, table.c.base == row.base, table.c.session == row.session
                        )
                    )
            return len(rows)

        return await self._db.write(write)

    async def proposals(self) -> int:
        """Proposals that nobody decided on for `PROPOSAL_DAYS`."""
        old = kb_proposals.c.at < self._now() - PROPOSAL_DAYS * _DAY
        return await self._delete(kb_proposals, old)

    async def batches(self) -> int:
        """What processes staged that died, of bases that nobody opened since."""
        before = self._now() - BATCH_DAYS * _DAY

        def write(connection: Connection) -> int:
            keys = (kb_batches.c.owner, kb_batches.c.base, kb_batches.c.batch)
            row = connection.execute(select(*keys).where(kb_batches.c.touched < before, ~_valid).limit(1)).first()
            if row is None:
                return 0
            mine = and_(kb_staged.c.owner == row.owner, kb_staged.c.base == row.base, kb_staged.c.batch == row.batch)
            last = connection.scalar(
                select(
                    func.max(
                        select(kb_staged.c.number)
                        .where(mine)
                        .order_by(kb_staged.c.number)
                        .limit(_SOME)
                        .subquery()
                        .c.number
                    )
                )
            )
            if last is not None:
                return connection.execute(delete(kb_staged).where(mine, kb_staged.c.number <= last)).rowcount
            connection.execute(
                delete(kb_batches).where(
                    kb_batches.c.owner == row.owner, kb_batches.c.base == row.base, kb_batches.c.batch == row.batch
                )
            )
            return 1

        return await self._db.write(write)

    async def vectors(self) -> int:
        """Vectors that are older than `VECTOR_DAYS` and of no entry's text."""
        old = and_(kb_vectors.c.at < self._now() - VECTOR_DAYS * _DAY, ~_used)
        return await self._delete(kb_vectors, old)

    async def _delete(self, table: Any, old: Any) -> int:
        keys = list(table.primary_key.columns)

        def read(connection: Connection) -> list[Any]:
            return list(connection.execute(select(*keys).where(old).limit(_SOME)).all())

        rows = await self._db.read(read)

        def write(connection: Connection) -> int:
            return sum(
                connection.execute(
                    delete(table).where(old, *(key == value for key, value in zip(keys, row, strict=True)))
                ).rowcount
                for row in rows
            )

        return await self._db.write(write) if rows else 0
