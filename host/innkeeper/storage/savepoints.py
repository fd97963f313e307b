"""The savepoint in which each write of a transaction happens, one after the other."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

_NAME = "innkeeper_write"
_SAVE, _RELEASE, _UNDO = f"SAVEPOINT {_NAME}", f"RELEASE SAVEPOINT {_NAME}", f"ROLLBACK TO SAVEPOINT {_NAME}"


class Savepoint:
    """One savepoint, made anew for each write. Made for a transaction, and gone with it.

    Speaks to the driver itself: what SQLAlchemy has for this takes longer than the statement of many a write. All
    methods raise what the driver raises.
    """

    def __init__(self, connection: Connection) -> None:
        """Args:
        connection: in a transaction.
        """
        driver: Any = connection.connection.driver_connection
        self._driver = driver
        self._run = driver.execute
        # SQLite takes one statement at a time; a server has one answer less to give.
        self._together = connection.dialect.name == "postgresql"
        self._there = False
        self._used = False

    def begin(self) -> None:
        """What is written from now on can be undone apart from what was written before."""
        if self._used and self._together:
            self._run(f"{_RELEASE}; {_SAVE}")
        elif self._used:
            self._run(_RELEASE)
            self._run(_SAVE)
        elif not self._there:
            self._run(_SAVE)
        self._there, self._used = True, False

    def keep(self) -> bool:
        """What was written since `begin` belongs to the transaction; False where there is none any more, since it was
        ended meanwhile."""
        self._used = True
        if self._together:
            # Of the driver, which asks nobody.
            return bool(self._driver.info.transaction_status)
        return bool(self._driver.in_transaction)

    def undo(self) -> None:
        """What was written since `begin` was not."""
        # It stays, as it was at `begin`.
        self._run(_UNDO)

    def end(self) -> None:
        """Before the commit: makes sure that it is still the transaction in which the writes were."""
        if self._there:
            self._run(_RELEASE)
