"""Inclusion groups: of the entries that share a group's name, one is active.

Per name: a member that is active already keeps the others out; else members that are sticky win; else, where a member
asks for it, those with fewer met keys than the best go; else one with `groupOverride` wins by priority; else chance
decides by weight. An entry of several groups must win in each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from innkeeper.knowledge.activation.chance import Chance
from innkeeper.knowledge.activation.state import State, keep_order


def lose(states: Sequence[State], active: Iterable[State], chance: Chance) -> dict[State, str]:
    """Which entries their groups keep out.

    Args:
        states: what could become active now.
        active: what is active already.
        chance: decides between equals.

    Returns:
        those that lose, each with a sentence that says to whom.
    """
    taken: dict[str, State] = {}
    for state in active:
        for name in state.compiled.inclusion:
            taken.setdefault(name, state)
    members: dict[str, list[State]] = {}
    for state in states:
        for name in state.compiled.inclusion:
            members.setdefault(name, []).append(state)
    lost: dict[State, str] = {}
    # In an order that hangs on nothing but names: who loses in one group is no member of the next.
    for name in sorted(members):
        there = [state for state in members[name] if state not in lost]
        if name in taken:
            lost.update((state, f"{taken[name].name!r} of its group {name!r} is active already") for state in there)
        elif len(there) > 1:
            lost.update(_decide(name, there, chance))
    return lost


def _decide(name: str, there: list[State], chance: Chance) -> dict[State, str]:
    lost: dict[State, str] = {}
    if sticky := [state for state in there if state.sticky]:
        lost.update((each, f"{sticky[0].name!r} of its group {name!r} is sticky") for each in there if not each.sticky)
        return lost
    best = max(state.keys for state in there)
    for state in there:
        if state.compiled.extra.useGroupScoring and state.keys < best:
            lost[state] = f"others of its group {name!r} have more keys that occur: {best}, it has {state.keys}"
    left = sorted((state for state in there if state not in lost), key=keep_order)
    winners = [state for state in left if state.compiled.extra.groupOverride]
    if winners:
        winner, why = winners[0], "goes first by priority"
    else:
        weights = [state.compiled.extra.groupWeight for state in left]
        winner = left[chance.pick(weights, "group", name)]
        why = "was drawn by weight"
    lost.update((state, f"{winner.name!r} of its group {name!r} {why}") for state in left if state is not winner)
    return lost
