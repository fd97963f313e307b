"""What a host wrote into its database, as whoever opens the file sees it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from innkeeper.bridge.bridge import FILE


def rows(state: Path) -> dict[str, int]:
    """How many rows each table has that has any, the one of the migrations aside."""
    if not (state / FILE).exists():
        return {}
    with closing(sqlite3.connect(state / FILE)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        names = [name for name in names if name != "alembic_version" and not name.startswith("sqlite_")]
        counts = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}
    return {name: count for name, count in counts.items() if count}


def kept_nothing(state: Path) -> bool:
    """Whether nothing was written but what the audit log says of refusals."""
    return rows(state).keys() <= {"audit"}
