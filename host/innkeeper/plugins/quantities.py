"""Tables of limits and bounds in TOML: sizes and times as numbers or as text such as "64MiB" and "250ms"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from innkeeper.plugins.tables import Table, shown
from innkeeper.plugins.units import Unit, quantity
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.limits import Limits

_Quantities = TypeVar("_Quantities", Limits, Bounds)

LIMITS: Final = {
    "memory": "size",
    "kernel_memory": "size",
    "table_elements": "count",
    "cpu": "duration",
    "wall": "duration",
    "input": "size",
    "output": "size",
    "host_calls": "count",
    "system_calls": "count",
    "host_call": "duration",
    "log": "size",
    "log_line": "size",
    "variables": "size",
    "nesting": "count",
}
"""What each field of `Limits` counts."""

BOUNDS: Final = {
    "live_guests": "count",
    "spare_guests": "count",
    "guest_memory": "size",
    "calls_per_plugin": "count",
    "workers": "count",
    "compile_jobs": "count",
    "compile_cpu": "duration",
    "compile_memory": "size",
    "cache_size": "size",
    "bytes_in_flight": "size",
    "module_size": "size",
}
"""What each field of `Bounds` counts."""

UNITS: Final[dict[str, Unit]] = {kind: quantity(kind) for kind in ("size", "duration", "count")}
"""How each of them is read; none may be 0."""


def read_quantities(table: Table, units: dict[str, str]) -> dict[str, int | float]:
    """The quantities that a table gives, by field name; unknown keys and wrong values become problems of the table.

    Args:
        table: such as `[limits]`.
        units: `LIMITS` or `BOUNDS`.
    """
    table.only(units)
    values: dict[str, int | float] = {}
    for key, value in table.data.items():
        unit = units.get(key)
        if unit is None:
            continue
        try:
            number = UNITS[unit].read(value)
        except ValueError:
            table.problem(key, f"is {shown(value)}: it must be {UNITS[unit].right}")
            continue
        assert isinstance(number, int | float)
        values[key] = number
    return values


def with_quantities(base: _Quantities, values: Mapping[str, int | float]) -> _Quantities:
    """`base` with some of its fields as `read_quantities` found them."""
    fields: dict[str, Any] = dict(values)
    return replace(base, **fields)
