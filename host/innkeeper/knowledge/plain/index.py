"""Finds entries by words: those that are rare in the base count more, keywords more than prose."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from innkeeper.knowledge.plain.legs import FIELDS, ranks_of
from innkeeper.knowledge.store.values import BaseState, Stored

MOST_QUERY_TERMS: Final = 32
"""Terms of a query; those beyond are not looked for."""

CANDIDATES: Final = 1000
"""Entries that are looked at."""

_SHOWN: Final = 8
_WEIGHTS: Final = (4.0, 2.0, 1.0)
"""Of the fields: a keyword is what the author says that the entry is about."""


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that was found.

    Attributes:
        id: of the entry.
        score: above 0.
        matches: terms and where they are, what counts most first.
    """

    id: str
    score: float
    matches: tuple[tuple[str, str], ...]


class PlainIndex:
    """Implements `live.index.LiveIndex`."""

    def __init__(self) -> None:
        # Texts and numbers alone, by term and entry: the interpreter's garbage collector does not look at them.
        self._postings: dict[str, dict[str, int]] = {}
        self._terms: dict[str, bytes] = {}
        self.cost = 0

    def build(self, state: BaseState, entries: Iterator[Stored]) -> None:
        """As `LiveIndex.build`."""
        for entry in entries:
            self._add(entry)

    def apply(self, state: BaseState, changed: Sequence[Stored], deleted: Sequence[str]) -> None:
        """As `LiveIndex.apply`."""
        for id in deleted:
            self._remove(id)
        for entry in changed:
            if self._terms.get(entry.id) != entry.terms:
                self._remove(entry.id)
                self._add(entry)

    def search(self, terms: Sequence[str], wanted: Callable[[str], int | None], k: int) -> list[Found]:
        """The best entries, the best first.

        Args:
            terms: what is looked for.
            wanted: the priority of an entry, or None where it is not wanted.
            k: how many at most.
        """
        scores: dict[str, float] = {}
        rarities: dict[str, float] = {}
        count = max(len(self._terms), 1)
        for term in terms[:MOST_QUERY_TERMS]:
            # A copy: another thread may be changing it.
            ranks = dict(self._postings.get(term, ()))
            if ranks:
                rarities[term] = rarity = math.log(1 + count / len(ranks))
                for id, rank in ranks.items():
                    scores[id] = scores.get(id, 0.0) + rarity * _WEIGHTS[rank]
        best: list[tuple[float, int, str]] = []
        ordered = sorted(scores)
        ordered.sort(key=scores.__getitem__, reverse=True)
        for id in ordered[:CANDIDATES]:
            # Those that match alike are looked at: priority decides among them.
            if len(best) >= k and scores[id] < -best[-1][0]:
                break
            priority = wanted(id)
            if priority is not None:
                best.append((-scores[id], -priority, id))
        best.sort()
        return [Found(id, -score, self._why(id, rarities)) for score, _, id in best[:k]]

    def _why(self, id: str, rarities: dict[str, float]) -> tuple[tuple[str, str], ...]:
        matches = [
            (rarity * _WEIGHTS[rank], term, rank)
            for term, rarity in rarities.items()
            if (rank := self._postings.get(term, {}).get(id)) is not None
        ]
        matches.sort(key=lambda match: -match[0])
        return tuple((term, FIELDS[rank]) for _, term, rank in matches[:_SHOWN])

    def _add(self, entry: Stored) -> None:
        ranks = ranks_of(entry.terms)
        self._terms[entry.id] = entry.terms
        self.cost += 100 * len(ranks)
        for term, rank in ranks.items():
            self._postings.setdefault(term, {})[entry.id] = rank

    def _remove(self, id: str) -> None:
        terms = self._terms.pop(id, None)
        if terms is None:
            return
        ranks = ranks_of(terms)
        self.cost -= 100 * len(ranks)
        for term in ranks:
            postings = self._postings.get(term)
            if postings is not None:
                postings.pop(id, None)
                if not postings:
                    del self._postings[term]
