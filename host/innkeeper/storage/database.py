"""An SQLite database under trio: one thread writes, a few read, and no task ever blocks."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import trio
from sqlalchemy import Connection

from innkeeper.errors import BusyError, UsageError
from innkeeper.storage.engines import reading_engine, turn_on_wal, writing_engine
from innkeeper.storage.faults import translated
from innkeeper.storage.file import private_file
from innkeeper.storage.jobs import Jobs
from innkeeper.storage.lanes import Reader, Writer
from innkeeper.storage.upgrade import upgrade

T = TypeVar("T")

READERS: Final = 4
"""Threads that read: a slow query holds up one of them."""

QUEUE: Final = 1024
"""Writes, and reads, that are queued: what closing still does, well under a second."""


class Database:
    """An open database (`open_database`). Its methods may be called from any loop of trio in the process."""

    def __init__(self, path: Path, *, readers: int, queue: int) -> None:
        self.name = path.name
        """The file's name (str), which messages show."""
        self.path = path
        """The file (Path), absolute."""
        self._writes = Jobs(queue, self.name)
        self._reads = Jobs(queue, self.name)
        self._writer = Writer(writing_engine(path), self._writes, self.name)
        reading = reading_engine(path)
        works = [self._writer.work, *(Reader(reading, self._reads, self.name).work for _ in range(readers))]
        self._threads = [
            threading.Thread(target=work, name=f"innkeeper database {number}", daemon=True)
            for number, work in enumerate(works)
        ]

    @property
    def commits(self) -> int:
        """How many transactions were committed (int): many writes share one."""
        return self._writer.commits

    async def write(self, function: Callable[[Connection], T]) -> T:
        """Calls `function` in the thread that writes, and returns after its writes are committed.

        `trio.Cancelled` means that it was not called, and nothing was written.

        Args:
            function: takes a `sqlalchemy.Connection` in a transaction, which it does not end; quick, since all
                writes wait for it. What it raises undoes its own writes, and is raised here.

        Raises:
            RejectedError: the file is damaged.
            BusyError: another process held the database for too long, or the disk is full.
            UsageError: the database is closed, or cannot be written to.
        """
        return await self._writes.run(function)

    async def read(self, function: Callable[[Connection], T]) -> T:
        """Calls `function` in one of the threads that read, in a transaction that sees one state.

        Args:
            function: takes a `sqlalchemy.Connection`, with which it cannot write.

        Raises:
            RejectedError, BusyError, UsageError: as `write`.
        """
        return await self._reads.run(function)

    def _start(self) -> None:
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError:
            self._end()
            raise BusyError(
                f"the system starts no thread for the database {self.name!r}: end something else",
                bound="worker threads",
            ) from None

    def _end(self) -> None:
        self._writes.close()
        self._reads.close()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()


@asynccontextmanager
async def open_database(path: Path, *, readers: int = READERS, queue: int = QUEUE) -> AsyncIterator[Database]:
    """A database, brought to the newest schema; `async with open_database(path) as database`.

    The end of the block finishes the writes that are queued; it may be in another task than the beginning. Several
    processes may have the same file open.

    Args:
        path: the file, made where it is missing, with mode 0600. Its folder gets mode 0700, so it should hold nothing
            that others read.
        readers: threads that read (int, at least 1).
        queue: writes, and reads, that are queued (int, at least 1); further callers wait, and are refused when the
            block ends.

    Raises:
        RejectedError: the file is damaged, another program's, or has a schema of a newer version.
        BusyError: another process held the database for too long, or the system starts no thread.
        UsageError: file or folder is not ours alone, or cannot be used.
    """
    if readers < 1 or queue < 1:
        raise UsageError("a database needs at least one reader and a queue of at least one")
    path = _absolute(path)
    # Of its own, so that others' threads cannot keep a database from being closed.
    limiter = trio.CapacityLimiter(1)
    await trio.to_thread.run_sync(_prepare, path, limiter=limiter)
    database = Database(path, readers=readers, queue=queue)
    database._start()
    try:
        yield database
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(database._end, limiter=limiter)


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except OSError:
        raise UsageError("the working directory is gone; give the whole path of the database") from None


def _prepare(path: Path) -> None:
    name = path.name
    with private_file(path):
        engine = writing_engine(path)
        try:
            if not turn_on_wal(engine):
                raise UsageError(f"the database {name!r} lies on a disk that cannot hold one: choose another folder")
            with engine.begin() as connection:
                upgrade(connection, name)
        except Exception as error:
            raise translated(error, name) from None
