"""Measures sets and rows, each in a process of its own: what one leaves behind is not the next one's noise."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from innkeeper.bench import processes
from innkeeper.bench.knowledge.report import KnowledgeReport
from innkeeper.bench.knowledge.rows import ROWS, Row
from innkeeper.bench.measured import Figure
from innkeeper.errors import InternalError, UsageError
from innkeeper.knowledge.bench.folder import read_set, sets_in
from innkeeper.knowledge.bench.lore import LANGUAGES, set_name

LONGEST: Final = 1800.0
"""Seconds that one process may take: a set of 200,000 entries, or a base of 100,000 and its index on a busy core."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        sets: name of each data set, with its path; None: one of the project's own.
        rows: that are timed.
    """

    sets: Mapping[str, Path | None]
    rows: Sequence[Row]

    @property
    def steps(self) -> int:
        """How many names `run` reports (int)."""
        return len(self.sets) + len(self.rows)


def planned(data: Path | None, only: Sequence[str]) -> Plan:
    """What is meant. Reads the sets of a folder, so that whatever is wrong with one is said before anything runs.

    Args:
        data: folder with data sets, or None.
        only: names of sets and rows; empty: all.

    Raises:
        UsageError: there is no such set or row; the message lists all. A set cannot be read.
    """
    sets: dict[str, Path | None] = {set_name(language): None for language in LANGUAGES}
    if data is not None:
        found = sets_in(data)
        for name in (*sets, *ROWS):
            if name in found:
                raise UsageError(f"{found[name]}: {name!r} is a set or row of Innkeeper's own; rename it")
        sets |= found
    for name in only:
        if name not in sets and name not in ROWS:
            raise UsageError(f"there is no set or row {name!r}; there are: {', '.join((*sets, *ROWS))}")
    chosen = {name: path for name, path in sets.items() if not only or name in only}
    for path in chosen.values():
        if path is not None:
            read_set(path)
    return Plan(chosen, [row for row in ROWS.values() if not only or row.name in only])


def run(plan: Plan, progress: Callable[[str], None]) -> KnowledgeReport:
    """Measures what is planned, one after the other.

    Args:
        plan: as `planned` gives it.
        progress: told each name before it begins.

    Returns:
        KnowledgeReport: what could not be measured has its reason there.
    """
    report = KnowledgeReport()
    for name, path in plan.sets.items():
        progress(name)
        try:
            report.add_set(_measured("set", name, "" if path is None else str(path.absolute())))
        except InternalError as error:
            report.failed_set(name, error.message)
    rows = list(plan.rows)
    while rows:
        together = [row for row in rows if row.module == rows[0].module]
        rows = rows[len(together) :]
        for row in together:
            progress(row.name)
        _time(together, report)
    report.close()
    return report


def _time(rows: Sequence[Row], report: KnowledgeReport) -> None:
    with tempfile.TemporaryDirectory(prefix="innkeeper-bench-") as folder:
        try:
            found = _measured("rows", rows[0].module, folder, *(row.name for row in rows))
        except InternalError as error:
            for row in rows:
                report.failed_row(row, error.message)
            return
    for row in rows:
        report.add_row(row, Figure(*found[row.name]["figure"]), found[row.name]["extra"])


def _measured(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = processes.finish(processes.start("knowledge", *arguments, group=True), LONGEST)
    return found
