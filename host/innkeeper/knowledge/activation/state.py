"""What is known of an entry while an activation runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from innkeeper.knowledge.activation.base import CompiledBase
from innkeeper.knowledge.activation.compiled import CompiledEntry
from innkeeper.knowledge.activation.interface import Line, Outcome

Ref = tuple[int, int]
"""Number of a base, and the position of an entry in it."""


MOST_REASON: Final = 1000
"""Characters of a reason; authors' names and keys are part of it."""


@dataclass(slots=True, eq=False)
class State:
    """An entry that is looked at.

    Attributes:
        base: its base.
        ref: which it is.
        compiled: the entry.
        outcome: what became of it so far.
        reason: why.
        sweep: in which it was decided.
        score: of its likeness, or None.
        keys: how many of its keys occur.
        tokens: of its text, or None.
        budget: tokens that were left before it, or None.
        sticky: whether it is active because it was.
        always: whether it counts as always active: it is so, or somebody forces it.
        frame: what is inserted: before, its own text, after.
        parent: the container that brought it or has it.
        children: those that it contains, which are active.
        settled: whether nothing later can change what became of it.
    """

    base: CompiledBase
    ref: Ref
    compiled: CompiledEntry
    outcome: Outcome = Outcome.NO_MATCH
    reason: str = ""
    sweep: int = 0
    score: float | None = None
    keys: int = 0
    tokens: int | None = None
    budget: int | None = None
    sticky: bool = False
    always: bool = False
    frame: tuple[str, str, str] = ("", "", "")
    parent: State | None = None
    children: list[State] = field(default_factory=list)
    settled: bool = False

    @property
    def name(self) -> str:
        """What people call it."""
        return self.compiled.entry.name

    @property
    def priority(self) -> float:
        """Larger is kept first, and stands nearer to the end."""
        return self.compiled.entry.usage_metadata.priority

    @property
    def is_active(self) -> bool:
        """Whether it is active so far."""
        return self.outcome is Outcome.ACTIVE

    def end(self, outcome: Outcome, reason: str, sweep: int, *, settled: bool = True) -> None:
        """Keeps what became of it."""
        self.outcome, self.reason, self.sweep, self.settled = outcome, reason[:MOST_REASON], sweep, settled

    def line(self) -> Line:
        """What the trace says of it."""
        return Line(
            base=self.base.id,
            entry=self.compiled.id,
            name=self.name,
            outcome=self.outcome,
            reason=self.reason,
            sweep=self.sweep,
            score=self.score,
            tokens=self.tokens,
            budget=self.budget,
        )


def keep_order(state: State) -> tuple[object, ...]:
    """Sorts entries by who is kept first where the budget is short: critical ones, then those that are always active,
    then by priority, then as their files have them; what may be left out when it is full comes last."""
    compiled = state.compiled
    late = compiled.decorators.ignore_on_max_context
    return (not compiled.critical, late, not state.always, -state.priority, state.ref)


def text_order(state: State) -> tuple[object, ...]:
    """Sorts entries as they stand: larger priority nearer to the end, else as their files have them."""
    return (state.priority, state.ref)
