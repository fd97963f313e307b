"""The order of what words and meaning found, and why each hit is there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from innkeeper.knowledge.retrieval.fusion import Balance
from innkeeper.knowledge.retrieval.interface import Hit, Mode
from innkeeper.knowledge.retrieval.keyword import Found, matches
from innkeeper.knowledge.retrieval.likeness import Likeness, cosines_of
from innkeeper.knowledge.retrieval.vectors import Floats, Spread, Vectors

_SHOWN = 8
"""Terms that a hit names."""

_LIKE = 1.0
"""Standard deviations above the mean from which an entry that shares no word with the query is a hit at all."""

_FEW = 8
"""Entries; of fewer no deviation says anything."""

_BEST = 100
Slots = NDArray[np.int64]


def spread_of_words(found: Found, living: int) -> Spread:
    """The spread of the scores of all entries, of which most have none."""
    if not living:
        return Spread(0.0, 0.0)
    mean = float(found.scores.sum(dtype=np.float64)) / living
    square = float(np.dot(found.scores, found.scores)) / living
    return Spread(mean, max(square - mean * mean, 0.0) ** 0.5)


def best(scores: Floats, k: int) -> Slots:
    """Places of the `k` largest of some numbers, and of those that are equal to the last; in no order."""
    if len(scores) <= k:
        return np.arange(len(scores))
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= least)


def rank(
    found: Found | None,
    like: Likeness | None,
    balance: Balance,
    words: Spread,
    k: int,
    *,
    mode: Mode,
    living: int,
    allowed: NDArray[np.bool_],
    priorities: NDArray[np.float64],
    vectors: Vectors | None,
    query: Floats | None,
    ids: Sequence[str],
) -> list[Hit]:
    """The `k` best entries.

    Args:
        found: by words, or None where they were not asked.
        like: by meaning, or None where it was not asked.
        balance: how much each counts.
        words: spread of the scores by words.
        k: how many at most.
        mode: by which of them.
        living: entries of the base.
        allowed: slots that may be found.
        priorities: of the entries, which decide between equals.
        vectors, query: for the cosines of what words found, where an index proposed the rest.
        ids: of the entries, by slot.
    """
    slots = _candidates(found, like, allowed, k)
    scored, cosines, known = _columns(found, like, slots, vectors, query)
    spread = Spread(0.0, 0.0) if like is None else like.spread
    z_words = (scored - np.float32(words.mean)) * np.float32(1 / words.deviation if words.deviation > 1e-9 else 0)
    z_like = (cosines - np.float32(spread.mean)) * np.float32(1 / spread.deviation if spread.deviation > 1e-9 else 0)
    z_like[~known] = 0
    if mode is Mode.KEYWORD:
        total, eligible = scored, scored > 0
    elif mode is Mode.SEMANTIC:
        total, eligible = cosines, known
    else:
        total = np.float32(balance.keyword) * z_words + np.float32(balance.semantic) * z_like
        eligible = (scored > 0) | (known & ((z_like >= _LIKE) | (living < _FEW)))
    if slots is None:
        eligible = eligible & allowed
    places = np.flatnonzero(eligible)
    places = places[best(total[places], k)]
    chosen = places if slots is None else slots[places]
    order = np.lexsort((chosen, -priorities[chosen], -total[places]))[:k]
    places, chosen = places[order], chosen[order]
    why = matches(found, chosen, _SHOWN) if found is not None else [()] * len(places)
    return [
        Hit(
            ids[slot],
            float(total[at]),
            why[number],
            None if found is None else float(scored[at]),
            float(cosines[at]) if known[at] else None,
            None if found is None else float(z_words[at]),
            float(z_like[at]) if known[at] else None,
        )
        for number, (at, slot) in enumerate(zip(places.tolist(), chosen.tolist(), strict=True))
    ]


def _columns(
    found: Found | None, like: Likeness | None, slots: Slots | None, vectors: Vectors | None, query: Floats | None
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Scores and cosines of some slots, None: of all; and which of them have a cosine."""
    if slots is None:
        assert like is not None
        return np.zeros_like(like.cosines) if found is None else found.scores, like.cosines, like.known
    scored = np.zeros(len(slots), np.float32) if found is None else found.scores[slots]
    if like is not None and like.slots is None:
        return scored, like.cosines[slots], like.known[slots]
    cosines, known = np.zeros(len(slots), np.float32), np.zeros(len(slots), np.bool_)
    if like is not None and like.exact and like.slots is not None and len(like.slots):
        at = np.minimum(np.searchsorted(like.slots, slots), len(like.slots) - 1)
        known = like.slots[at] == slots
        cosines[known] = like.cosines[at[known]]
    elif like is not None and not like.exact and vectors is not None and query is not None:
        cosines, known = cosines_of(vectors, query, slots)
    return scored, cosines, known


def _candidates(found: Found | None, like: Likeness | None, allowed: NDArray[np.bool_], k: int) -> Slots | None:
    """Slots that are looked at; None: all that may be found."""
    if like is None:
        # What no word found is no hit.
        return np.zeros(0, np.int64) if found is None else np.flatnonzero(allowed & (found.scores > 0))
    if found is None or like.slots is None:
        return like.slots
    if like.exact:
        return np.flatnonzero(allowed)
    by_words = np.flatnonzero(allowed & (found.scores > 0))
    by_words = by_words[best(found.scores[by_words], max(_BEST, 4 * k))]
    return np.union1d(by_words, like.slots)
