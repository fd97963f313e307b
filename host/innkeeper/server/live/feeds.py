"""The events of runs for those who watch them: one reader for each run, however many watch it.

A watcher first reads for itself what it missed, at its own pace; where it has caught up it joins the run's feed, which
reads each event once, encodes it once and hands it to all. Guarantees: events come in order, each once, none is left
out (what is not kept any more is told); a watcher that does not keep up leaves the feed and reads for itself again, so
that nobody waits for it and it loses nothing; what waits in memory is bounded for each watcher and for all.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from innkeeper.errors import BusyError, InnkeeperError
from innkeeper.server.live.messages import Encoder, Message
from innkeeper.server.live.room import OUTBOX, Room
from innkeeper.server.live.watcher import Watcher
from innkeeper.storage.run_model import StoredRun
from innkeeper.workflow.scheduling.events import Missed, SqlEvents

logger = logging.getLogger("innkeeper.server")

READERS: Final = 4
"""Pages that are read at the same time for watchers that catch up: a page has a megabyte or two."""

_BREATH: Final = 16


class Feeds:
    """All that is watched.

    Attributes:
        room: what waits in memory.
        encoder: makes messages of events.
    """

    def __init__(self, events: SqlEvents, tasks: trio.Nursery, *, watchers: int = 4096, outbox: int = OUTBOX) -> None:
        """Args:
        events: what runs say.
        tasks: in which feeds read; with it they end.
        watchers: how many there may be at the same time; each may have `outbox` bytes and one message in memory.
        outbox: bytes that wait for one.
        """
        self.room = Room()
        self.encoder = Encoder()
        self.outbox = outbox
        self._events = events
        self._tasks = tasks
        self._most = watchers
        self._watchers: Counter[str] = Counter()
        self._feeds: dict[int, Feed] = {}
        self._reading = trio.CapacityLimiter(READERS)

    @property
    def watchers(self) -> int:
        """How many watch."""
        return self._watchers.total()

    @property
    def reading(self) -> int:
        """How many runs are read for them."""
        return len(self._feeds)

    @property
    def sharing(self) -> int:
        """How many of those who watch have caught up, and read nothing for themselves."""
        return sum(len(feed) for feed in self._feeds.values())

    @asynccontextmanager
    async def watch(self, run: StoredRun, after: int = 0, *, who: str) -> AsyncIterator[Watcher]:
        """Watches a run; whether one may, the caller has made sure of.

        Args:
            run: the run.
            after: number of the last event that the watcher has; 0: none.
            who: id of the user who watches: one may have half of all watchers.

        Raises:
            BusyError: as many watch as may.
        """
        if self.watchers >= self._most or self._watchers[who] >= max(1, self._most // 2):
            raise BusyError("as many runs are watched as may be at the same time: try again later", bound="watchers")
        watcher = Watcher(self, run, after)
        self._watchers[who] += 1
        try:
            yield watcher
        finally:
            self._watchers[who] -= 1
            if not self._watchers[who]:
                del self._watchers[who]
            watcher.close()

    async def missed(self, number: int, after: int, told: int) -> Missed | None:
        """As `SqlEvents.missed`, few at a time."""
        async with self._reading:
            return await self._events.missed(number, after, told)

    def join(self, watcher: Watcher) -> Feed | None:
        """The feed of a watcher's run, from now on for it too; None where that is ahead, and the watcher has to read
        on first."""
        feed = self._feeds.get(watcher.run.number)
        if feed is None:
            feed = self._feeds[watcher.run.number] = Feed(self, watcher.run, watcher.after)
            feed.add(watcher)
            self._tasks.start_soon(feed.read, self._events)
            return feed
        return feed if feed.add(watcher) else None

    def over(self, feed: Feed) -> None:
        """A feed has no watchers any more."""
        if self._feeds.get(feed.run.number) is feed:
            del self._feeds[feed.run.number]


class Feed:
    """One run, read for all who have caught up with it.

    Attributes:
        run: the run.
    """

    def __init__(self, feeds: Feeds, run: StoredRun, after: int) -> None:
        """Args:
        feeds: all of them.
        run: the run.
        after: number after which it is read.
        """
        self.run = run
        self._feeds = feeds
        self._after = after
        self._watchers: set[Watcher] = set()
        self._scope = trio.CancelScope()
        # The last messages, so that a watcher can join that is a little behind: all events after `_floor` that were
        # read by now. Without them none could join a run that says something faster than one reads.
        self._recent: deque[Message] = deque()
        self._size = 0
        self._floor = after

    def __len__(self) -> int:
        return len(self._watchers)

    def add(self, watcher: Watcher) -> bool:
        """Hands a watcher all from now on, and what it has missed of late; False where that is too much."""
        if watcher.after < self._floor:
            return False
        for message in self._recent:
            if not watcher.take(message):
                return False
        self._watchers.add(watcher)
        return True

    def remove(self, watcher: Watcher) -> None:
        """A watcher reads no more, or for itself."""
        self._watchers.discard(watcher)
        if not self._watchers:
            self._feeds.over(self)
            self._scope.cancel()

    async def read(self, events: SqlEvents) -> None:
        """Reads the run until it has ended, or nobody watches."""
        over = failed = False
        try:
            with self._scope:
                async with events.subscribe(self.run.id, self._after) as told:
                    count = 0
                    async for item in told:
                        self._push(await self._feeds.encoder.message(self.run.id, item))
                        count += 1
                        if not count % _BREATH:
                            await trio.lowlevel.checkpoint()
                over = True
        except InnkeeperError as error:
            # Each watcher reads on for itself, and finds out what it means for it.
            logger.warning("the events of the run %s could not be read: %s", self.run.id, error)
        except Exception:
            # A defect of one feed ends no server; those who watch would run into it again and again.
            logger.exception("the events of the run %s could not be read", self.run.id)
            failed = True
        finally:
            self._feeds.over(self)
            for watcher in list(self._watchers):
                self._watchers.discard(watcher)
                watcher.left(over, failed=failed)

    def _push(self, message: Message) -> None:
        self._recent.append(message)
        self._size += message.size
        if message.upto > self._floor:
            # Who joins later and has less than that must be told for itself what is gone.
            self._floor = message.upto
            self._recent.clear()
            self._size = 0
        while self._size > self._feeds.outbox and self._recent:
            dropped = self._recent.popleft()
            self._size -= dropped.size
            self._floor = max(self._floor, dropped.seq)
        for watcher in list(self._watchers):
            if not watcher.take(message):
                self._watchers.discard(watcher)
                watcher.left(False)
        if not self._watchers:
            self._feeds.over(self)
            self._scope.cancel()
