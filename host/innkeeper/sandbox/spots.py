"""The engines of wasmtime that guests live in: one that keeps places ready, and one that makes them as they are needed.

Both compile to the same code. A guest of the pool takes memory, tables and stack from places that are there already,
which makes starting and ending it some thirty microseconds cheaper; but each place has a fixed size, and there are so
many.  Whoever needs more, or finds them taken, goes to the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.ticker import Ticker


@dataclass(slots=True)
class Spot:
    """One of wasmtime's engines.

    Attributes:
        engine: its address.
        ticker: the clock that pre-empts its guests.
        places: guests that it can have at once; None: as many as there may be.
        taken: guests that it has.
        memory: bytes that each memory may have.
        table_elements: elements that each table may have.
    """

    engine: int
    ticker: Ticker
    places: int | None = None
    memory: int = 1 << 40
    table_elements: int = 1 << 40
    taken: int = field(default=0, init=False)

    def fits(self, limits: Limits) -> bool:
        """Whether a guest with these limits may live here now."""
        return (
            (self.places is None or self.taken < self.places)
            and limits.memory <= self.memory
            and limits.kernel_memory <= self.memory
            and limits.table_elements <= self.table_elements
        )
