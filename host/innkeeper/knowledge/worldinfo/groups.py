"""Inclusion groups: of the new entries that share one, one is active, or what SillyTavern leaves of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from innkeeper.knowledge.worldinfo.entry import WorldEntry


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides in groups beside the entries themselves.

    Attributes:
        taken: entries that are active since an earlier sweep, by all that their field `group` says: as SillyTavern
            compares it, an entry of several groups blocks none of them.
        sticky, cooldown: entries with these effects; one may have both.
        score: how many of an entry's keys occur.
        scoring: whether the score counts for entries that say nothing themselves.
        random: a number from 0 to 1.
    """

    taken: Mapping[str, WorldEntry]
    sticky: Collection[WorldEntry]
    cooldown: Collection[WorldEntry]
    score: Callable[[WorldEntry], int]
    scoring: bool
    random: Callable[[], float]


def losers(new: Sequence[WorldEntry], rules: Rules) -> Mapping[WorldEntry, str]:
    """New entries that are out, and why.

    Groups do not know what was decided in others: an entry that is out may win another of its groups, and one that
    loses again takes the last entry of the sweep that is left along, whatever that has to do with it.

    Args:
        new: of this sweep, in their order.
        rules: what decides.
    """
    left = _Left(new)
    groups: dict[str, list[WorldEntry]] = {}
    for entry in new:
        for name in entry.groups:
            groups.setdefault(name, []).append(entry)
    # Each of the three steps goes over all groups before the next begins. The order of the groups makes no difference:
    # whoever goes along is the same whichever of two losses comes first.
    undecided = {name: members for name, members in groups.items() if not _by_effects(name, members, rules, left)}
    scored = {name: _by_score(name, members, rules, left) for name, members in undecided.items()}
    for name, members in scored.items():
        if name in rules.taken:
            left.drop(members, f"group {name!r} has {_name(rules.taken[name])} already")
            continue
        winner = _winner(members, rules.random) if len(members) > 1 else None
        if winner is not None:
            left.drop([entry for entry in members if entry is not winner], f"group {name!r} has {_name(winner)}")
    return left.lost


class _Left:
    """New entries that are not out yet, and those that are.

    Attributes:
        lost: entries and why they are out.
    """

    def __init__(self, new: Sequence[WorldEntry]) -> None:
        self._left = dict.fromkeys(new)
        self.lost: dict[WorldEntry, str] = {}

    def drop(self, entries: Sequence[WorldEntry], reason: str) -> None:
        for entry in entries:
            if entry in self._left:
                del self._left[entry]
                self.lost[entry] = reason
            elif self._left:
                last, _ = self._left.popitem()
                self.lost[last] = f"{_name(entry)} lost twice ({reason}), and took the last new entry along"


def _by_effects(name: str, members: Sequence[WorldEntry], rules: Rules, left: _Left) -> bool:
    # Whether one of them sticks, which decides the group.
    sticks = any(entry in rules.sticky for entry in members)
    if sticks:
        left.drop([entry for entry in members if entry not in rules.sticky], f"group {name!r} has one that sticks")
    left.drop([entry for entry in members if entry in rules.cooldown], f"it rests, and group {name!r} heeds that")
    return sticks


def _by_score(name: str, members: list[WorldEntry], rules: Rules, left: _Left) -> list[WorldEntry]:
    if not rules.scoring and not any(entry.group_scoring for entry in members):
        return members
    scores = {entry: rules.score(entry) for entry in members}
    most = max(scores.values())
    out = {
        entry
        for entry in members
        if scores[entry] < most and (rules.scoring if entry.group_scoring is None else entry.group_scoring)
    }
    left.drop([entry for entry in members if entry in out], f"group {name!r} has one with more keys that occur")
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


def _name(entry: WorldEntry) -> str:
    return repr(entry.name or str(entry.uid))
