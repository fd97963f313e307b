"""A base as activation needs it: its entries, and ways to find those that a conversation may call for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from innkeeper.knowledge.activation.compiled import CompiledEntry
from innkeeper.knowledge.activation.compiling import compile_entry, own_mode
from innkeeper.knowledge.keywords.boundaries import Mode
from innkeeper.knowledge.keywords.index import KeywordIndex
from innkeeper.knowledge.keywords.keys import Pattern
from innkeeper.knowledge.model.base import BaseInfo, Item

K = TypeVar("K")
_Positions = tuple[int, ...] | list[int]


@dataclass(frozen=True, slots=True)
class CompiledBase:
    """A base. Never changed once it is made; used by any number of activations at once, from any thread.

    Attributes:
        id: of the base.
        name: what people call it.
        mode: where keywords count, unless an entry says otherwise.
        entries: in the order of the file. A position in it names an entry below.
        index: finds its keywords.
        wanting: the entries that a keyword could activate.
        positions: the entry of each id.
        by_name: the entries of each name, ascending.
        by_tag: the entries with each tag, ascending.
        others: entries that may become active without a keyword: always active, by conditions, by a regular expression
            or by a key with a macro.
        semantic: entries that likeness of meaning may activate: position, id and their own threshold.
        macros: entries that have keys with macros.
        deepest: the largest scan depth that an entry asks for by itself, or 0.
        counted: tokens of entries whose text never changes, by tokenizer and position; filled as they are counted.
    """

    id: str
    name: str
    mode: Mode
    entries: Sequence[CompiledEntry]
    index: KeywordIndex
    wanting: Mapping[Pattern, Sequence[int]]
    positions: Mapping[str, int]
    by_name: Mapping[str, Sequence[int]]
    by_tag: Mapping[str, Sequence[int]]
    others: Sequence[int]
    semantic: Sequence[tuple[int, str, float | None]]
    macros: Sequence[int]
    deepest: int
    counted: dict[tuple[str, int], int] = field(default_factory=dict, compare=False, repr=False)

    def named(self, name: str) -> Sequence[int]:
        """The entries that a name means: those called so, else the one with it as its id."""
        found = self.by_name.get(name)
        if found is None:
            position = self.positions.get(name)
            return () if position is None else (position,)
        return found


def compile_base(
    base: str,
    items: Sequence[Item],
    *,
    info: BaseInfo | None = None,
    previous: CompiledBase | None = None,
) -> CompiledBase:
    """Makes a base ready for activation. Takes about 0.1 ms an entry, so it belongs into a thread.

    Args:
        base: id of the base.
        items: its entries, in the order of the file; no id is there twice.
        info: what the base says of itself, or None.
        previous: the same base, made ready before it was changed. Entries whose `Item` is the very same object are
            taken over, and so are the automata: a changed entry in ten thousand costs about a twentieth of all.
    """
    mode = (own_mode(info.kb_extensions) if info is not None else None) or Mode.UNICODE
    known: dict[int, CompiledEntry] = {}
    if previous is not None and previous.mode is mode:
        # The entries keep their items alive: no other object can have got such an id meanwhile.
        known = {id(entry.item): entry for entry in previous.entries}
    entries = [known.get(id(item)) or compile_entry(item, mode) for item in items]
    wanting: dict[Pattern, _Positions] = {}
    patterns: dict[Pattern, None] = {}
    by_name: dict[str, _Positions] = {}
    by_tag: dict[str, list[int]] = {}
    semantic: list[tuple[int, str, float | None]] = []
    others, macros, deepest = [], [], 0
    for position, entry in enumerate(entries):
        _add(by_name, entry.entry.displayName or entry.id, position)
        for tag in dict.fromkeys(entry.entry.management_metadata.tags):
            by_tag.setdefault(tag, []).append(position)
        if not entry.entry.management_metadata.is_enabled:
            continue
        # What is looped over here was made with the entry: thousands of lists made again for one that was changed
        # would bring the garbage collector, which stops all threads.
        for pattern in entry.patterns:
            patterns[pattern] = None
        for pattern in entry.calling:
            _add(wanting, pattern, position)
        if entry.called:
            others.append(position)
        criteria = entry.entry.activation_criteria
        if criteria.use_semantic_search:
            semantic.append((position, entry.id, criteria.semantic_threshold))
        if entry.has_macros:
            macros.append(position)
        deepest = max(deepest, entry.scan_depth or 0)
    return CompiledBase(
        id=base,
        name=info.name if info is not None else base,
        mode=mode,
        entries=entries,
        index=KeywordIndex(patterns, previous.index if previous is not None else None),
        wanting=wanting,
        positions={entry.id: position for position, entry in enumerate(entries)},
        by_name=by_name,
        by_tag=by_tag,
        others=others,
        semantic=semantic,
        macros=macros,
        deepest=deepest,
        counted=_still_counted(entries, previous),
    )


def _add(found: dict[K, _Positions], key: K, position: int) -> None:
    """Adds a position to those of a key. Hardly a key has two, and the garbage collector does not look at tuples of
    numbers."""
    there = found.get(key)
    if isinstance(there, list):
        there.append(position)
    else:
        found[key] = (position,) if there is None else [*there, position]


def _still_counted(entries: Sequence[CompiledEntry], previous: CompiledBase | None) -> dict[tuple[str, int], int]:
    if previous is None:
        return {}
    now = {id(entry): position for position, entry in enumerate(entries)}
    kept = {}
    # A copy at once: activations in other threads still fill it.
    for (name, position), tokens in list(previous.counted.items()):
        if (place := now.get(id(previous.entries[position]))) is not None:
            kept[name, place] = tokens
    return kept
