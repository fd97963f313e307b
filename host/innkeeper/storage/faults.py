"""What a database's error means, said as one sentence: damaged, busy, full, not writable, or a defect of ours."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from innkeeper.errors import BusyError, InternalError, RejectedError, UsageError

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_FORBIDDEN = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


def translated(error: BaseException, name: str) -> BaseException:
    """The error to raise in place of `error`, or `error` itself where it is none of a database's.

    Never shows a statement or a value: both may hold what a guest wrote.

    Args:
        error: what was caught.
        name: the database's file name, for the message.
    """
    if not isinstance(error, SQLAlchemyError | sqlite3.Error):
        return error
    # What fails while a connection is made comes straight from the driver.
    cause = error.orig if isinstance(error, DBAPIError) else error
    # The lowest byte is the kind; what is above says more closely which.
    code = getattr(cause, "sqlite_errorcode", -1) & 0xFF
    if code in _DAMAGED:
        return RejectedError(
            f"the database {name!r} is damaged: put back a copy of it, or move it away together with {name + '-wal'!r} "
            "and a new one will be made"
        )
    if code in _BUSY:
        return BusyError(
            f"the database {name!r} was busy for too long: another process holds it; try again", bound="database"
        )
    if code == sqlite3.SQLITE_FULL:
        return BusyError(f"the database {name!r} cannot grow: the disk is full; make room on it", bound="disk")
    if code == sqlite3.SQLITE_IOERR:
        return UsageError(f"the database {name!r} cannot be read or written: look at the disk that it lies on")
    if code in _FORBIDDEN:
        return UsageError(f"the database {name!r} cannot be opened or written to: look at the rights of its folder")
    return InternalError(f"the database {name!r} failed ({type(error).__name__}): please report this")
