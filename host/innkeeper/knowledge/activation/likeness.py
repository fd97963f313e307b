"""Likeness of meaning: whether an entry's cosine reaches its threshold, and a sentence on both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from innkeeper.knowledge.activation.base import CompiledBase
from innkeeper.knowledge.activation.interface import Request
from innkeeper.knowledge.activation.questions import Asked, Likeness
from innkeeper.knowledge.activation.state import State

QUERY_MESSAGES: Final = 2
"""Messages that entries are compared with, the newest: what was said before them has mostly passed."""

MOST_QUERY: Final = 8000
"""Characters that entries are compared with, the newest."""


def query_of(request: Request) -> str:
    """The text that entries are compared with, or ""."""
    if request.scan_depth <= 0:
        return ""
    newest = request.messages[-min(QUERY_MESSAGES, request.scan_depth) :]
    return "\n".join(message.content for message in newest)[-MOST_QUERY:].strip()


@dataclass(frozen=True, slots=True)
class Meant:
    """What came of an entry's likeness.

    Attributes:
        reached: whether it reaches its threshold.
        reason: a sentence; "" where likeness is not asked or not known.
    """

    reached: bool = False
    reason: str = ""


_NOTHING: Final = Meant()


class Meaning:
    """Looks up likeness for one activation."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def reached(self, base: CompiledBase) -> set[int]:
        """Positions of a base's entries that reach their threshold."""
        likeness = self._asked.likeness.get(base.id)
        if likeness is None:
            return set()
        scores, found = likeness.scores, set()
        # Authors choose few thresholds for many entries.
        thresholds: dict[float | None, float] = {}
        for position, entry, own in base.semantic:
            score = scores.get(entry)
            if score is None:
                continue
            if own not in thresholds:
                thresholds[own] = threshold_of(own, likeness)
            if score >= thresholds[own]:
                found.add(position)
        return found

    def of(self, state: State) -> Meant:
        """What came of an entry's likeness; keeps its score with it."""
        criteria = state.compiled.entry.activation_criteria
        likeness = self._asked.likeness.get(state.base.id) if criteria.use_semantic_search else None
        score = likeness.scores.get(state.compiled.id) if likeness is not None else None
        if likeness is None or score is None:
            return _NOTHING
        state.score = score
        own = criteria.semantic_threshold
        threshold = threshold_of(own, likeness)
        reached = score >= threshold
        why = f"{threshold:.2f}"
        if own is None:
            why += f", the default of {likeness.model}" if likeness.model else ", the model's default"
        elif likeness.carried is not None:
            why += f" ({own:g} under {likeness.recorded or 'its own model'}, carried over to {likeness.model})"
        verb = "reaches" if reached else "is below"
        return Meant(reached, f"likeness {score:.2f} {verb} its threshold {why}")


def threshold_of(own: float | None, likeness: Likeness) -> float:
    """The cosine from which an entry is active, under the model at hand.

    Args:
        own: its own, under the model that its base records; None: it has none.
        likeness: of its base.
    """
    if own is None:
        return likeness.threshold
    return own if likeness.carried is None else likeness.carried(own)
