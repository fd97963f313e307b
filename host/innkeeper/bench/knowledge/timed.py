"""What one row came to, as a process hands it to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from innkeeper.bench.measured import Figure


@dataclass(frozen=True, slots=True)
class Timed:
    """A figure of a row.

    Attributes:
        figure: in the row's unit.
        extra: further numbers, by name.
    """

    figure: Figure
    extra: Mapping[str, float] = field(default_factory=dict)

    def as_object(self) -> dict[str, Any]:
        """As JSON has it."""
        figure = self.figure
        return {"figure": [figure.median, figure.low, figure.high, figure.rounds], "extra": dict(self.extra)}
