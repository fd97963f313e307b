"""The threads of a database: one that writes in groups, and a few that read."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final

import outcome
from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.exc import DBAPIError

from innkeeper.errors import InternalError
from innkeeper.storage.faults import is_of_database, translated
from innkeeper.storage.jobs import Job, Jobs, finish
from innkeeper.storage.postgres import mark_of, was_committed
from innkeeper.storage.postgres_faults import in_doubt
from innkeeper.storage.savepoints import Savepoint

GROUP: Final = 256
"""Writes that share one commit, at most: what a failing commit takes with it."""

WINDOW: Final = 0.01
"""Seconds after which a group takes no further write, so that the first of it does not wait long for its commit."""


class _Lane:
    """A thread's connection, made when it is first needed and made anew after it broke."""

    def __init__(self, engine: Engine, jobs: Jobs, name: str) -> None:
        self._engine = engine
        self._jobs = jobs
        self._name = name
        self._connection: Connection | None = None

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _is_lost(self) -> bool:
        """Whether a server ended the connection: of this process, which was stopped for too long, or of all."""
        connection = self._connection
        if connection is None:
            return False
        # A savepoint speaks to the driver itself, of which SQLAlchemy then hears nothing.
        return connection.invalidated or bool(getattr(connection.connection.driver_connection, "closed", False))

    def _twice(self, done: Callable[[], None]) -> None:
        """Does what a transaction does; again, on another connection, where a server ended the one that was there."""
        try:
            done()
        except BaseException:
            if not self._is_lost():
                raise
            self._disconnect()
            done()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # What is not committed is rolled back by this, whatever state it is in.
            with contextlib.suppress(Exception):
                connection.close()

    def _failure(self, error: BaseException) -> outcome.Error:
        return outcome.Error(translated(error, self._name))


class Writer(_Lane):
    """Does writes in order, as many as there are in one transaction, each in a savepoint of its own.

    Guarantees: a task wakes after the commit. A function that raises undoes its own writes alone. Where the
    transaction itself is lost, every write of the group fails, and none of them is there. Where a server ended the
    connection, the group is done once more on another one: its functions are called again. A server that is lost in
    the midst of a commit is asked afterwards; where it does not come back in time, the error says that nobody knows.

    Attributes:
        commits: how many transactions were committed (int).
    """

    commits = 0

    def __init__(self, engine: Engine, jobs: Jobs, name: str, asked: Engine) -> None:
        """Args:
        engine: whose transactions may write.
        jobs: what is to be done.
        name: of the database, for messages.
        asked: its connections say what became of a transaction.
        """
        super().__init__(engine, jobs, name)
        self._asked = asked

    def work(self) -> None:
        """The thread's whole life."""
        while self._jobs.wait():
            self._group()
        self._disconnect()

    def _group(self) -> None:
        group: list[Job] = []
        try:
            self._twice(lambda: self._transact(group))
        except BaseException as error:
            self._disconnect()
            if not group:
                # It did not even begin: who waits hears of it now, not one after another.
                group = self._next_group()
            for job in group:
                # Who failed by himself keeps his own error.
                if not isinstance(job.result, outcome.Error):
                    job.result = self._failure(error)
        finish(group)

    def _transact(self, group: list[Job]) -> None:
        # Another process may keep this waiting. No job has begun yet, so each can still be cancelled.
        transaction = self._connected().begin()
        savepoint = Savepoint(transaction.connection)
        for job in [*group] or self._taken(group):
            self._write(transaction, savepoint, job)
        savepoint.end()
        self._commit(transaction)
        self.commits += bool(group)

    def _taken(self, group: list[Job]) -> Iterator[Job]:
        # A group does not wait for others to come: those that come while it is committed make the next one.
        ends = time.monotonic() + WINDOW
        while (job := self._jobs.take()) is not None:
            group.append(job)
            yield job
            if len(group) >= GROUP or time.monotonic() >= ends:
                break

    def _commit(self, transaction: RootTransaction) -> None:
        mark = mark_of(transaction.connection)
        try:
            transaction.commit()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            done = None if mark is None else was_committed(self._asked, mark)
            if done is None:
                # Not once more: it may be there.
                self._disconnect()
                raise in_doubt(self._name) from None
            if not done:
                raise

    def _next_group(self) -> list[Job]:
        return [job for _ in range(GROUP) if (job := self._jobs.take()) is not None]

    def _write(self, transaction: RootTransaction, savepoint: Savepoint, job: Job) -> None:
        savepoint.begin()
        try:
            value = job.function(transaction.connection)
        except BaseException as error:
            job.result = self._failure(error)
            # Raises if the database rolled back everything, as it may when the disk is full.
            savepoint.undo()
            return
        if not transaction.is_active or not savepoint.keep():
            raise InternalError("a function that writes to the database ended its transaction")
        job.result = outcome.Value(value)


class Reader(_Lane):
    """Does reads, each in a transaction of its own that sees one state and changes nothing."""

    def work(self) -> None:
        """The thread's whole life."""
        while self._jobs.wait():
            # Another thread may have been quicker.
            if (job := self._jobs.take()) is not None:
                self._read(job)
        self._disconnect()

    def _read(self, job: Job) -> None:
        def transact() -> None:
            with self._connected().begin() as transaction:
                job.result = outcome.Value(job.function(transaction.connection))
                transaction.rollback()

        try:
            self._twice(transact)
        except BaseException as error:
            job.result = self._failure(error)
            if is_of_database(error):
                self._disconnect()
        finish([job])
