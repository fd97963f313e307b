"""Time for tests of what is kept for some days."""

from __future__ import annotations

DAY = 86_400.0


class Clock:
    """Seconds that only a test moves on."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now
