"""A database under trio, SQLite's or PostgreSQL's: one thread writes, a few read, and no task ever blocks."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import trio
from sqlalchemy import Connection, Engine

from innkeeper.errors import BusyError, UsageError
from innkeeper.storage import engines, postgres
from innkeeper.storage.backup.snapshot import alone
from innkeeper.storage.copies import make_copy, prune
from innkeeper.storage.faults import translated
from innkeeper.storage.file import private_file
from innkeeper.storage.jobs import Jobs
from innkeeper.storage.lanes import Reader, Writer
from innkeeper.storage.location import Location
from innkeeper.storage.schema import REVISIONS
from innkeeper.storage.upgrade import upgrade

T = TypeVar("T")

logger = logging.getLogger("innkeeper.storage")

READERS: Final = 4
"""Threads that read: a slow query holds up one of them."""

QUEUE: Final = 1024
"""Writes, and reads, that are queued: what closing still does, well under a second."""


class Database:
    """An open database (`open_database`). Its methods may be called from any loop of trio in the process."""

    def __init__(self, location: Location, *, readers: int, queue: int) -> None:
        self.location = location
        """Where it is (Location); a file's path is absolute."""
        self.name = location.name
        """What messages call it (str)."""
        self.path = location.path
        """The file (Path), absolute; None where a server keeps it."""
        self._writes = Jobs(queue, self.name)
        self._reads = Jobs(queue, self.name)
        writing, reading = _engines(location)
        self._writer = Writer(writing, self._writes, self.name, reading)
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
                writes wait for it. What it raises undoes its own writes, and is raised here. Called again where a
                server ended the connection before the commit, so it changes nothing but the database.

        Raises:
            RejectedError: the database is damaged.
            BusyError: another process held the database for too long, the disk is full, or the server was lost.
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
async def open_database(
    where: Path | str | Location, *, readers: int = READERS, queue: int = QUEUE
) -> AsyncIterator[Database]:
    """A database, brought to the newest schema; `async with open_database(path) as database`. One that has rows is
    copied before (`copies.make_copy`); a server's is not upgraded unless `Location.upgrade` allows it.

    The end of the block finishes the writes that are queued; it may be in another task than the beginning. Several
    processes, and with a server several machines, may have the same database open.

    Args:
        where: the file of an SQLite database (Path), made where it is missing, with mode 0600; its folder gets mode
            0700, so it should hold nothing that others read. Or the URL of a PostgreSQL database (str), as libpq has
            it, which is there, empty or ours. Or either as a `Location`.
        readers: threads that read (int, at least 1).
        queue: writes, and reads, that are queued (int, at least 1); further callers wait, and are refused when the
            block ends.

    Raises:
        RejectedError: the database is damaged, another program's, or has a schema of a newer version.
        BusyError: another process held the database for too long, the server cannot be reached, the system starts no
            thread, or the disk has no room for a copy.
        UsageError: file or folder is not ours alone, or cannot be used; the URL is none, or the server refuses us; it
            is to be upgraded, and nobody said so.
    """
    if readers < 1 or queue < 1:
        raise UsageError("a database needs at least one reader and a queue of at least one")
    try:
        location = Location.of(where)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if location.path is not None:
        path = _absolute(location.path)
        location = replace(location, path=path, folder=path.parent)
    # Of its own, so that others' threads cannot keep a database from being closed.
    limiter = trio.CapacityLimiter(1)
    database = await trio.to_thread.run_sync(_prepared, location, readers, queue, limiter=limiter)
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


def _engines(location: Location) -> tuple[Engine, Engine]:
    if location.path is not None:
        return engines.writing_engine(location.path), engines.reading_engine(location.path)
    return postgres.writing_engine(location.url), postgres.reading_engine(location.url)


def _prepared(location: Location, readers: int, queue: int) -> Database:
    if location.path is not None:
        _prepare_file(location.path, copied=location.upgrade != "yes")
    else:
        try:
            had = postgres.prepare(location.url, location.name, location.upgrade)
        except Exception as error:
            raise translated(error, location.name) from None
        if had is not None:
            logger.warning("the database %r was upgraded from schema %s to %s", location.name, had, REVISIONS[-1])
    return Database(location, readers=readers, queue=queue)


def _prepare_file(path: Path, *, copied: bool) -> None:
    name = path.name
    with private_file(path):
        engine = engines.writing_engine(path)
        try:
            if not engines.turn_on_wal(engine):
                raise UsageError(f"the database {name!r} lies on a disk that cannot hold one: choose another folder")
            try:
                with engine.begin() as connection:
                    upgrade(connection, name, _not_yet)
            except _ToBeUpgradedError as wanted:
                # Who opens it takes turns with us; who has it open is of the version before, and would go on writing
                # as the older schema has it.
                alone(path)
                engines.turn_on_wal(engine)
                copy = _upgraded(engine, path, copied)
                kept = "" if copy is None else f"; as it was before, it is kept as {copy.parent.name}/{copy.name}"
                logger.warning(
                    "the database %r was upgraded from schema %s to %s%s", name, wanted.revision, REVISIONS[-1], kept
                )
        except Exception as error:
            raise translated(error, name) from None


class _ToBeUpgradedError(Exception):
    """A database has rows and an older schema. Nothing was changed."""

    def __init__(self, revision: str) -> None:
        super().__init__(revision)
        self.revision = revision


def _not_yet(revision: str) -> None:
    raise _ToBeUpgradedError(revision)


def _upgraded(engine: Engine, path: Path, copied: bool) -> Path | None:
    """Upgrades a file that nobody else has open; gives the copy that was made before."""
    made: list[Path] = []
    changed = False

    def before(revision: str) -> None:
        if copied:
            made.append(make_copy(path, revision))

    try:
        with engine.begin() as connection:
            # The transaction may write from here on, so nobody else does until it has ended: what is copied is what
            # is upgraded.
            upgrade(connection, path.name, before)
            changed = True
    except Exception:
        # One that fails again and again leaves no copy. Where the commit failed, nobody knows more than that the file
        # is whole.
        for copy in made if not changed else []:
            copy.unlink(missing_ok=True)
        raise
    for copy in made:
        prune(path, copy)
    return made[0] if made else None
