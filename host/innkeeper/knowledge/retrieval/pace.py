"""How long something takes, by how long it took lately."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_SHARE = 0.2


class Pace:
    """An estimate of durations."""

    def __init__(self, guess: float) -> None:
        """Args:
        guess: seconds, until something was measured.
        """
        self.seconds = guess

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measures the block."""
        began = time.perf_counter()
        yield
        took = time.perf_counter() - began
        # What takes longer counts at once, what takes shorter by and by: a wrong guess stalls everybody.
        self.seconds = took if took > 2 * self.seconds else self.seconds + _SHARE * (took - self.seconds)
