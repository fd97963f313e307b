"""The time by the database's own clock, which all hosts of one database share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

Clock = Callable[[], "ColumnElement[float]"]
"""Makes an expression: seconds since 1970."""


class database_now(FunctionElement[float]):  # noqa: N801 (written like the functions of SQL that it stands among)
    """Seconds since 1970 by the database's clock, as an expression."""

    type = Float(53)
    inherit_cache = True


@compiles(database_now, "sqlite")
def _sqlite(element: Any, compiler: Any, **more: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql(element: Any, compiler: Any, **more: Any) -> str:
    return "extract(epoch FROM clock_timestamp())"
