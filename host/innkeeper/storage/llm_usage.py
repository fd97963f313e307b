"""Tokens of language models by day: set aside before they are used, and settled when it is known how many were.

What is set aside is written down at once. So a host that ends in the midst of a request has counted it, and hosts that
share a database share the quota.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, and_, bindparam, delete, func, select, update

from innkeeper.storage.database import Database
from innkeeper.storage.llm_model import MOST_TOKENS, DayUsage, Reserved, UsedUpError
from innkeeper.storage.names import check_name
from innkeeper.storage.schema import llm_usage
from innkeeper.storage.statements import insert_if_missing

KEPT: Final = 90
"""Days that are kept, to be looked at."""

_DAY = 86_400
_OF_PLUGIN = and_(*(llm_usage.c[name] == bindparam(f"its_{name}") for name in ("owner", "plugin")))
_ON_DAY = and_(_OF_PLUGIN, llm_usage.c.day == bindparam("its_day"))
_READ = select(llm_usage.c.tokens, llm_usage.c.estimated, llm_usage.c.requests).where(_ON_DAY)
_ADD = (
    update(llm_usage)
    .where(_ON_DAY)
    .values(
        tokens=llm_usage.c.tokens + bindparam("more_tokens"),
        estimated=llm_usage.c.estimated + bindparam("more_estimated"),
        requests=llm_usage.c.requests + bindparam("more_requests"),
    )
)
_OLDEST = select(func.min(llm_usage.c.day)).where(llm_usage.c.day < bindparam("oldest")).scalar_subquery()
_FORGET_DAY = delete(llm_usage).where(llm_usage.c.day == _OLDEST)
_FORGET = delete(llm_usage).where(_OF_PLUGIN, llm_usage.c.day < bindparam("oldest"))


class LlmUsageStore:
    """Counts by owner, plugin and day. All methods raise what `Database.write` and `Database.read` raise."""

    def __init__(self, db: Database, *, now: Callable[[], float] = time.time) -> None:
        """Args:
        db: where it is kept.
        now: seconds since 1970.
        """
        self._db = db
        self._now = now

    async def reserve(self, owner: str, plugin: str, tokens: int, most: int) -> Reserved:
        """Sets tokens of today aside, for one request.

        Args:
            tokens: 0 to `MOST_TOKENS`.
            most: that may be used in a day, with what is set aside.

        Raises:
            UsedUpError: so many are not left.
        """
        check_name(owner, "owner")
        check_name(plugin, "plugin")
        if not 0 <= tokens <= MOST_TOKENS:
            raise ValueError("so many tokens cannot be set aside")
        day = int(self._now() // _DAY)
        place = {"its_owner": owner, "its_plugin": plugin}

        def write(connection: Connection) -> int | None:
            # To be changed: on PostgreSQL this is what makes requests of one plugin take turns.
            statement = _READ.with_for_update()
            row = connection.execute(statement, {**place, "its_day": day}).first()
            if row is None:
                connection.execute(_FORGET, {**place, "oldest": day - KEPT})
                values = {"owner": owner, "plugin": plugin, "day": day, "tokens": 0, "estimated": 0, "requests": 0}
                insert_if_missing(connection, llm_usage, values)
                row = connection.execute(statement, {**place, "its_day": day}).one()
            left = most - int(row.tokens)
            if tokens > left:
                return max(left, 0)
            connection.execute(_ADD, {**place, "its_day": day, **_more(tokens, 0, 1)})
            return None

        left = await self._db.write(write)
        if left is not None:
            raise UsedUpError(left)
        return Reserved(owner, plugin, day, tokens)

    async def settle(self, reserved: Reserved, tokens: int, *, estimated: bool = False) -> None:
        """Puts what was used in place of what was set aside. To be called at most once.

        Args:
            tokens: how many were used, 0 to `MOST_TOKENS`.
            estimated: whether nobody reported it.
        """
        if not 0 <= tokens <= MOST_TOKENS:
            raise ValueError("so many tokens cannot have been used")
        values = {"its_owner": reserved.owner, "its_plugin": reserved.plugin, "its_day": reserved.day}
        values |= _more(tokens - reserved.tokens, tokens if estimated else 0, 0)
        await self._db.write(lambda connection: connection.execute(_ADD, values))

    async def used(self, owner: str, plugin: str) -> DayUsage:
        """What was used today."""
        where = {"its_owner": owner, "its_plugin": plugin, "its_day": int(self._now() // _DAY)}

        def read(connection: Connection) -> DayUsage:
            row = connection.execute(_READ, where).first()
            return DayUsage() if row is None else DayUsage(row.tokens, row.estimated, row.requests)

        return await self._db.read(read)

    async def sweep(self) -> int:
        """Deletes the counts of one day that is too long ago: a row for each plugin; gives how many (int)."""
        oldest = int(self._now() // _DAY) - KEPT
        return await self._db.write(lambda connection: connection.execute(_FORGET_DAY, {"oldest": oldest}).rowcount)


def _more(tokens: int, estimated: int, requests: int) -> dict[str, int]:
    return {"more_tokens": tokens, "more_estimated": estimated, "more_requests": requests}
