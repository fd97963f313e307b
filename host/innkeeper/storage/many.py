"""Many rows in few statements."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, cast

from sqlalchemy import Connection, Table, bindparam, insert

_BLOCKS: Final = (64, 8, 1)
"""Rows of one statement. A driver gives the interpreter's lock back and asks for it again for each statement: a
thousand times in a row that keeps trio's thread waiting for longer than the database works."""


def insert_many(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Adds rows to a table whose columns hold what drivers take as it is: numbers and bytes.

    Args:
        connection: in a transaction.
        table: the table.
        rows: values of all columns, in their order.
    """
    at = 0
    for size in _BLOCKS:
        while len(rows) - at >= size:
            values = tuple(chain.from_iterable(rows[at : at + size]))
            connection.exec_driver_sql(
                _statement(table, size, cast(Hashable, type(connection.dialect))), values
            ).close()
            at += size


@cache
def _statement(table: Table, count: int, dialect: Any) -> str:
    # By position: to execute this with names SQLAlchemy would look at each of hundreds of values, every time.
    by_position = dialect(paramstyle="qmark" if dialect.name == "sqlite" else "format")
    rows: list[dict[str, Any]] = [
        {column.name: bindparam(f"{column.name}_{row}") for column in table.columns} for row in range(count)
    ]
    return str(insert(table).values(rows).compile(dialect=by_position))
