"""The clock of the database itself, which is the same for every host that shares it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

Clock = Callable[[], ColumnElement[float]]
"""Makes an expression: seconds since 1970."""


class _Now(FunctionElement[float]):
    type = Float(53)
    inherit_cache = True


def database_now() -> ColumnElement[float]:
    """Now, in seconds since 1970 with three digits after the point at least (float), as an SQL expression.

    The time at which the statement began, not the transaction, which may have waited for others: so two statements of
    one transaction give two times, and one gives one however often it is in it.
    """
    return _Now()


@compiles(_Now, "sqlite")
def _sqlite(element: _Now, compiler: Any, **_: Any) -> str:
    # A julian day counts days since a noon; SQLite counts them in milliseconds.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(_Now, "postgresql")
def _postgresql(element: _Now, compiler: Any, **_: Any) -> str:
    return "CAST(extract(epoch FROM statement_timestamp()) AS DOUBLE PRECISION)"
