"""What was measured of one row."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

INNKEEPER, EXTISM, WASMTIME = "innkeeper", "extism", "wasmtime_py"
PEERS = (INNKEEPER, EXTISM, WASMTIME)
"""In the order in which they take turns."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A median with its quartiles, in the row's unit, and the number of rounds behind them."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, samples: Sequence[float], scale: float = 1.0) -> Figure:
        """The figure of at least one sample, each multiplied by `scale`."""
        scaled = [sample * scale for sample in samples]
        if len(scaled) == 1:
            return cls(scaled[0], scaled[0], scaled[0], 1)
        low, middle, high = statistics.quantiles(scaled, n=4, method="inclusive")
        return cls(middle, low, high, len(scaled))

    def plus(self, constant: float) -> Figure:
        """The figure with a constant added."""
        return Figure(self.median + constant, self.low + constant, self.high + constant, self.rounds)


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures by peer; who cannot do the row, or is not installed, is not in it.

    Attributes:
        figures: by the names of `PEERS`.
        extra: further numbers of the row, by name.
    """

    figures: Mapping[str, Figure]
    extra: Mapping[str, float] = field(default_factory=dict)

    def as_object(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "figures": {
                name: [figure.median, figure.low, figure.high, figure.rounds] for name, figure in self.figures.items()
            },
            "extra": dict(self.extra),
        }

    @classmethod
    def from_object(cls, found: Mapping[str, Any]) -> Measured:
        """The inverse of `as_object`."""
        return cls({name: Figure(*values) for name, values in found["figures"].items()}, found["extra"])
