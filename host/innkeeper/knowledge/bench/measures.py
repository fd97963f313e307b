"""Measures of a ranking against what is known to be relevant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

DEPTH = 10
"""Hits that are judged: as many as a person, or a prompt, looks at."""


def ndcg(ranked: Sequence[str], gains: Mapping[str, float], depth: int = DEPTH) -> float:
    """The normalised discounted cumulative gain (float, 0 to 1), with linear gains, as trec_eval has it.

    Args:
        ranked: ids, the best first. Of an id that is there twice the first counts.
        gains: what each relevant id is worth; ids that are missing, and gains of 0 or less, are worth nothing. At
            least one must be worth something.
        depth: how many of the ranked count.

    Raises:
        ValueError: nothing is relevant, so that no ranking is better than another.
    """
    ideal = sum(_discounted(sorted((gain for gain in gains.values() if gain > 0), reverse=True)[:depth]))
    if not ideal:
        raise ValueError("nothing is relevant to this question")
    unique = list(dict.fromkeys(ranked[:depth]))
    return sum(_discounted(max(gains.get(id, 0.0), 0.0) for id in unique)) / ideal


def recall(ranked: Sequence[str], relevant: Iterable[str], depth: int = DEPTH) -> float:
    """The share of what is relevant that is among the first (float, 0 to 1).

    Args:
        ranked: ids, the best first.
        relevant: ids, at least one.
        depth: how many of the ranked count. Where more than that are relevant, `depth` of them are all that fit.

    Raises:
        ValueError: nothing is relevant.
    """
    wanted = set(relevant)
    if not wanted:
        raise ValueError("nothing is relevant to this question")
    return len(wanted & set(ranked[:depth])) / min(len(wanted), depth)


def _discounted(gains: Iterable[float]) -> list[float]:
    return [gain / math.log2(place + 2) for place, gain in enumerate(gains)]
