"""`innkeeper kb bench`: how well retrieval finds, and how long knowledge takes, measured here and now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from innkeeper.cli.bench import rows_shown
from innkeeper.cli.output import json_bytes, printable, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings

if TYPE_CHECKING:
    from innkeeper.bench.knowledge.report import KnowledgeReport


@click.command()
@click.option(
    "--data",
    metavar="FOLDER",
    help="Measure its data sets, too: files *.json in SQuAD's format, sub-folders in BEIR's layout.",
)
@click.option(
    "--only", metavar="NAME", multiple=True, help="Only this set or row; may be given again. `help` lists them."
)
@json_option
@pass_settings
def bench(settings: Settings, data: str | None, only: tuple[str, ...]) -> int:
    """Measure retrieval on the project's own questions and on data sets, and the speed of search and activation.

    Retrieval is measured with the offline model. Ends with 1 if an aim is missed or something could not be measured.
    """
    from innkeeper.bench.knowledge import runner

    folder = None if data is None else Path(data)
    if "help" in only:
        plan = runner.planned(folder, ())
        sets = [(name, "data set") for name in plan.sets]
        write_table(("name", "what"), [*sets, *((row.name, row.title) for row in plan.rows)])
        return 0
    plan = runner.planned(folder, only)
    with rows_shown(plan.steps) as progress:
        # Names of files are somebody else's.
        report = runner.run(plan, lambda name: progress(printable(name, 80)))
    if settings.json:
        write_out(json_bytes(report.as_object()))
    else:
        _show(report)
    return 0 if report.met else 1


def _show(report: KnowledgeReport) -> None:
    from innkeeper.bench.knowledge import table

    if report.sets:
        write_table(table.SETS, [table.set_cells(found) for found in report.sets])
        write_line("")
    if report.rows:
        write_table(table.ROWS, [table.row_cells(row) for row in report.rows])
        write_line("")
    for line in table.footnotes(report.sets, report.rows):
        write_line(line)
    write_line(report.busy())
