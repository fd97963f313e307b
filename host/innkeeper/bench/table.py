"""The table that a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from innkeeper.bench.measured import PEERS

HEADERS = ("row", "what", "unit", "innkeeper", "extism", "wasmtime-py", "ratio", "aim")


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of the report as text, one cell a header."""
    figures = (_figure(row, peer) for peer in PEERS)
    ratio = row["ratio_to_extism"]
    return (row["name"], row["title"], row["unit"], *figures, "-" if ratio is None else f"{ratio:.2f}", _aim(row))


def style(row: dict[str, Any]) -> str:
    """The colour of a ratio, in rich's words: green where the aim is met, yellow where what must be met is."""
    if row["met"] is None:
        return ""
    if row["met"]:
        return "green"
    must, ratio = row.get("must"), row["ratio_to_extism"]
    return "yellow" if must is not None and ratio is not None and ratio <= must else "red"


def footnotes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader must know, and what failed, one line each."""
    notes: dict[str, list[str]] = {}
    for row in rows:
        if "note" in row and "error" not in row:
            notes.setdefault(row["note"], []).append(row["name"])
    lines = [f"{', '.join(names)}: {note}" for note, names in notes.items()]
    lines += [f"{row['name']}: {row['tells']}" for row in rows if "tells" in row]
    return [*lines, *(f"{row['name']}: not measured: {row['error']}" for row in rows if "error" in row)]


def _figure(row: dict[str, Any], peer: str) -> str:
    median = row[peer]
    if median is None:
        return "-"
    low, high = row["quartiles"][peer]
    return f"{number(median)} ({number(low)} to {number(high)})"


def number(value: float) -> str:
    """A figure for people (str): three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _aim(row: dict[str, Any]) -> str:
    if "aim_own" in row:
        return f"{row['aim_own']:g} {row['unit']}"
    if "aim" not in row:
        return "-"
    return f"{row['aim']:g} (must {row['must']:g})" if "must" in row else f"{row['aim']:g}"
