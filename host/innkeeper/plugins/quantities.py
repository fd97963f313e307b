"""Tables of limits and bounds in TOML: sizes and times as numbers or as text such as "64MiB" and "250ms"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from innkeeper.plugins.tables import Table, shown
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.limits import Limits

if TYPE_CHECKING:
    from innkeeper.plugins.units import Unit

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


@cache
def units() -> Mapping[str, Unit]:
    """How each of them is read (mapping by what it counts); none may be 0."""
    from innkeeper.plugins.units import quantity

    return {kind: quantity(kind) for kind in ("size", "duration", "count")}


def read_quantities(table: Table, kinds: dict[str, str]) -> dict[str, int | float]:
    """The quantities that a table gives, by field name; unknown keys and wrong values become problems of the table.

    Args:
        table: such as `[limits]`.
        kinds: `LIMITS` or `BOUNDS`.
    """
    table.only(kinds)
    values: dict[str, int | float] = {}
    for key, value in table.data.items():
        if key not in kinds:
            continue
        unit = units()[kinds[key]]
        try:
            number = unit.read(value)
        except ValueError:
            table.problem(key, f"is {shown(value)}: it must be {unit.right}")
            continue
        assert isinstance(number, int | float)
        values[key] = number
    return values


def with_quantities(base: _Quantities, values: Mapping[str, int | float]) -> _Quantities:
    """`base` with some of its fields as `read_quantities` found them."""
    fields: dict[str, Any] = dict(values)
    return replace(base, **fields)
