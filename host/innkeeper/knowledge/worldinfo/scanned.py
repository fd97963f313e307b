"""What comes of a scan: active entries, where they go, and what became of the others."""

from __future__ import annotations

from dataclasses import dataclass, field

from innkeeper.knowledge.activation.interface import Outcome
from innkeeper.knowledge.worldinfo.entry import WorldEntry
from innkeeper.knowledge.worldinfo.slots import Slots


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of an entry.

    Attributes:
        outcome: what.
        reason: why, for its author.
        sweep: in which it was decided, from 0.
        tokens: that it has, or None where nobody counted.
        left: tokens that were left before it, or None.
    """

    outcome: Outcome
    reason: str
    sweep: int = 0
    tokens: int | None = None
    left: float | None = None


@dataclass(slots=True)
class Scanned:
    """What came of a scan.

    Attributes:
        active: entries with their texts, in the order in which they became active.
        slots: their texts where they go.
        fates: of the entries that have another than that none of their keys occurs.
        overflowed: whether the budget ended.
        notes: sentences on what did not work as it should.
    """

    active: list[tuple[WorldEntry, str]]
    slots: Slots
    fates: dict[WorldEntry, Fate]
    overflowed: bool = False
    notes: list[str] = field(default_factory=list)
