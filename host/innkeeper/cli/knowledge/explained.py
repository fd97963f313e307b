"""Shows what came of an activation: a table for authors, an object for programs."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from innkeeper.cli.output import counted, is_terminal, printable, write_line, write_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from innkeeper.knowledge.activation.interface import Line, Result

_COLOURS = {"active": "green", "budget": "yellow", "failed": "red"}
_HEADERS = ("outcome", "entry", "tokens", "left", "why")
_MOST_REASON = 1000
_MOST_NAME = 32
"""Columns of an entry's name on a terminal; what is longer goes on in the next line."""


def result_object(result: Result) -> dict[str, Any]:
    """A result as JSON says it."""
    return {
        "seed": result.seed,
        "looked_at": result.looked_at,
        "tokens": result.tokens,
        "budget": result.budget,
        "tokenizer": result.tokenizer,
        "variables": _plain(result.variables),
        "notes": list(result.notes),
        "active": [{**asdict(each), "tags": list(each.tags)} for each in result.active],
        "trace": [{**asdict(line), "outcome": line.outcome.value} for line in result.trace],
    }


def _plain(variables: Any) -> dict[str, Any]:
    return {str(name): value for name, value in variables.items()}


def write_result(result: Result, *, shows_text: bool, several: bool = False) -> None:
    """Writes a result as a table.

    Args:
        result: of an activation.
        shows_text: whether the text that is inserted stands below it.
        several: whether lines say which base an entry is of.
    """
    if result.trace:
        _write_trace(result.trace, several)
        write_line("")
    budget = "" if result.budget is None else f" of {result.budget:,}"
    active = sum(line.outcome.value == "active" for line in result.trace)
    entries = "1 entry" if result.looked_at == 1 else f"{result.looked_at:,} entries"
    write_line(
        f"{active:,} of {entries} active, "
        f"{counted(result.tokens, 'token')}{budget} (counted by {result.tokenizer}), seed {result.seed}"
    )
    for name, value in _plain(result.variables).items():
        write_line(f"sets {name} = {value!r}"[:200])
    for note in result.notes:
        write_line(f"note: {note}")
    if shows_text:
        for each in result.active:
            place = f"outlet {each.outlet}" if each.outlet else each.placement
            if each.depth is not None:
                place = f"{counted(each.depth, 'message')} from the end"
            role = f", {each.role}" if each.role else ""
            write_line("")
            write_line(f"[{each.name}] {place}{role}")
            for line in each.text.split("\n"):
                write_line(f"  {line}")


def _write_trace(lines: Sequence[Line], several: bool) -> None:
    headers = ("base", *_HEADERS) if several else _HEADERS
    rows = [(line.base, *_cells(line)) if several else _cells(line) for line in lines]
    if not is_terminal(sys.stdout):
        write_table(headers, rows, most=_MOST_REASON)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for header in headers:
        number = header in ("tokens", "left")
        named = _MOST_NAME if header in ("entry", "base") else None
        # Why is the column that gives way: it reads well in several lines.
        table.add_column(
            header,
            overflow="fold",
            justify="right" if number else "left",
            no_wrap=number or header == _HEADERS[0],
            max_width=named,
        )
    for line, row in zip(lines, rows, strict=True):
        style = _COLOURS.get(line.outcome.value, "dim")
        table.add_row(*(Text(printable(cell, _MOST_REASON), style=style) for cell in row))
    Console().print(table)


def _cells(line: Line) -> tuple[str, ...]:
    tokens = "" if line.tokens is None else f"{line.tokens:,}"
    left = "" if line.budget is None else f"{line.budget:,}"
    return line.outcome.value, line.name, tokens, left, line.reason
