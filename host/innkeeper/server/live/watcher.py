"""One who watches one run."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from innkeeper.errors import BusyError, InternalError
from innkeeper.server.live.messages import Message
from innkeeper.storage.run_model import StoredRun
from innkeeper.workflow.scheduling.events import Missed
from innkeeper.workflow.scheduling.seams import Gone

if TYPE_CHECKING:
    from innkeeper.server.live.feeds import Feed, Feeds

_TRIES: Final = 20
_PAUSE: Final = 0.25


class Watcher:
    """The messages of one run, in order: `async for message in watcher`, by one task. It ends with the run.

    Attributes:
        run: the run, as it stood when the watcher came.
        after: number of the last event that waits here, or was given out.
    """

    def __init__(self, feeds: Feeds, run: StoredRun, after: int) -> None:
        """Args:
        feeds: where it belongs.
        run: the run.
        after: number of the last event that the watcher has.
        """
        self.run = run
        self.after = after
        self._feeds = feeds
        self._told = after
        self._waiting: deque[Message] = deque()
        self._size = 0
        self._page: Page | None = None
        self._feed: Feed | None = None
        self._over = False
        self._failed = False
        self._rung = trio.Event()

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> Message:
        """The next message.

        Raises:
            StopAsyncIteration: the run has ended, or is not kept any more.
            RejectedError: what is kept of it is damaged.
            BusyError: the database, or the memory of the server, stayed busy.
            InternalError: the server has a defect.
        """
        while not self._waiting:
            if self._over:
                raise StopAsyncIteration
            if self._failed:
                raise InternalError("the events of the run could not be read; the server's log says more")
            if self._feed is None:
                await self.look()
                if not self._waiting and not self._over:
                    self._feed = self._feeds.join(self)
            else:
                self._rung = trio.Event()
                await self._rung.wait()
        return self._pop()

    def ready(self, most: int, size: int) -> list[Message]:
        """What waits already, up to so many messages and bytes; at least one, if there is one."""
        found: list[Message] = []
        while self._waiting and len(found) < most and (not found or self._waiting[0].size <= size):
            found.append(self._pop())
            size -= found[-1].size
        return found

    @property
    def over(self) -> bool:
        """Whether the run has ended and all was given out."""
        return self._over and not self._waiting

    def close(self) -> None:
        """It watches no more."""
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.remove(self)
        self._drop()
        self._feeds.room.give(self._size)
        self._waiting.clear()
        self._size = 0

    def _pop(self) -> Message:
        message = self._waiting.popleft()
        self._size -= message.size
        self._feeds.room.give(message.size)
        return message

    # --- for the feed -----------------------------------------------------------------------------------------------

    def take(self, message: Message) -> bool:
        """Takes a message of the feed, unless it has it; False where there is no room, and it must read for itself."""
        if (message.seq and message.seq <= self.after) or (message.upto and message.upto <= self._told):
            return True
        # One at least it can always have: else a large one could never be given to anybody.
        if self._waiting and self._size + message.size > self._feeds.outbox:
            return False
        if not self._feeds.room.take(message.size):
            return False
        self._add(message)
        self._rung.set()
        return True

    def left(self, over: bool, *, failed: bool = False) -> None:
        """The feed hands it nothing more: the run has ended, the feed failed, or it reads for itself from where it
        is."""
        self._feed = None
        self._over = over
        self._failed = failed
        self._rung.set()

    def _add(self, message: Message) -> None:
        self._waiting.append(message)
        self._size += message.size
        self.after = max(self.after, message.seq)
        self._told = max(self._told, message.upto)

    # --- reading for itself -----------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Reads a part of what it missed, where nothing waits and no feed hands it anything.

        Raises:
            RejectedError, BusyError: as `__anext__`.
        """
        if self._waiting or self._over or self._feed is not None:
            return
        page = self._page
        if page is None:
            missed = await self._missed()
            if missed is None:
                self._over = True
                return
            page = self._page = Page(missed)
            # Where there is no room for the page, all but what is encoded now is read again later.
            page.counted = page.size if self._feeds.room.take(page.size) else 0
        try:
            await self._encode(page)
        finally:
            if not page.items or not page.counted:
                self._drop()
        if not page.items:
            self.after, self._told = max(self.after, page.missed.upto), max(self._told, page.missed.told)
            self._over = page.missed.over

    async def _missed(self) -> Missed | None:
        for _ in range(_TRIES):
            try:
                return await self._feeds.missed(self.run.number, self.after, self._told)
            except BusyError:
                await trio.sleep(_PAUSE)
        return await self._feeds.missed(self.run.number, self.after, self._told)

    async def _encode(self, page: Page) -> None:
        feeds = self._feeds
        while page.items:
            message = await feeds.encoder.message(self.run.id, page.items[0])
            if self._waiting and self._size + message.size > feeds.outbox:
                return
            if not feeds.room.take(message.size, anyhow=message.size <= feeds.outbox):
                raise BusyError("too much waits to be sent to those who watch runs: try again later", bound="watching")
            page.items.popleft()
            self._add(message)

    def _drop(self) -> None:
        if self._page is not None:
            self._feeds.room.give(self._page.counted)
            self._page = None


class Page:
    """What was read, and is not encoded yet.

    Attributes:
        missed: as it was read.
        items: what is left of it.
        size: bytes that it takes, about.
        counted: those that count among what waits in memory; 0: it is kept for a moment only.
    """

    __slots__ = ("counted", "items", "missed", "size")

    def __init__(self, missed: Missed) -> None:
        """Args:
        missed: what was read.
        """
        self.missed = missed
        self.items = deque(missed.items)
        self.size = sum(0 if isinstance(item, Gone) else item.size for item in missed.items)
        self.counted = 0
