"""The tables that a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from innkeeper.bench.knowledge.aims import HYBRID, KEYWORD, SEMANTIC
from innkeeper.bench.table import number

SETS = ("set", "entries", "questions", "bm25", "semantic", "hybrid", "recall@10", "aim of hybrid", "met")
ROWS = ("row", "what", "unit", "median", "aim", "met")


def set_cells(found: dict[str, Any]) -> tuple[str, ...]:
    """A data set of the report as text, one cell a header: nDCG@10, and recall@10 of the hybrid search."""
    if "error" in found:
        return (found["name"], *["-"] * (len(SETS) - 1))
    scores = found["scores"]
    return (
        found["name"],
        f"{found['entries']:,}",
        f"{found['questions']:,}",
        *(f"{scores[mode]['ndcg']:.4f}" for mode in (KEYWORD, SEMANTIC, HYBRID)),
        f"{scores[HYBRID]['recall']:.4f}",
        ", ".join(aim["least"] for aim in found["aims"]),
        _met(found["met"]),
    )


def row_cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of the report as text, one cell a header."""
    figure = "-"
    if "error" not in row:
        low, high = row["quartiles"]
        figure = f"{number(row['median'])} ({number(low)} to {number(high)})"
    aim = f"{'at least' if row['at_least'] else 'at most'} {row['aim']:g}"
    return (row["name"], row["title"], row["unit"], figure, aim, _met(row["met"]))


def footnotes(sets: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader must know, and what failed, one line each."""
    lines = []
    models = sorted({found["model"] for found in sets if "model" in found})
    if models:
        lines.append(f"nDCG@10 by words (bm25), by meaning under the model {', '.join(models)}, and by both")
    for found in sets:
        lines += [f"{found['name']}: {note}" for note in found.get("notes", ())]
    lines += [f"{row['name']}: {row['note']}" for row in rows if "note" in row and "error" not in row]
    failed = [found for found in (*sets, *rows) if "error" in found]
    return [*lines, *(f"{found['name']}: not measured: {found['error']}" for found in failed)]


def _met(met: bool | None) -> str:
    return "-" if met is None else "yes" if met else "no"
