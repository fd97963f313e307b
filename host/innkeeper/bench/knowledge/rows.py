"""What is timed, and what each is to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of speeds.

    Attributes:
        name: short and stable.
        title: what is measured.
        unit: of its figure.
        module: module of this package that measures it; rows of one module that follow each other share a process.
        aim: of the median, in the row's unit.
        least: whether the aim is the least that is wanted, and not the most.
        note: what a reader must know.
    """

    name: str
    title: str
    unit: str
    module: str
    aim: float
    least: bool = False
    note: str = ""

    def met(self, figure: float) -> bool:
        """Whether a figure reaches the aim."""
        return figure >= self.aim if self.least else figure <= self.aim


ENTRIES: Final = 100_000
"""Entries of the base that is searched."""

_ALL = (
    Row(
        "index-recall",
        f"recall@10 of the index beside exact search, {ENTRIES:,} entries",
        "",
        "search",
        0.99,
        least=True,
        note="made-up vectors in clusters of fifty, 256 numbers each",
    ),
    Row(
        "hybrid",
        f"hybrid search, {ENTRIES:,} entries",
        "ms",
        "search",
        15.0,
        note="words and a query's vector that is there; made-up entries in two languages",
    ),
    Row(
        "activation",
        "activation, chat of 20 messages, 10,000 entries with 40,000 keywords",
        "ms",
        "activation",
        10.0,
        note="native profile, every message looked at, two levels of recursion, budget of 4,000 tokens",
    ),
    Row(
        "upsert",
        f"a changed entry is found, {ENTRIES:,} entries",
        "ms",
        "upsert",
        20.0,
        note="from the change, kept in the database, to the end of a hybrid search that finds it; its vector is there",
    ),
    Row(
        "import",
        "import of a world book of 3.5 MB",
        "s",
        "importing",
        3.0,
        note="from the file to entries that are kept and can be searched by words",
    ),
    Row(
        "guest-search",
        "kb.search of a guest beyond the search itself, 10,000 entries",
        "us",
        "guest",
        100.0,
        note="ten searches of a guest, and ten without one right before: the median of the differences; journal off",
    ),
)

ROWS: Final = {row.name: row for row in _ALL}
