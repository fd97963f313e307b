"""What a database's error means, said as one sentence: damaged, busy, full, not writable, or a defect of ours."""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from innkeeper.errors import BusyError, InternalError, RejectedError, UsageError
from innkeeper.storage.postgres_faults import translated_state

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_FORBIDDEN = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


def is_of_database(error: BaseException) -> bool:
    """Whether a database, its driver or what builds its statements raised an error (bool)."""
    return isinstance(error, SQLAlchemyError | sqlite3.Error) or _of_psycopg(error)


def _of_psycopg(error: object) -> bool:
    # Who speaks to a file alone does not import it.
    psycopg: Any = sys.modules.get("psycopg")
    return psycopg is not None and isinstance(error, psycopg.Error)


def translated(error: BaseException, name: str) -> BaseException:
    """The error to raise in place of `error`, or `error` itself where it is none of a database's.

    Never shows a statement or a value: both may hold what a guest wrote.

    Args:
        error: what was caught.
        name: of the database, for the message.
    """
    if not is_of_database(error):
        return error
    # What fails while a connection is made comes straight from the driver.
    cause = error.orig if isinstance(error, DBAPIError) else error
    if _of_psycopg(cause):
        return translated_state(cause, name)
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
