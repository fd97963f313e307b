"""The time by the database's own clock, which all hosts of one database share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

Clock = Callable[[], "ColumnElement[float]"]
"""Makes an expression: seconds since 1970."""


class _Now(FunctionElement[float]):
    type = Float(53)
    inherit_cache = True


def database_now() -> ColumnElement[float]:
    """Seconds since 1970 (float) by the database's clock, as an expression."""
    return _Now()


@compiles(_Now, "sqlite")
def _sqlite(element: _Now, compiler: Any, **more: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(_Now, "postgresql")
def _postgresql(element: _Now, compiler: Any, **more: Any) -> str:
    return "CAST(extract(epoch FROM statement_timestamp()) AS DOUBLE PRECISION)"
