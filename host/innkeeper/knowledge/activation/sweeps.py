"""The native profile: which entries become active, sweep by sweep.

It runs in a thread and never waits: where answers of others are needed, it yields, and goes on once `Asked` has them.
docs/activation.md lists the order of its decisions, and how it differs from SillyTavern's.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

from innkeeper.knowledge.activation.admission import Admission
from innkeeper.knowledge.activation.base import CompiledBase
from innkeeper.knowledge.activation.chance import Chance
from innkeeper.knowledge.activation.containers import parts_of
from innkeeper.knowledge.activation.fitting import Fitting
from innkeeper.knowledge.activation.inclusion import lose
from innkeeper.knowledge.activation.interface import Outcome, Request
from innkeeper.knowledge.activation.likeness import Meaning, query_of
from innkeeper.knowledge.activation.macros import Macros
from innkeeper.knowledge.activation.questions import Asked
from innkeeper.knowledge.activation.rendering import Renderer
from innkeeper.knowledge.activation.scene import Scene, Segment
from innkeeper.knowledge.activation.session import Session
from innkeeper.knowledge.activation.state import Ref, State, keep_order
from innkeeper.knowledge.activation.words import Reader
from innkeeper.knowledge.tokens.interface import TokenCounter

MOST_SWEEPS: Final = 32
"""Sweeps that a request may ask for."""

MOST_NESTED: Final = 8
"""Containers inside each other."""

MOST_LINKS: Final = 400_000
"""Parts and related entries that are looked at: twice as many as a base may have entries."""

MOST_RELATED: Final = 200
"""Entries that are brought because others belong to them."""

Waiting = Generator[None, None, None]


class Sweeps:
    """One activation.

    Attributes:
        states: all entries that were looked at.
        asked: answers of others, and what is still to be asked when it yields.
        fitting: what is kept, and of the budget.
    """

    def __init__(
        self,
        bases: Sequence[CompiledBase],
        request: Request,
        *,
        counter: TokenCounter,
        session: Mapping[str, Any] | None,
        seed: int,
        asked: Asked,
    ) -> None:
        """Args:
        bases: in the order in which they come; an id is there once.
        request: what is asked.
        counter: counts tokens.
        session: the session's plain memory, or None.
        seed: of what chance decides.
        asked: takes what must be asked, and has the answers.
        """
        length = len(request.messages) if request.length is None else max(request.length, 0)
        self.asked = asked
        self.states: dict[Ref, State] = {}
        self.session = Session(session, length)
        self._bases = bases
        self._request = request
        self._macros = Macros(request)
        self._chance = Chance(seed, length)
        self._forced = set(request.force)
        self._admission = Admission(request, self.session, length, self._macros, self.asked)
        self._meaning = Meaning(self.asked)
        renderer = Renderer(bases, self._macros, active=self._is_active, admits=self._admits_reference)
        self.fitting = Fitting(request.budget, counter, renderer, self._macros)
        self.renderer = renderer
        self._scene: Scene
        self._reader: Reader
        self._defined = 0
        self._links = MOST_LINKS

    def run(self) -> Waiting:
        """Decides all. Yields where `asked.open` must be answered first."""
        self._scene = Scene(self._bases, self._request, self._macros)
        self._reader = Reader(self._scene, self._macros, self.asked)
        query = query_of(self._request)
        for base in self._bases:
            if base.semantic and query:
                self.asked.open.queries[base.id] = query
        if self.asked.open:
            yield
        last = min(max(self._request.recursion, 0), MOST_SWEEPS)
        candidates = self._first()
        for sweep in range(last + 1):
            kept = yield from self._sweep(candidates, sweep)
            if sweep == last:
                break
            called = self._recur(kept)
            waiting = [state for state in self.states.values() if not state.settled]
            delayed = any(
                state.outcome is Outcome.RECURSION and sweep < state.compiled.delayed <= last for state in waiting
            )
            if called is None and not delayed:
                break
            candidates = self._merged(called or [], waiting)
        if self._request.related:
            yield from self._relate(last + 1)
        yield from self.fitting.finish()
        for note in self._scene.notes:
            self.asked.note(note)

    def why_not(self, base: int, position: int) -> State:
        """What holds an entry back that was not looked at, as a state of its own."""
        state = self.states.get((base, position))
        if state is None:
            state = self._state(base, position)
            if self._passes_gates(state, 0):
                self._called(state, 0)
        return state

    def _state(self, base: int, position: int) -> State:
        ref = (base, position)
        state = self.states.get(ref)
        if state is None:
            compiled = self._bases[base].entries[position]
            state = self.states[ref] = State(self._bases[base], ref, compiled)
            state.sticky = compiled.timed and self.session.is_sticky(self._bases[base].id, compiled)
            state.always = compiled.always or compiled.id in self._forced
        return state

    def _first(self) -> list[State]:
        """Entries that the conversation may call for."""
        found = []
        remembered: dict[str, list[str]] = {}
        for base_id, entry in self.session.remembered():
            remembered.setdefault(base_id, []).append(entry)
        for number, base in enumerate(self._bases):
            positions = self._scene.called(number) | set(base.others) | self._meaning.reached(base) | set(base.macros)
            for entry in (*self._forced, *remembered.get(base.id, ())):
                if (position := base.positions.get(entry)) is not None:
                    positions.add(position)
            found += [self._state(number, position) for position in sorted(positions)]
        return found

    def _recur(self, kept: Sequence[State]) -> list[set[int]] | None:
        """Looks at what newly active entries say; None where they say nothing."""
        segments = []
        for state in kept:
            if not state.compiled.extra.preventRecursion and (text := "".join(state.frame)):
                segments.append(Segment("entry", 0, state.name, text, state.ref))
        return self._scene.look(segments) if segments else None

    def _merged(self, called: Sequence[set[int]], waiting: Sequence[State]) -> list[State]:
        changed = len(self.fitting.defined) != self._defined
        self._defined = len(self.fitting.defined)
        # Of those that failed by conditions only new variables can make something else.
        found = {state.ref: state for state in waiting if changed or state.outcome is not Outcome.CONDITION}
        for number, positions in enumerate(called):
            for position in positions:
                state = self._state(number, position)
                if not state.settled:
                    found[state.ref] = state
        return [found[ref] for ref in sorted(found)]

    def _sweep(self, candidates: Sequence[State], sweep: int) -> Generator[None, None, list[State]]:
        open_ = [state for state in candidates if self._passes_gates(state, sweep)]
        # Twice where regular expressions are asked: the first time only finds out which.
        words = [self._called(state, sweep) for state in open_]
        if self.asked.open:
            yield
            words = [self._called(state, sweep) for state in open_]
        matched = [state for state, met in zip(open_, words, strict=True) if met]
        return (yield from self._settle(matched, sweep))

    def _settle(self, matched: list[State], sweep: int) -> Generator[None, None, list[State]]:
        """What becomes of entries that are called for, and of those that they contain."""
        kept: list[State] = []
        for _ in range(MOST_NESTED):
            new = yield from self._round(matched, sweep)
            kept += new
            matched = self._parts(new, sweep)
            if not matched:
                break
        return kept

    def _round(self, matched: list[State], sweep: int) -> Generator[None, None, list[State]]:
        there = yield from self._admission.by_conditions(matched, sweep, self._forced)
        lost = lose(there, [state for state in self.states.values() if state.is_active], self._chance)
        for state, reason in lost.items():
            state.end(Outcome.GROUP, reason, sweep)
        lucky = [state for state in there if state not in lost and self._is_lucky(state, sweep)]
        return (yield from self.fitting.fit(sorted(lucky, key=keep_order), sweep))

    def _passes_gates(self, state: State, sweep: int) -> bool:
        closed = self._admission.closed(state)
        if closed is not None:
            state.end(*closed, sweep)
            return False
        if state.compiled.delayed > sweep:
            state.end(
                Outcome.RECURSION, f"it waits for recursion of level {state.compiled.delayed}", sweep, settled=False
            )
            return False
        return True

    def _called(self, state: State, sweep: int) -> bool:
        """Whether an entry is called for, with a reason."""
        compiled, reason = state.compiled, ""
        words = self._reader.words(state.ref[0], compiled)
        state.keys = words.score
        meaning = self._meaning.of(state)
        if compiled.id in self._forced:
            reason = "it was asked for by its id"
        elif compiled.always:
            reason = "always active" if not compiled.decorators.activate else "@@activate"
        elif state.sticky:
            reason = "still active from before (sticky)"
        elif words.met:
            reason = words.reason
        elif meaning.reached:
            reason = meaning.reason
        elif compiled.asks_conditions_only:
            reason = "its conditions hold"
        if reason:
            state.reason = reason
            return True
        why = words.reason if not meaning.reason or compiled.asks_words else meaning.reason
        if meaning.reason and compiled.asks_words:
            why += "; " + meaning.reason
        state.end(Outcome.NO_MATCH, why, sweep, settled=False)
        return False

    def _is_lucky(self, state: State, sweep: int) -> bool:
        probability = state.compiled.entry.activation_criteria.trigger_probability
        if probability >= 1 or state.sticky or state.compiled.id in self._forced or state.compiled.decorators.activate:
            return True
        if self._chance.happens(probability, "probability", state.base.id, state.compiled.id):
            return True
        state.end(Outcome.PROBABILITY, f"chance decided against it ({probability:.0%}); {state.reason}", sweep)
        return False

    def _parts(self, containers: Sequence[State], sweep: int) -> list[State]:
        parts = parts_of(containers, self._state, self._affords_link)
        return [part for part in parts if self._passes_gates(part, sweep)]

    def _relate(self, sweep: int) -> Waiting:
        """Brings what belongs to active entries, as far as the budget allows."""
        found: dict[Ref, State] = {}
        for state in sorted((each for each in self.states.values() if each.is_active), key=keep_order):
            for related in state.compiled.entry.management_metadata.related_ids:
                position = state.base.positions.get(related)
                if position is None or len(found) >= MOST_RELATED or not self._affords_link():
                    continue
                other = self._state(state.ref[0], position)
                if not other.settled and other.ref not in found and self._passes_gates(other, sweep):
                    other.reason = f"belongs to {state.name!r}"
                    found[other.ref] = other
        yield from self._settle(list(found.values()), sweep)

    def _affords_link(self) -> bool:
        self._links -= 1
        if self._links < 0:
            self.asked.note(f"more than {MOST_LINKS:,} parts and related entries: the rest was not looked at")
        return self._links >= 0

    def _is_active(self, ref: Ref) -> bool:
        state = self.states.get(ref)
        return state is not None and state.is_active

    def _admits_reference(self, ref: Ref) -> Generator[None, None, bool]:
        return (yield from self._admission.of_reference(ref, self._bases[ref[0]]))
