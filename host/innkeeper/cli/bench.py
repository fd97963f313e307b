"""`innkeeper bench`: this host's speed beside its peers, measured here and now."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import is_terminal, json_bytes, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import Kind, UsageError

if TYPE_CHECKING:
    from innkeeper.bench.report import Report


@click.command()
@click.option("--only", metavar="NAME", multiple=True, help="Only this row; may be given again. `help` lists them.")
@click.option("--svg", metavar="FILE", help="Draw the rows that have a peer into this file, too.")
@json_option
@pass_settings
def bench(settings: Settings, only: tuple[str, ...], svg: str | None) -> int:
    """Measure speed beside the Extism SDK and wasmtime-py's plain API, in one run of two to three minutes.

    Ends with 70 if a row could not be measured; an aim that is missed is no failure.
    """
    from innkeeper.bench import runner
    from innkeeper.bench.rows import ROWS

    if "help" in only:
        write_table(("row", "what"), [(row.name, row.title) for row in ROWS.values()])
        return 0
    names = runner.chosen(only)
    if svg is not None and not Path(svg).absolute().parent.is_dir():
        raise UsageError(f"--svg {svg}: there is no such folder")
    with rows_shown(len(names)) as progress:
        report = runner.run(names, progress)
    if svg is not None:
        from innkeeper.bench.svg import draw

        try:
            Path(svg).write_text(draw(report.as_object()), "utf-8")
        except OSError as error:
            raise UsageError(f"--svg {svg}: cannot be written: {error.strerror}") from None
    if settings.json:
        write_out(json_bytes(report.as_object()))
    else:
        _show(report)
    return Kind.INTERNAL.exit_code if any("error" in row for row in report.rows) else 0


def _show(report: Report) -> None:
    from innkeeper.bench import table

    if is_terminal(sys.stdout):
        _draw(report.rows)
    else:
        write_table(table.HEADERS, [table.cells(row) for row in report.rows])
    for line in table.footnotes(report.rows):
        write_line(line)
    if report.as_object()["versions"]["extism"] is None:
        write_line("The Extism SDK is not installed, so its column is empty: pip install extism adds it.")
    write_line(report.busy())


def _draw(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from innkeeper.bench import table

    drawn = Table(box=None, pad_edge=False)
    for header in table.HEADERS:
        drawn.add_column(header, overflow="fold")
    judged = table.HEADERS.index("ratio")
    for row in rows:
        # Where there is no ratio, our own figure is what has an aim.
        coloured = judged if row["ratio_to_extism"] is not None else table.HEADERS.index("innkeeper")
        drawn.add_row(
            *(Text(cell, table.style(row) if at == coloured else "") for at, cell in enumerate(table.cells(row)))
        )
    Console().print(drawn)


@contextmanager
def rows_shown(count: int) -> Iterator[Callable[[str], None]]:
    """Gives a receiver of names that shows on standard error which row is measured, if that is a terminal."""
    if not is_terminal(sys.stderr):
        yield lambda name: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=1) as bar:
        task = bar.add_task("", total=count)
        begun = 0

        def receive(name: str) -> None:
            nonlocal begun
            bar.update(task, completed=begun, description=name)
            begun += 1

        yield receive
