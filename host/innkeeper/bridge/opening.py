"""Opens the database of a host's services when one of them first needs it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from importlib import import_module
from typing import TYPE_CHECKING

import trio

from innkeeper.errors import UsageError
from innkeeper.storage.location import Location

if TYPE_CHECKING:
    from innkeeper.storage.database import Database

_PAUSE = 1.0
"""Seconds for which a failure to open is remembered."""


class LazyDatabase:
    """A database that is opened once, however many ask for it at the same time."""

    def __init__(self, location: Location, stack: AsyncExitStack) -> None:
        """Args:
        location: where it is.
        stack: closes the database.
        """
        self.location = location
        self._stack = stack
        self._database: Database | None = None
        self._attempt: _Attempt | None = None
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether somebody needed it (bool)."""
        return self._database is not None

    @trio.lowlevel.enable_ki_protection
    async def open(self) -> Database:
        """The database.

        Raises:
            UsageError: it is closed, or as `storage.database.open_database`.
            RejectedError, BusyError: as `storage.database.open_database`.
        """
        # In a task of its own, since a call that is cancelled must neither wait for it nor leave it half done.
        while self._database is None:
            if self._closed:
                raise UsageError("the host is closed")
            if self._attempt is None:
                self._attempt = _Attempt()
                trio.lowlevel.spawn_system_task(self._try, self._attempt)
            attempt = self._attempt
            await attempt.done.wait()
            if attempt.failure is not None:
                raise attempt.failure.with_traceback(None)
        return self._database

    async def _try(self, attempt: _Attempt) -> None:
        try:
            opened = await trio.to_thread.run_sync(_opener, self.location)
            self._database = await self._stack.enter_async_context(opened)
        except Exception as error:
            attempt.failure = error
        finally:
            attempt.done.set()
        if attempt.failure is not None:
            # Whoever asks again at once is told the same, and nothing is tried.
            with attempt.pause:
                await trio.sleep(_PAUSE)
        self._attempt = None
        attempt.over.set()

    def refuse(self) -> None:
        """Nothing is opened any more."""
        self._closed = True

    async def aclose(self) -> None:
        """Waits for what is being opened. The stack closes what is open."""
        self._closed = True
        attempt = self._attempt
        if attempt is not None:
            attempt.pause.cancel()
            await attempt.over.wait()


class _Attempt:
    """One try to open the database.

    Attributes:
        done: it is open, or `failure` says why not.
        pause: for how long the failure is remembered.
        over: another try may begin.
    """

    def __init__(self) -> None:
        self.done, self.over = trio.Event(), trio.Event()
        self.pause = trio.CancelScope()
        self.failure: Exception | None = None


def _opener(location: Location) -> AbstractAsyncContextManager[Database]:
    # Importing what speaks to databases takes a while: not on trio's thread.
    from innkeeper.storage.database import open_database

    # What a service asks the database with next.
    import_module("innkeeper.storage.kv")
    return open_database(location)
