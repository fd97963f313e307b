"""Subscriptions, and events that wait until a handler took them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any, Final

from sqlalchemy import Connection, Row

from innkeeper.storage.database import Database
from innkeeper.storage.events_model import (
    MOST_DATA,
    MOST_HANDLER,
    MOST_TOPIC,
    PAGE_SIZE,
    Delivery,
    EventBounds,
    Nothing,
    Outcome,
    Subscription,
    TooManyError,
)
from innkeeper.storage.events_rows import add_event, begin, count, end, forget, unsubscribe
from innkeeper.storage.events_statements import (
    ALL_OF_OWNER,
    COUNT,
    FORGET,
    OF_PLUGIN,
    OLD,
    OLD_AND_NOBODYS,
    OWNERS,
    PAGE,
    PAIR,
    PLUGINS,
    RENEW,
    SEEN,
    SUBSCRIBE,
    TAKE,
    UNSEEN,
)
from innkeeper.storage.names import check_name

MOST_SWEPT: Final = 256
"""Events that one step of a sweep deletes: a few milliseconds."""


class EventStore:
    """Events by owner, in a bounded queue for each subscription.

    Each event is kept once, however many wait for it, until the last of them took it. What one call does happens in
    one transaction; `trio.Cancelled` means that it did not happen.

    All methods raise ValueError for names that cannot be one and arguments out of bounds, and what `Database.write`
    and `Database.read` raise.
    """

    def __init__(
        self, db: Database, *, now: Callable[[], float] = time.time, bounds: EventBounds | None = None
    ) -> None:
        """Args:
        db: where they are kept.
        now: seconds since 1970; called from any thread.
        bounds: what may be kept.
        """
        self._db = db
        self._now = now
        self._bounds = bounds or EventBounds()

    async def publish(
        self,
        owner: str,
        publisher: str | None,
        topic: str,
        data: bytes,
        *,
        matches: Callable[[str], bool],
        hops: int = 0,
    ) -> tuple[int | None, int]:
        """Keeps an event for each subscription of its owner whose pattern it matches.

        Where a queue is full, its oldest go, and are counted for the next delivery to say.

        Args:
            publisher: id of the plugin, None for the host.
            data: at most `MOST_DATA` bytes of msgpack.
            matches: whether a pattern has the topic; called in the thread that writes, so quick.
            hops: deliveries that it came out of.

        Returns:
            Its id (int), None where nobody subscribed and nothing was kept; and how many subscriptions (int).
        """
        check_name(owner, "owner")
        _check_length(topic, MOST_TOPIC, "topic")
        if len(data) > MOST_DATA:
            raise ValueError(f"the data is {len(data):,} bytes: the most is {MOST_DATA:,}")
        values = {"owner": owner, "publisher": publisher, "topic": topic, "data": bytes(data), "hops": hops}

        def write(connection: Connection) -> tuple[int | None, int]:
            rows = [row for row in connection.execute(ALL_OF_OWNER, {"its_owner": owner}) if matches(row.pattern)]
            if not rows:
                return None, 0
            return add_event(connection, rows, {**values, "at": self._now()}, self._bounds), len(rows)

        return await self._db.write(write)

    async def subscribe(self, owner: str, plugin: str, pattern: str, handler: str) -> bool:
        """Makes a subscription; False if there is one of this plugin, pattern and handler already.

        Raises:
            TooManyError: the plugin or the owner has as many as there may be.
        """
        place = _place(owner, plugin, pattern, handler)

        def write(connection: Connection) -> bool | TooManyError:
            rows = connection.execute(ALL_OF_OWNER, {"its_owner": owner}).all()
            own = [row for row in rows if row.plugin == plugin]
            if any((row.pattern, row.handler) == (pattern, handler) for row in own):
                return False
            if len(own) >= self._bounds.plugin:
                return TooManyError("plugin", self._bounds.plugin)
            if len(rows) >= self._bounds.owner:
                return TooManyError("owner", self._bounds.owner)
            nothing = dict.fromkeys(("waiting", "bytes", "dropped", "failed"), 0)
            times = {"seen": self._now(), "due": 0.0, "held": 0.0}
            names = {key.removeprefix("its_"): value for key, value in place.items()}
            connection.execute(SUBSCRIBE, {**names, **nothing, **times})
            return True

        done = await self._db.write(write)
        if isinstance(done, TooManyError):
            raise done
        return done

    async def unsubscribe(self, owner: str, plugin: str, pattern: str, handler: str) -> int | None:
        """Ends a subscription with what waits for it, a delivery that is under way excepted.

        Returns:
            How many events waited (int), None if there is no such subscription.
        """
        place = _place(owner, plugin, pattern, handler)

        def write(connection: Connection) -> int | None:
            row = connection.execute(PAIR, place).first()
            if row is None:
                return None
            unsubscribe(connection, row.id, row.waiting)
            return int(row.waiting)

        return await self._db.write(write)

    async def of_plugin(self, owner: str, plugin: str) -> list[Subscription]:
        """The subscriptions of a plugin and owner, oldest first."""
        check_name(owner, "owner")
        check_name(plugin, "plugin")
        values = {"its_owner": owner, "its_plugin": plugin}
        return await self._db.read(lambda connection: [_read(row) for row in connection.execute(OF_PLUGIN, values)])

    async def owners(self) -> list[str]:
        """Who has subscriptions (list of str)."""
        return await self._db.read(lambda connection: [*connection.scalars(OWNERS)])

    async def pending(self, after: int = 0) -> list[Subscription]:
        """Subscriptions for which events wait, of whomever, by id; `PAGE_SIZE` at most, with an id above `after`."""
        values = {"after": after, "most": PAGE_SIZE}
        return await self._db.read(lambda connection: [_read(row) for row in connection.execute(PAGE, values)])

    async def begin(self, subscription: int, holder: str, lease: float) -> Delivery | Nothing:
        """Hands out the first event that waits for a subscription. It stays in the queue until `end`.

        Args:
            subscription: its id.
            holder: who delivers; nobody else gets one of this subscription meanwhile.
            lease: seconds after which others may, unless `renew` was called.

        Returns:
            Delivery: or "empty" where nothing waits, "held" where somebody else delivers.
        """
        return await self._db.write(lambda connection: begin(connection, subscription, holder, self._now(), lease))

    async def end(self, delivery: Delivery, holder: str, outcome: Outcome, *, pause: float = 0.0) -> bool:
        """Writes down how a delivery ended.

        Args:
            delivery: of `begin`.
            holder: who delivered.
            outcome: how.
            pause: seconds in which nothing more is delivered to this subscription.

        Returns:
            False (bool) where somebody else delivers by now, or nobody; then nothing was written.
        """
        return await self._db.write(
            lambda connection: end(connection, delivery, holder, outcome, self._now() + pause if pause else 0.0)
        )

    async def renew(self, holder: str, lease: float) -> None:
        """Whoever delivers goes on doing so."""
        values = {"me": holder, "until": self._now() + lease}
        await self._db.write(lambda connection: connection.execute(RENEW, values).close())

    async def saw(self, plugins: Collection[str]) -> None:
        """Notes which plugins are there, so that the subscriptions of others can be ended in time."""

        def write(connection: Connection) -> None:
            found = [name for name in connection.scalars(PLUGINS) if name in plugins]
            if found:
                connection.execute(SEEN, [{"its_plugin": name, "now": self._now()} for name in found])

        await self._db.write(write)

    async def sweep(self, days: float) -> int:
        """Deletes a bounded number of events that are older, and ends one subscription whose plugin was not seen.

        Args:
            days: for which an event is kept, and a subscription of a plugin that is gone.

        Returns:
            How many of both went (int); above 0 means that there may be more.
        """

        def write(connection: Connection) -> int:
            before = self._now() - days * 86400.0
            values = {"before": before, "most": MOST_SWEPT}
            old = connection.execute(OLD, values).all()
            if old:
                connection.execute(TAKE, [{"its_id": row.subscription, "its_event": row.event} for row in old])
                sizes: defaultdict[int, list[int]] = defaultdict(list)
                for row in old:
                    sizes[row.subscription].append(row.size)
                went = [count(each, -len(its), -sum(its), len(its)) for each, its in sizes.items()]
                connection.execute(COUNT, went)
                forget(connection, (row.event for row in old))
            left = [{"its_event": event} for event in connection.scalars(OLD_AND_NOBODYS, values)]
            if left:
                connection.execute(FORGET, left)
            unseen = connection.execute(UNSEEN, {"before": before}).first()
            if unseen is not None:
                unsubscribe(connection, unseen.id, unseen.waiting)
            return len(old) + len(left) + (unseen is not None)

        return await self._db.write(write)


def _read(row: Row[Any]) -> Subscription:
    return Subscription(
        id=row.id,
        owner=row.owner,
        plugin=row.plugin,
        pattern=row.pattern,
        handler=row.handler,
        waiting=row.waiting,
        dropped=row.dropped,
        failed=row.failed,
        due=row.due,
    )


def _place(owner: str, plugin: str, pattern: str, handler: str) -> dict[str, str]:
    check_name(owner, "owner")
    check_name(plugin, "plugin")
    _check_length(pattern, MOST_TOPIC, "pattern")
    check_name(handler, "handler")
    _check_length(handler, MOST_HANDLER, "handler")
    return {"its_owner": owner, "its_plugin": plugin, "its_pattern": pattern, "its_handler": handler}


def _check_length(text: str, most: int, what: str) -> None:
    if not 0 < len(text) <= most:
        raise ValueError(f"the {what} must have 1 to {most} characters")
