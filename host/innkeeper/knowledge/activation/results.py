"""What an activation answers: active entries in their order with their texts, and the trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from innkeeper.knowledge.activation.base import CompiledBase
from innkeeper.knowledge.activation.interface import Active, Line, Outcome, Request, Result
from innkeeper.knowledge.activation.state import Ref, State, text_order
from innkeeper.knowledge.activation.sweeps import Sweeps

MOST_LINES: Final = 20_000
"""Lines of a trace. Active entries come first, then those that came nearest."""

MOST_UNMATCHED: Final = 1000
"""Entries without a match that a request may ask for."""


def result_of(sweeps: Sweeps, bases: Sequence[CompiledBase], request: Request, tokenizer: str, seed: int) -> Result:
    """Puts the answer together."""
    fitting = sweeps.fitting
    active = [state for state in fitting.kept if state.is_active]
    for state in fitting.late:
        sweeps.asked.note(f"a variable in {state.name!r} was set after its text was made, which has no room for it")
    variables: dict[str, Any] = {}
    for state in active:
        for name, value in state.compiled.defines.items():
            variables.setdefault(name, value)
    shown = [made for state in sorted(active, key=text_order) if (made := _active(state, len(request.messages)))]
    lines = _lines(sweeps, bases, request)
    return Result(
        active=shown,
        trace=lines,
        looked_at=sum(len(base.entries) for base in bases),
        tokens=fitting.used,
        budget=fitting.budget,
        tokenizer=tokenizer,
        variables=variables,
        seed=seed,
        notes=list(sweeps.asked.notes),
    )


def _text(state: State) -> str:
    """An entry's text with those of its parts, each on lines of its own, the largest priority last."""
    before, own, after = state.frame
    parts = [own, *(_text(child) for child in sorted(state.children, key=text_order) if child.is_active)]
    body = "\n".join(part for part in parts if part)
    return f"{before}{body}{after}" if body else ""


def _tokens(state: State) -> int:
    """Of an entry and its parts, each counted by itself."""
    return (state.tokens or 0) + sum(_tokens(child) for child in state.children if child.is_active)


def _active(state: State, messages: int) -> Active | None:
    if state.parent is not None and state.parent.is_active:
        return None
    text, compiled = _text(state), state.compiled
    if not text and compiled.media is None:
        return None
    usage = compiled.entry.usage_metadata
    depth = compiled.depth
    if compiled.reverse_depth is not None:
        depth = max(messages - compiled.reverse_depth, 0)
    return Active(
        base=state.base.id,
        entry=compiled.id,
        name=state.name,
        text=text,
        priority=state.priority,
        placement=compiled.placement,
        role=compiled.role,
        depth=depth,
        outlet=compiled.outlet,
        tokens=_tokens(state),
        exclude_from_history=usage.exclude_from_history,
        media=compiled.media,
        tags=compiled.entry.management_metadata.tags,
        entry_type=compiled.entry.entry_type,
        critical=compiled.critical,
    )


def _lines(sweeps: Sweeps, bases: Sequence[CompiledBase], request: Request) -> list[Line]:
    states = sweeps.states
    # As the budget was spent: who reads "left" from line to line sees it grow less.
    turn = {state.ref: number for number, state in enumerate(sweeps.fitting.kept)}
    decided = sorted(
        states.values(),
        key=lambda state: (not state.is_active, state.outcome is Outcome.NO_MATCH, turn.get(state.ref, 0)),
    )
    referred = _referred(sweeps)
    lines = []
    for state in decided[:MOST_LINES]:
        if not state.settled and state.ref in referred:
            continue
        lines.append(state.line())
    for ref, by in list(referred.items())[: MOST_LINES - len(lines)]:
        known = states.get(ref)
        if known is None or not known.settled:
            state = State(bases[ref[0]], ref, bases[ref[0]].entries[ref[1]])
            state.end(Outcome.ACTIVE, f"its text stands in {states[by].name!r}, which refers to it", states[by].sweep)
            lines.append(state.line())
    seen = {(line.base, line.entry) for line in lines}
    for number, position in _unmatched(sweeps, bases, request):
        base = bases[number]
        if (base.id, base.entries[position].id) not in seen and (number, position) not in referred:
            lines.append(sweeps.why_not(number, position).line())
    return lines


def _referred(sweeps: Sweeps) -> dict[Ref, Ref]:
    """Entries whose texts stand in others that are inserted, each with the first of these."""
    states, found = sweeps.states, {}
    for ref, roots in sweeps.renderer.referred.items():
        # A text that was made, and then did not fit, is nowhere.
        by = next((root for root in roots if root in states and states[root].is_active), None)
        if by is not None:
            found[ref] = by
    return found


def _unmatched(sweeps: Sweeps, bases: Sequence[CompiledBase], request: Request) -> Iterator[tuple[int, int]]:
    """Entries that were not looked at, of which the trace is to say something."""
    named = {
        (number, base.positions[entry])
        for number, base in enumerate(bases)
        for entry in request.explain[:MOST_UNMATCHED]
        if entry in base.positions
    }
    yield from sorted(named)
    left = min(request.unmatched, MOST_UNMATCHED)
    for number, base in enumerate(bases):
        for position in range(len(base.entries)):
            if left <= 0:
                return
            if (number, position) not in named and (number, position) not in sweeps.states:
                left -= 1
                yield number, position
