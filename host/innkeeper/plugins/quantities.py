"""Tables of limits and bounds in TOML: sizes and times as numbers or as text such as "64MiB" and "250ms"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from innkeeper.errors import UsageError
from innkeeper.plugins.tables import Table, shown
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.limits import Limits, parse_duration, parse_size

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

_MOST = 1 << 53
_RIGHT = {
    "size": 'bytes, as a number or like "64MiB"',
    "duration": 'seconds, as a number or like "250ms"',
    "count": "a whole number above 0",
}


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
        number = _quantity(value, unit)
        if number is None:
            table.problem(key, f"is {shown(value)}: it must be {_RIGHT[unit]}")
        else:
            values[key] = number
    return values


def with_quantities(base: _Quantities, values: Mapping[str, int | float]) -> _Quantities:
    """`base` with some of its fields as `read_quantities` found them."""
    fields: dict[str, Any] = dict(values)
    return replace(base, **fields)


def _quantity(value: object, unit: str) -> int | float | None:
    if isinstance(value, str) and unit != "count":
        try:
            number: int | float = parse_size(value) if unit == "size" else parse_duration(value)
        except UsageError:
            return None
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    else:
        number = value
    # Also refuses NaN, and sizes below one byte that a fraction such as "0.1B" makes.
    if not 0 < number <= _MOST:
        return None
    if unit == "duration":
        return float(number)
    return number if isinstance(number, int) else None
