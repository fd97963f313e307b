"""Several texts laid side by side, so that one pass finds keywords in all of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from innkeeper.knowledge.keywords.folding import composed, folded, inner_positions

_BETWEEN = "\0"


@dataclass(frozen=True, slots=True)
class Laid:
    """One spelling of several texts, laid side by side.

    Attributes:
        text: all of them.
        starts: where each begins, ascending.
        ends: where each ends.
        inner: positions that lie inside of one letter.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]
    inner: frozenset[int]

    def number(self, start: int, end: int) -> int:
        """The text that a match lies in, or -1 where it reaches from one into another."""
        found = bisect_right(self.starts, start) - 1
        return found if end <= self.ends[found] else -1


@dataclass(frozen=True, slots=True)
class Texts:
    """Several texts, as they are written and with their case folded."""

    exact: Laid
    folded: Laid


def lay(texts: Sequence[str]) -> Texts:
    """Lays texts side by side, in their order."""
    written = [composed(text) for text in texts]
    small = [folded(text) for text in written]
    laid = _laid(small)
    inner: set[int] = set()
    for start, text in zip(laid.starts, written, strict=True):
        inner.update(start + position for position in inner_positions(text))
    return Texts(_laid(written), Laid(laid.text, laid.starts, laid.ends, frozenset(inner)))


def _laid(texts: Sequence[str]) -> Laid:
    starts, ends, at = [], [], 0
    for text in texts:
        starts.append(at)
        ends.append(at + len(text))
        at += len(text) + len(_BETWEEN)
    return Laid(_BETWEEN.join(texts), starts, ends, frozenset())
