"""BM25: how well entries answer a query by words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from innkeeper.knowledge.retrieval.interface import Match
from innkeeper.knowledge.retrieval.postings import Postings
from innkeeper.knowledge.text.blob import FIELDS

K1: Final = 1.2
B: Final = 0.75


@dataclass(frozen=True, slots=True)
class Found:
    """What the words of a query found.

    Attributes:
        terms: of the query that some entry has, each with its rarity and where it is.
        scores: of each slot, 0 where none of the words is; float32, shape (slots,).
        most: the score that an entry would have in which each term of the query counted without end.
    """

    terms: Sequence[tuple[str, float, Sequence[Postings]]]
    scores: NDArray[np.float32]
    most: float


def score(
    places: Sequence[tuple[str, Sequence[Postings]]],
    alive: NDArray[np.bool_],
    lengths: NDArray[np.float32],
    living: int,
    length: int,
) -> Found:
    """BM25 of every slot.

    Args:
        places: terms of the query with the postings of each.
        alive: which slots have an entry; shape (slots,).
        lengths: of the entries in terms; shape (slots,).
        living: how many entries there are.
        length: of all of them in terms.
    """
    scores = np.zeros(len(alive), np.float32)
    mean = max(length / living, 1.0) if living else 1.0
    bare, growing = np.float32(K1 * (1 - B)), np.float32(K1 * B / mean)
    whole = living == len(alive)
    terms = []
    most = 0.0
    for term, parts in places:
        frequency = sum(len(each.slots) if whole else int(alive[each.slots].sum()) for each in parts)
        rarity = math.log(1 + max(living - frequency + 0.5, 0.5) / (frequency + 0.5))
        most += rarity * (K1 + 1)
        if frequency:
            factor = np.float32(rarity * (K1 + 1))
            for each in parts:
                scores[each.slots] += factor * each.weights / (each.weights + (bare + growing * lengths[each.slots]))
            terms.append((term, rarity, parts))
    if not whole:
        scores[~alive] = 0
    return Found(terms, scores, most)


def matches(found: Found, slots: NDArray[np.int64], most: int) -> list[tuple[Match, ...]]:
    """Why each of some slots was found, the rarest terms first.

    Args:
        found: by the query.
        slots: of hits.
        most: terms that are named for each.
    """
    why: list[list[tuple[float, Match]]] = [[] for _ in slots]
    for term, rarity, parts in found.terms:
        for each in parts:
            at = np.minimum(np.searchsorted(each.slots, slots), len(each.slots) - 1)
            for hit in np.flatnonzero(each.slots[at] == slots):
                bits = int(each.fields[at[hit]])
                fields = tuple(name for bit, name in enumerate(FIELDS) if bits >> bit & 1)
                why[hit].append((-rarity * float(each.weights[at[hit]]), Match(term, fields)))
    return [tuple(match for _, match in sorted(each, key=lambda pair: pair[0])[:most]) for each in why]
