"""How SQLite is spoken to: what every connection sets, and how its transactions begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from innkeeper.errors import BusyError

BUSY: Final = 10.0
"""Seconds that a connection waits for another process's transaction, which lasts about 10 ms and its commit."""

_EVERY = (
    f"PRAGMA busy_timeout={int(BUSY * 1000)}",
    # What was acknowledged is on the disk: consents and the log of what was done lie here. Writes share their commits.
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    # Against a file that somebody else prepared: no functions out of its schema, and cells are checked.
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
    # What a long reader let grow is cut back.
    "PRAGMA journal_size_limit=67108864",
)


def writing_engine(path: Path) -> Engine:
    """An engine whose transactions may write from their first statement on, so none fails half-way for a lock."""
    return _engine(path, "BEGIN IMMEDIATE", ())


def reading_engine(path: Path) -> Engine:
    """An engine whose transactions see one state of the database and cannot write."""
    return _engine(path, "BEGIN", ("PRAGMA query_only=ON",))


def _engine(path: Path, begin: str, more: tuple[str, ...]) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        # Errors would show what a guest wrote.
        hide_parameters=True,
        # The driver begins no transaction by itself.
        connect_args={"isolation_level": None, "timeout": BUSY},
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        for pragma in (*_EVERY, *more):
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def turn_on_wal(engine: Engine) -> bool:
    """Readers then do not wait for the writer, nor it for them; kept in the file. False where it cannot be."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        row = cursor.fetchone()
        cursor.close()
        return row is not None and row[0] == "wal"
    finally:
        connection.close()


def vacuum(path: Path) -> None:
    """Rewrites the file without what was deleted, and empties the log beside it; nobody else may write meanwhile."""
    connection = writing_engine(path).raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        row = cursor.fetchone()
        cursor.close()
        if row is not None and row[0]:
            raise BusyError(
                f"the log beside the database {path.name!r} could not be emptied: another process reads; try again",
                bound="database",
            )
    finally:
        connection.close()
