"""Remembered results: apart by owner, kept for some days and in some amount; what was used longest ago goes first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, func, insert, select, update

from innkeeper.storage.aging import AgingRows
from innkeeper.storage.database import Database
from innkeeper.storage.names import check_name
from innkeeper.storage.schema import memo, memo_usage

MOST_BODY: Final = 4 << 20
"""Bytes of a body; a larger one was not written here, and is not read."""

ROW: Final = 256
"""Bytes that each result counts beside its body, so that many small ones cannot take more than is said."""

_SWEEP_EVERY = 3600.0
"""Seconds after which the next result also takes those with it that are too old."""

_TOUCH_EVERY = 3600.0
"""Seconds after which a use is written down again: the order of the last uses need not be finer."""

_DAY = 86400.0
_INSERT = insert(memo)
_AGING = AgingRows(memo, memo_usage, key="key", oldest=("used", "key"))


class MemoStore:
    """Results by owner and key; those that are too old are never given, swept or not.

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
        days: for which a result is kept, above 0.
        total_bytes: that all results of one owner may have, at least 1.
        """
        if not days > 0 or total_bytes < 1:
            raise ValueError("results are kept for more than 0 days, and at least 1 byte of them")
        self._db = db
        self._now = now
        self._kept = days * _DAY
        self._total = total_bytes
        # When the next sweep is due; only the writer's thread touches it. The first result sweeps.
        self._due = 0.0

    async def get(self, owner: str, key: str) -> tuple[bytes, bool] | None:
        """A result's body, and whether its use is to be written down again (`touch`); None if there is none."""
        check_name(owner, "owner")
        check_name(key, "key")
        query = select(memo.c.at, memo.c.used, memo.c.body).where(
            memo.c.owner == owner, memo.c.key == key, func.length(memo.c.body) <= MOST_BODY
        )

        def read(connection: Connection) -> tuple[bytes, bool] | None:
            row = connection.execute(query).first()
            now = self._now()
            numbers = row is not None and isinstance(row.at, int | float) and isinstance(row.used, int | float)
            if row is None or not numbers or row.at < now - self._kept:
                return None
            # Somebody else may have written a text or a number there, which is no result.
            return (row.body, row.used < now - _TOUCH_EVERY) if isinstance(row.body, bytes) else None

        return await self._db.read(read)

    async def put(self, owner: str, new: Mapping[str, bytes]) -> int:
        """Keeps results, in place of those with the same keys; what was used longest ago goes where they do not fit.

        Args:
            owner: whose they are.
            new: bodies by key; few enough for one transaction.

        Returns:
            How many were kept (int): one above `MOST_BODY` is not, nor one that alone is more than the owner's may
            have together.
        """
        check_name(owner, "owner")
        for key in new:
            check_name(key, "key")
        left = [(key, body) for key, body in new.items() if len(body) <= min(MOST_BODY, self._total - ROW)]
        count = len(left)

        def write(connection: Connection) -> int:
            _, size = _AGING.usage.lock(connection, owner)
            same = _AGING.rows.where(memo.c.owner == owner, memo.c.key.in_([key for key, _ in left]))
            size -= _AGING.remove(connection, connection.execute(same).all())
            done = 0
            added = 0
            now = self._now()
            for key, body in left:
                length = len(body) + ROW
                if size + length > self._total:
                    if not done:
                        # In a step of its own: making room for a large one may take many small ones.
                        _AGING.make_room(connection, owner, size + length - self._total)
                    break
                row = {"owner": owner, "key": key, "at": now, "used": now, "size": length, "body": body}
                connection.execute(_INSERT, row)
                done, size, added = done + 1, size + length, added + length
            _AGING.usage.add(connection, owner, done, added)
            if now >= self._due:
                self._due = now + _SWEEP_EVERY
                self._sweep(connection)
            return done

        while left:
            del left[: await self._db.write(write)]
        return count

    async def touch(self, owner: str, keys: Sequence[str]) -> None:
        """Writes down that results were used now.

        Args:
            owner: whose they are.
            keys: of the results; few enough for one transaction. Those that are gone count for nothing.
        """
        check_name(owner, "owner")

        def write(connection: Connection) -> None:
            which = (memo.c.owner == owner) & memo.c.key.in_(keys)
            connection.execute(update(memo).where(which).values(used=self._now()))

        await self._db.write(write)

    async def erase(self, owner: str) -> int:
        """Deletes all results of an owner, in steps; gives how many (int)."""
        return await _AGING.erase(self._db, owner)

    async def sweep(self) -> int:
        """Deletes a bounded number of results, of whomever, that are too old; gives how many (int)."""
        return await self._db.write(self._sweep)

    async def usage(self, owner: str) -> tuple[int, int]:
        """How many results an owner has on disk, and what they count (bytes)."""
        return await _AGING.count(self._db, owner)

    def _sweep(self, connection: Connection) -> int:
        return _AGING.sweep(connection, self._now() - self._kept)
