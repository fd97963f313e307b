"""Where active entries go: texts before and after the character, at a depth, into an outlet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from innkeeper.knowledge.worldinfo.entry import Position, WorldEntry


@dataclass(slots=True)
class DepthGroup:
    """Texts at one depth.

    Attributes:
        depth: 0 is the end of the messages.
        role: 0 system, 1 user, 2 assistant.
        texts: the last stands nearest to the end.
    """

    depth: int
    role: int
    texts: list[str]


@dataclass(slots=True)
class Slots:
    """The texts of all active entries, in the order in which they are inserted. Empty ones are not among them.

    Attributes:
        before, after: the character.
        note_top, note_bottom: above and below the author's note; gone where that is off.
        examples_top, examples_bottom: above and below the example messages.
        depth: by depth and role, the group of the entry with the largest order first.
        outlets: by name, the entry with the largest order first.
    """

    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    note_top: list[str] = field(default_factory=list)
    note_bottom: list[str] = field(default_factory=list)
    examples_top: list[str] = field(default_factory=list)
    examples_bottom: list[str] = field(default_factory=list)
    depth: list[DepthGroup] = field(default_factory=list)
    outlets: dict[str, list[str]] = field(default_factory=dict)


def by_order(active: Iterable[tuple[WorldEntry, str]]) -> list[tuple[WorldEntry, str]]:
    """Active entries with their texts, the largest order first, as they became active otherwise."""
    return sorted(active, key=lambda each: -each[0].order)


def place(active: Sequence[tuple[WorldEntry, str]]) -> Slots:
    """The slots of active entries.

    Args:
        active: with their texts, in the order in which they became active.
    """
    slots = Slots()
    plain = {
        Position.BEFORE: slots.before,
        Position.AFTER: slots.after,
        Position.NOTE_TOP: slots.note_top,
        Position.NOTE_BOTTOM: slots.note_bottom,
        Position.EXAMPLES_TOP: slots.examples_top,
        Position.EXAMPLES_BOTTOM: slots.examples_bottom,
    }
    groups: dict[tuple[int, int], DepthGroup] = {}
    for entry, text in by_order(active):
        if not text:
            continue
        if entry.position == Position.DEPTH:
            at = (entry.depth, entry.role)
            if at not in groups:
                groups[at] = DepthGroup(*at, [])
                slots.depth.append(groups[at])
            groups[at].texts.append(text)
        elif entry.position == Position.OUTLET and entry.outlet:
            slots.outlets.setdefault(entry.outlet, []).append(text)
        elif entry.position in plain:
            plain[Position(entry.position)].append(text)
    # A larger order stands nearer to the end; in an outlet, which SillyTavern fills the other way, further from it.
    for texts in (*plain.values(), *(group.texts for group in slots.depth)):
        texts.reverse()
    return slots
