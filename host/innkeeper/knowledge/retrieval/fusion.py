"""One order out of two: words and meaning.

Each leg's scores become standard deviations above the base's mean for this query, and are added. Ranks alone (RRF) let
a leg that does not know the language spoil the order of one that does; sums of such deviations hardly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WEIGHT: Final = 0.5
"""Of the likeness of meaning beside words."""

_WEAK = 0.4
_FAIR = 0.6
_GOOD = 0.8
"""Competences (`competence`): below the first the leg only does harm; from the second on it has its whole weight;
above the third it is believed where words find little."""

_COVERED = 0.4
"""Share of the query's words, by rarity, that a good match has as a rule."""

_FLOOR = 0.1


@dataclass(frozen=True, slots=True)
class Balance:
    """How much each leg counts.

    Attributes:
        semantic: weight of the likeness of meaning, 0: none.
        keyword: weight of words.
    """

    semantic: float
    keyword: float


def balance(competence: float, coverage: float) -> Balance:
    """How much each leg counts for a query.

    Args:
        competence: of the model in the query's language, 0 to 1 (`competence.Competence`).
        coverage: the share of the query's words that the best entry has, by rarity, 0 to 1. Who asks in other words
            than the author's finds chance matches, and of those the best is little of the query.
    """
    semantic = WEIGHT * _between(competence, _WEAK, _FAIR)
    trusted = _between(competence, _GOOD, 1.0)
    damping = max(min(1.0, coverage / _COVERED), _FLOOR) ** (2 * trusted)
    return Balance(semantic, damping)


def _between(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)
