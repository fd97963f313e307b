"""Measures rows, each in a process of its own: what one leaves behind is not the next one's noise."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence

from innkeeper.bench import processes
from innkeeper.bench.measured import Measured
from innkeeper.bench.report import Report
from innkeeper.bench.rows import ROWS
from innkeeper.errors import InternalError, UsageError

LONGEST = 150.0
"""Seconds that one row may take."""


def chosen(names: Sequence[str]) -> list[str]:
    """The rows that are meant, in the table's order; all of them for no name.

    Args:
        names: of rows, or what several begin with, before a dash: "cache" for all of the cache.

    Raises:
        UsageError: there is no such row; the message lists all.
    """
    meant: set[str] = set()
    for name in names:
        found = {name} & ROWS.keys() or {row for row in ROWS if row.startswith(f"{name}-")}
        if not found:
            raise UsageError(f"there is no row {name!r}; the rows are: {', '.join(ROWS)}")
        meant |= found
    return [name for name in ROWS if not names or name in meant]


def run(names: Sequence[str], progress: Callable[[str], None]) -> Report:
    """Measures rows, one after the other.

    Args:
        names: as `chosen` gives them.
        progress: told each row's name before it begins.

    Returns:
        Report: a row that could not be measured has its reason there.
    """
    report = Report()
    with tempfile.TemporaryDirectory(prefix="innkeeper-bench-") as folder:
        for name in names:
            progress(name)
            try:
                found = processes.finish(processes.start("__main__", name, folder, group=True), LONGEST)
            except InternalError as error:
                report.failed(ROWS[name], error.message)
            else:
                report.add(ROWS[name], Measured.from_object(found))
    report.close()
    return report
