"""The service `events`: what plugins tell each other, kept until it was taken."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgpack
import trio
from pydantic import Field

from innkeeper.bridge.bell import Bell
from innkeeper.bridge.caller import Caller
from innkeeper.bridge.delivery import POLL, Deliveries, hops_of_the_next
from innkeeper.bridge.delivery_policy import PAUSES
from innkeeper.bridge.needs import Needs
from innkeeper.bridge.operation import operation
from innkeeper.bridge.quota import Rate
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.errors import BusyError, InnkeeperError
from innkeeper.plugins.scopes import read_topics
from innkeeper.storage.events_model import MOST_DATA, MOST_HANDLER, MOST_TOPIC, EventBounds, TooManyError

if TYPE_CHECKING:
    from innkeeper.storage.events import EventStore

logger = logging.getLogger("innkeeper.bridge")

RATE: Final = Rate(per_second=100, burst=200)
"""Calls of one plugin: with the largest data, 6.4 MB a second on disk."""

MOST_HOPS: Final = 8
"""How often what a handler publishes may be delivered to a handler that publishes."""

HOST: Final = "innkeeper"
"""First word of the topics that only the host publishes on."""

_MOST_ANNOUNCED = 1000

Topic = Annotated[str, Field(min_length=1, max_length=MOST_TOPIC)]
Handler = Annotated[str, Field(min_length=1, max_length=MOST_HANDLER)]


class EventsService:
    """Takes events, and delivers them to the functions of plugins that subscribed, at least once and in order."""

    def __init__(
        self,
        needs: Needs,
        *,
        bounds: EventBounds | None = None,
        now: Callable[[], float] = time.time,
        pauses: Sequence[float] | None = None,
    ) -> None:
        """Args:
        needs: where events are kept, who is called, and for how long an event is kept.
        bounds: what may be kept.
        now: seconds since 1970; called from any thread.
        pauses: seconds before a further attempt, after each one that failed; by default `PAUSES`.
        """
        self._needs = needs
        self._bounds = bounds
        self._now = now
        self._pauses = tuple(PAUSES if pauses is None else pauses)
        self._kept: EventStore | None = None
        self._bell = Bell()
        self._announced: deque[tuple[str, bytes]] = deque(maxlen=_MOST_ANNOUNCED)

    async def _store(self) -> EventStore:
        if self._kept is None:
            database = await self._needs.database()
            # Building statements takes a while: not on trio's thread.
            module = await trio.to_thread.run_sync(import_module, "innkeeper.storage.events")
            if self._kept is None:
                self._kept = module.EventStore(database, now=self._now, bounds=self._bounds)
                self._bell.ring()
        return self._kept

    @operation("events.publish", use="topic", free_form=True)
    async def publish(self, caller: Caller, *, topic: Topic, data: Any = None) -> dict[str, Any]:
        """Publishes an event, for each subscription that has its topic. It is kept when this returns.

        Args:
            topic: words joined by dots, such as "weather.changed"; the first is not "innkeeper".
            data: what there is to say, at most 64 KiB.

        Returns:
            {id: integer, or nil where nobody subscribed; subscribers: how many subscriptions have it}
        """
        if topic.split(".", 1)[0] == HOST:
            raise ServiceError(
                Refusal.DENIED, f"only the host publishes on {HOST!r} and below", capability="events.publish"
            )
        packed: bytes = msgpack.packb(data, use_bin_type=True)
        if len(packed) > MOST_DATA:
            raise ServiceError(
                Refusal.INVALID, f"events.publish: the data has {len(packed):,} bytes, the most is {MOST_DATA:,}"
            )
        hops = hops_of_the_next()
        if hops > MOST_HOPS:
            raise ServiceError(
                Refusal.QUOTA,
                f"this event comes out of {hops} others, each published by the handler of the one before; "
                f"the most is {MOST_HOPS}",
                quota="hops",
                value=MOST_HOPS,
            )
        with _refusing():
            store = await self._store()
            event, subscribers = await store.publish(
                caller.owner, caller.plugin, topic, packed, matches=_matcher(topic), hops=hops
            )
        if subscribers:
            self._bell.ring()
        return {"id": event, "subscribers": subscribers}

    @operation("events.subscribe", use="pattern", covers=True)
    async def subscribe(self, caller: Caller, *, pattern: Topic, handler: Handler) -> dict[str, Any]:
        """Has a function of the plugin called with each event of some topics from now on. Once more is no more.

        Args:
            pattern: of topics: `*` is one word, `**` at the end is one or more.
            handler: an exported function without parameters. Its input is {id, topic, data, at, from, dropped,
                attempt}; what it gives back is not used.

        Returns:
            {created: whether there was no such subscription}
        """
        if caller.version is not None and handler not in caller.version.callable:
            raise ServiceError(Refusal.NOT_FOUND, "events.subscribe: the plugin exports no such function to be called")
        with _refusing():
            store = await self._store()
            created = await store.subscribe(caller.owner, caller.plugin, _normal(pattern), handler)
        return {"created": created}

    @operation("events.subscribe")
    async def unsubscribe(self, caller: Caller, *, pattern: Topic, handler: Handler) -> dict[str, Any]:
        """Ends a subscription, with what waits for it. A handler that runs goes on.

        Args:
            pattern: as it was subscribed to.
            handler: as it was subscribed with.

        Returns:
            {deleted: whether there was one, waiting: how many events waited}
        """
        with _refusing():
            store = await self._store()
            waiting = await store.unsubscribe(caller.owner, caller.plugin, _normal(pattern), handler)
        return {"deleted": waiting is not None, "waiting": waiting or 0}

    @operation("events.subscribe")
    async def subscriptions(self, caller: Caller) -> dict[str, Any]:
        """Lists the plugin's own subscriptions, oldest first.

        Returns:
            {subscriptions: list of {pattern, handler, waiting: events that wait, dropped: events that went since a
            delivery last said how many, failed: events that were given up}}
        """
        with _refusing():
            store = await self._store()
            found = await store.of_plugin(caller.owner, caller.plugin)
        names = ("pattern", "handler", "waiting", "dropped", "failed")
        return {"subscriptions": [{name: getattr(each, name) for name in names} for each in found]}

    def announce(self, topic: str, data: Any) -> None:
        """Publishes an event of the host's own, for every owner; returns at once. From trio's thread.

        Where nobody may subscribe, and beyond a bounded number that were not written yet, it is lost.

        Args:
            topic: what follows "innkeeper.", such as "plugin.changed".
            data: plain data that every subscriber may see: no path, nothing secret.

        Raises:
            ValueError: that is no topic, or the data is too large.
        """
        topic = f"{HOST}.{topic}"
        packed: bytes = msgpack.packb(data, use_bin_type=True)
        if not _read("**").allows(topic) or len(topic) > MOST_TOPIC or len(packed) > MOST_DATA:
            raise ValueError(f"this cannot be announced on {topic!r}")
        self._announced.append((topic, packed))
        self._bell.ring()

    async def serve(self) -> None:
        """Delivers, announces and sweeps. Opens nothing before a plugin asks, or has a right to subscribe."""
        while self._kept is None and not self._may_subscribe():
            self._announced.clear()
            await self._bell.wait(POLL)
        failing = False
        while True:
            try:
                store = await self._store()
                break
            except InnkeeperError as error:
                if not failing:
                    logger.warning("events are not delivered yet: %s", error)
                failing = True
                await trio.sleep(_AGAIN)
        days = self._needs.configuration.retention.event_days
        deliveries = Deliveries(
            store, self._needs.host, self._bell, now=self._now, pauses=self._pauses, days=days, before=self._write
        )
        await deliveries.run()

    def _may_subscribe(self) -> bool:
        return any(plugin.rights.scopes("events.subscribe") for plugin in self._needs.host().plugins.values())

    async def _write(self) -> None:
        # What was announced. One that is not written, since the store is busy, is not lost.
        store = await self._store()
        while self._announced:
            topic, data = self._announced[0]
            for owner in await store.owners():
                await store.publish(owner, None, topic, data, matches=_matcher(topic))
            if self._announced and self._announced[0] == (topic, data):
                self._announced.popleft()


_AGAIN = 5.0


def _matcher(topic: str) -> Callable[[str], bool]:
    # Many subscribe to one pattern.
    @cache
    def matches(pattern: str) -> bool:
        return _read(pattern).allows(topic)

    return matches


_read = lru_cache(maxsize=4096)(read_topics)


def _normal(pattern: str) -> str:
    try:
        return read_topics(pattern).text
    except ValueError as error:
        raise ServiceError(Refusal.INVALID, f"pattern: {error}") from None


@contextmanager
def _refusing() -> Iterator[None]:
    # What the store does not do becomes what the guest reads.
    try:
        yield
    except TooManyError as error:
        raise ServiceError(Refusal.QUOTA, str(error), quota="subscriptions", value=error.value) from None
    except BusyError:
        raise ServiceError(Refusal.BUSY, "the store is busy; try again later") from None
    except ValueError as error:
        raise ServiceError(Refusal.INVALID, str(error)) from None
