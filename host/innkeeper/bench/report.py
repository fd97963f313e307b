"""What a run found, as an object for JSON; the table and the picture are made from it."""

from __future__ import annotations

import os
from typing import Any

from innkeeper.bench import machine
from innkeeper.bench.measured import EXTISM, INNKEEPER, PEERS, Measured
from innkeeper.bench.rows import Row

BUSY = 0.25
"""Cores that other processes may use before the figures are called noisy."""


class Report:
    """Collects the rows of one run."""

    def __init__(self) -> None:
        self._others = machine.Others()
        self._machine = machine.describe()
        self.rows: list[dict[str, Any]] = []

    def add(self, row: Row, measured: Measured) -> None:
        """Adds a row that was measured."""
        medians = {name: figure.median for name, figure in measured.figures.items()}
        ratio = medians[INNKEEPER] / medians[EXTISM] if EXTISM in medians else None
        self.rows.append(
            _object(row, {name: _rounded(median) for name, median in medians.items()})
            | {
                "ratio_to_extism": None if ratio is None else _rounded(ratio),
                "met": _met(row, medians[INNKEEPER], ratio),
                "quartiles": {
                    name: [_rounded(figure.low), _rounded(figure.high)] for name, figure in measured.figures.items()
                },
                "rounds": min(figure.rounds for figure in measured.figures.values()),
                **({"tells": row.tells.format(**measured.extra)} if row.tells else {}),
                "extra": {name: _rounded(value) for name, value in measured.extra.items()},
            }
        )

    def failed(self, row: Row, reason: str) -> None:
        """Adds a row that could not be measured."""
        self.rows.append(_object(row, {}) | {"ratio_to_extism": None, "met": None, "error": reason})

    def close(self) -> None:
        """The last row was measured."""
        self._machine["load_average_after"] = round(os.getloadavg()[0], 2)
        self._machine["other_processes"] = self._others.cores()

    def as_object(self) -> dict[str, Any]:
        """As `innkeeper bench --json` writes it."""
        return {"machine": self._machine, "versions": machine.versions(), "rows": self.rows}

    def busy(self) -> str:
        """One line on how loaded the machine was."""
        before, after = self._machine["load_average"], self._machine["load_average_after"]
        others = self._machine["other_processes"]
        line = f"load average {before:.2f} before, {after:.2f} after"
        if others is None:
            return line
        trust = "the figures are noisy: run it again when the machine is idle" if others > BUSY else "quiet enough"
        return f"other processes used {others:.2f} of {self._machine['cores']} cores meanwhile ({trust}); {line}"


def _object(row: Row, medians: dict[str, float]) -> dict[str, Any]:
    aims = {"aim": row.aim, "must": row.must, "aim_own": row.aim_own}
    return {
        "name": row.name,
        "title": row.title,
        **{name: medians.get(name) for name in PEERS},
        "unit": row.unit,
        **{name: aim for name, aim in aims.items() if aim is not None},
        **({"note": row.note} if row.note else {}),
    }


def _met(row: Row, own: float, ratio: float | None) -> bool | None:
    if row.aim_own is not None:
        return own <= row.aim_own
    if row.aim is None or ratio is None:
        return None
    return ratio <= row.aim


def _rounded(value: float) -> float:
    """Four significant digits: more would promise what no second run gives."""
    return float(f"{value:.4g}")
