"""What a run found, as an object for JSON; the tables are made from it."""

from __future__ import annotations

from typing import Any

from innkeeper.bench.knowledge.aims import aims_of
from innkeeper.bench.knowledge.rows import Row
from innkeeper.bench.measured import Figure
from innkeeper.bench.report import Report


class KnowledgeReport(Report):
    """Collects the sets and rows of one run.

    Attributes:
        sets: each data set, as JSON has it.
        rows: each row, as JSON has it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sets: list[dict[str, Any]] = []

    def add_set(self, found: dict[str, Any]) -> None:
        """Adds a data set that was measured.

        Args:
            found: `ranking.Measured.as_object` of it.
        """
        ndcg = {mode: score["ndcg"] for mode, score in found["scores"].items()}
        aims = aims_of(found["name"], ndcg)
        shown = {mode: {name: round(value, 6) for name, value in score.items()}
                 for mode, score in found["scores"].items()}  # fmt: skip
        self.sets.append(
            found
            | {
                "scores": shown,
                "aims": [{"least": aim.text, "value": round(aim.least, 6), "met": aim.met} for aim in aims],
                "met": all(aim.met for aim in aims),
            }
        )

    def failed_set(self, name: str, reason: str) -> None:
        """Adds a data set that could not be measured."""
        self.sets.append({"name": name, "met": None, "error": reason})

    def add_row(self, row: Row, figure: Figure, extra: dict[str, float]) -> None:
        """Adds a row that was measured.

        Args:
            row: which.
            figure: in its unit.
            extra: further numbers, by name.
        """
        self.rows.append(
            _described(row)
            | {
                "median": _rounded(figure.median),
                "quartiles": [_rounded(figure.low), _rounded(figure.high)],
                "rounds": figure.rounds,
                "met": row.met(figure.median),
                "extra": {name: _rounded(value) for name, value in extra.items()},
            }
        )

    def failed_row(self, row: Row, reason: str) -> None:
        """Adds a row that could not be measured."""
        self.rows.append(_described(row) | {"median": None, "met": None, "error": reason})

    @property
    def met(self) -> bool:
        """Whether everything was measured and reached its aim."""
        return all(found["met"] for found in (*self.sets, *self.rows))

    def as_object(self) -> dict[str, Any]:
        """As `innkeeper kb bench --json` writes it."""
        whole = super().as_object()
        return {"met": self.met, **whole, "sets": self.sets, "rows": self.rows}


def _described(row: Row) -> dict[str, Any]:
    found = {"name": row.name, "title": row.title, "unit": row.unit, "aim": row.aim, "at_least": row.least}
    return found | ({"note": row.note} if row.note else {})


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
