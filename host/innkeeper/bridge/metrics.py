"""What plugins asked the services for, and how it went."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)
class Count:
    """One operation of one plugin.

    Attributes:
        calls: how often it was asked for.
        refused: how often the gate or the service refused.
        failed: how often the service broke.
        seconds: how long it took in all, waiting included.
    """

    calls: int = 0
    refused: int = 0
    failed: int = 0
    seconds: float = 0.0


class Metrics:
    """Counts by plugin and operation. There are as many as there are plugins times operations, so they are bounded by
    what the operator installed."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], Count] = {}

    def of(self, plugin: str, operation: str) -> Count:
        """The count of one operation of one plugin, to be added to."""
        key = (plugin, operation)
        count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = Count()
        return count

    def __iter__(self) -> Iterator[tuple[str, str, Count]]:
        for (plugin, operation), count in sorted(self._counts.items()):
            yield plugin, operation, count
