"""What fits into the budget: texts are made, counted and kept, one entry after the other.

What does not fit is left out, and smaller ones after it still get in. A text that is exactly as long as what is left
fits. Critical entries are always in, and count.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final

from innkeeper.knowledge.activation.cancelling import end_if_cancelled
from innkeeper.knowledge.activation.content import Placeholder
from innkeeper.knowledge.activation.interface import Outcome
from innkeeper.knowledge.activation.macros import Macros
from innkeeper.knowledge.activation.rendering import Renderer, TooLongError
from innkeeper.knowledge.activation.state import State, keep_order
from innkeeper.knowledge.tokens.interface import TokenCounter

MOST_ACTIVE: Final = 10_000
"""Entries that are active together."""

MOST_INSERTED: Final = 4 << 20
"""Characters of all active entries together."""

Frame = tuple[str, str, str]


class Fitting:
    """The budget of one activation.

    Attributes:
        budget: tokens that there were, or None.
        used: tokens of what is kept.
        kept: active entries, in the order in which they were kept.
        defined: variables that they set.
        late: entries whose text was made before a variable in it was known and did not fit with it.
    """

    def __init__(self, budget: int | None, counter: TokenCounter, renderer: Renderer, macros: Macros) -> None:
        self.budget = None if budget is None else max(budget, 0)
        self.used = 0
        self.kept: list[State] = []
        self.defined: dict[str, Any] = {}
        self.late: list[State] = []
        self._counter = counter
        self._counter_name = counter.name
        self._renderer = renderer
        self._macros = macros
        self._length = 0

    @property
    def left(self) -> int | None:
        """Tokens that are left, or None where there is no bound; never negative."""
        return None if self.budget is None else max(self.budget - self.used, 0)

    def fit(self, states: Sequence[State], sweep: int) -> Generator[None, None, list[State]]:
        """Keeps those that fit, in this order; waits for answers by yielding."""
        kept = []
        for state in states:
            end_if_cancelled()
            try:
                frame = yield from self._frame(state)
            except TooLongError as error:
                state.parent = None
                state.end(Outcome.FAILED, str(error), sweep)
                continue
            tokens = self._count(state, frame)
            state.tokens, state.budget = tokens, self.left
            why = self._too_much(state, tokens, sum(map(len, frame)))
            if why:
                state.parent = None
                state.end(Outcome.BUDGET, f"{why} ({state.reason})", sweep)
                continue
            state.frame = frame
            state.end(Outcome.ACTIVE, state.reason, sweep)
            self._take(tokens, sum(map(len, frame)))
            self.kept.append(state)
            kept.append(state)
            if state.parent is not None:
                state.parent.children.append(state)
            if state.compiled.defines:
                self._define(state.compiled.defines)
        return kept

    def finish(self) -> Generator[None, None, None]:
        """Makes texts again whose variables were defined after them, and takes containers out that contain nothing."""
        for state in sorted(self.kept, key=keep_order):
            if not self._is_outdated(state):
                continue
            try:
                frame = yield from self._frame(state)
            except TooLongError:
                self.late.append(state)
                continue
            tokens, before = self._count(state, frame), state.tokens or 0
            room = self.left is None or tokens - before <= self.left or state.compiled.critical
            if room and self._length - sum(map(len, state.frame)) + sum(map(len, frame)) <= MOST_INSERTED:
                self._take(tokens - before, sum(map(len, frame)) - sum(map(len, state.frame)))
                state.frame, state.tokens = frame, tokens
            else:
                self.late.append(state)
        for state in self._empty():
            self._take(-(state.tokens or 0), 0)
            state.end(Outcome.NO_MATCH, f"none of its parts is active ({state.reason})", state.sweep)

    def _empty(self) -> Iterator[State]:
        """Containers that contain nothing; what contains only such, too."""
        waiting = [state for state in self.kept if state.compiled.is_group]
        while empty := [state for state in waiting if not any(child.is_active for child in state.children)]:
            yield from empty
            waiting = [state for state in waiting if state.is_active]

    def _frame(self, state: State) -> Generator[None, None, Frame]:
        compiled, ref = state.compiled, state.ref
        body = yield from self._renderer.text(ref, compiled.pieces)
        if not body and not compiled.is_group and not compiled.entry.management_metadata.child_ids:
            # Nothing stands between them: what would be around it says nothing, either.
            return "", "", ""
        before = yield from self._renderer.text(ref, compiled.prefix)
        after = yield from self._renderer.text(ref, compiled.suffix)
        return before, body, after

    def _count(self, state: State, frame: Frame) -> int:
        text = "".join(frame)
        # A part of a container stands on lines of its own.
        text = text + "\n" if state.parent is not None and text else text
        compiled = state.compiled
        pieces = (*compiled.prefix, *compiled.pieces, *compiled.suffix)
        if not text:
            return 0
        if state.parent is not None or not all(isinstance(piece, str) for piece in pieces):
            return self._counter.count(text)
        key = (self._counter_name, state.ref[1])
        tokens = state.base.counted.get(key)
        if tokens is None:
            tokens = state.base.counted[key] = self._counter.count(text)
        return tokens

    def _too_much(self, state: State, tokens: int, length: int) -> str:
        if len(self.kept) >= MOST_ACTIVE:
            return f"{MOST_ACTIVE:,} entries are active already"
        if self._length + length > MOST_INSERTED:
            return f"all active entries together may have {MOST_INSERTED:,} characters"
        left = self.left
        if left is None or tokens <= left or state.compiled.critical:
            return ""
        return f"it would need {tokens:,} token{'s' if tokens != 1 else ''}, {left:,} were left"

    def _take(self, tokens: int, length: int) -> None:
        self.used += tokens
        self._length += length

    def _define(self, variables: dict[str, Any]) -> None:
        # Who is kept first has said it first: a variable has one value through an activation.
        new = {name: value for name, value in variables.items() if name not in self.defined}
        if new:
            self.defined.update(new)
            self._macros.define(new)

    def _is_outdated(self, state: State) -> bool:
        if not self.defined or not state.is_active:
            return False
        compiled = state.compiled
        pieces = (*compiled.prefix, *compiled.pieces, *compiled.suffix)
        # What references bring may have placeholders, too.
        return any(not isinstance(piece, str | Placeholder) for piece in pieces) or any(
            isinstance(piece, Placeholder) and piece.name in self.defined for piece in pieces
        )
