"""The one statement that databases spell differently."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_if_missing(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    """Inserts a row, or leaves alone the one that has its primary key."""
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(make(table).values(values).on_conflict_do_nothing())
