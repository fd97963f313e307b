"""What a host wrote into its database, as whoever opens the file sees it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import inspect, text

from innkeeper.bridge.bridge import FILE
from innkeeper.storage import postgres
from innkeeper.storage.engines import reading_engine
from innkeeper.storage.location import Location


def rows(state: Path) -> dict[str, int]:
    """How many rows each table has that has any, the one of the migrations aside."""
    if not (state / FILE).exists():
        return {}
    with closing(sqlite3.connect(state / FILE)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        names = [name for name in names if name != "alembic_version" and not name.startswith("sqlite_")]
        counts = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}
    return {name: count for name, count in counts.items() if count}


def rows_of(location: Location) -> dict[str, int]:
    """As `rows`, of a database that is open, wherever it is."""
    engine = reading_engine(location.path) if location.path is not None else postgres.reading_engine(location.url)
    with engine.connect() as connection:
        names = [name for name in inspect(connection).get_table_names() if name != "alembic_version"]
        counts = {name: connection.scalar(text(f'SELECT count(*) FROM "{name}"')) for name in names}
    return {name: count for name, count in counts.items() if count}


def kept_nothing(state: Path) -> bool:
    """Whether nothing was written but what the audit log says of refusals."""
    return rows(state).keys() <= {"audit"}
