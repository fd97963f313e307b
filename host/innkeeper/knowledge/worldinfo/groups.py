"""Inclusion groups: of the new entries that share one, one is active."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from innkeeper.knowledge.worldinfo.entry import WorldEntry


def losers(
    new: Sequence[WorldEntry],
    taken: Mapping[str, WorldEntry],
    sticky: Collection[WorldEntry],
    score: Callable[[WorldEntry], int],
    scoring: bool,
    random: Callable[[], float],
) -> Mapping[WorldEntry, str]:
    """New entries that their groups keep out, and why. An entry that loses in one of its groups is out.

    Args:
        new: of this sweep, in their order.
        taken: entries that are active since an earlier sweep, by all that their field `group` says: as SillyTavern
            compares it, an entry of several groups blocks none of them.
        sticky: entries that stick.
        score: how many of an entry's keys occur.
        scoring: whether the score counts for entries that say nothing themselves.
        random: a number from 0 to 1.
    """
    grouped: dict[str, list[WorldEntry]] = {}
    for entry in new:
        for name in entry.groups:
            grouped.setdefault(name, []).append(entry)
    lost: dict[WorldEntry, str] = {}
    kept = {name: _scored(name, members, sticky, score, scoring, lost) for name, members in grouped.items()}
    for name, members in kept.items():
        if any(entry in sticky for entry in members):
            continue
        if name in taken:
            _lose(members, lost, f"group {name!r} has {_name(taken[name])} already")
            continue
        winner = _winner(members, random) if len(members) > 1 else None
        if winner is not None:
            others = [entry for entry in members if entry is not winner]
            _lose(others, lost, f"group {name!r} has {_name(winner)}")
    return lost


def _scored(
    name: str,
    members: list[WorldEntry],
    sticky: Collection[WorldEntry],
    score: Callable[[WorldEntry], int],
    scoring: bool,
    lost: dict[WorldEntry, str],
) -> list[WorldEntry]:
    staying = [entry for entry in members if entry in sticky]
    if staying:
        _lose([entry for entry in members if entry not in sticky], lost, f"group {name!r} has one that sticks")
        return staying
    if not scoring and not any(entry.group_scoring for entry in members):
        return members
    scores = {entry: score(entry) for entry in members}
    most = max(scores.values())
    out = [
        entry
        for entry in members
        if scores[entry] < most and (scoring if entry.group_scoring is None else entry.group_scoring)
    ]
    _lose(out, lost, f"group {name!r} has one with more keys that occur")
    return [entry for entry in members if entry not in out]


def _winner(members: Sequence[WorldEntry], random: Callable[[], float]) -> WorldEntry | None:
    first = [entry for entry in members if entry.group_override]
    if first:
        return max(first, key=lambda entry: entry.order)
    roll = random() * sum(entry.group_weight for entry in members)
    reached = 0.0
    for entry in members:
        reached += entry.group_weight
        if roll <= reached:
            return entry
    return None


def _lose(entries: Sequence[WorldEntry], lost: dict[WorldEntry, str], reason: str) -> None:
    for entry in entries:
        lost.setdefault(entry, reason)


def _name(entry: WorldEntry) -> str:
    return repr(entry.name or str(entry.uid))
