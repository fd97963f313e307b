"""Entries, made ready to be scanned any number of times: order, keys, and an index of the words among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from innkeeper.knowledge.worldinfo.entry import WorldEntry
from innkeeper.knowledge.worldinfo.index import BETWEEN, Word, WordIndex
from innkeeper.knowledge.worldinfo.keys import Key, make_key
from innkeeper.knowledge.worldinfo.lore import Lore
from innkeeper.knowledge.worldinfo.settings import Scene, Settings, has_macro


@dataclass(slots=True, eq=False)
class Planned:
    """An entry with its keys.

    Attributes:
        entry: as it was read.
        at: its place in the order in which entries are looked at.
        keys, secondary: what its keys mean, without those that never match.
        hidden: whether it has a primary key that no index of words finds.
        macros: whether a key hangs on who talks; keys are empty then, until that is known.
    """

    entry: WorldEntry
    at: int
    keys: list[Key]
    secondary: list[Key]
    hidden: bool
    macros: bool


class Plan:
    """Entries in their order. Never changed once it is made; used from any thread.

    Attributes:
        settings: for which it was made.
        entries: in the order in which they are looked at.
        index: of the words that do not hang on who talks.
        by_word: places of the entries that have a word as a primary key.
        always: places of entries that may be active without a word that occurs.
        gated: places of entries that something may hold back whatever their keys say.
        timed: places of entries with timed effects.
        macros: places of entries with a key that hangs on who talks.
        levels: of delayed recursion, ascending.
        deepest: the largest depth that an entry has for itself.
    """

    def __init__(self, lore: Lore, settings: Settings) -> None:
        """Takes some 0.5 s for ten thousand entries, so it belongs into a thread and is kept."""
        self.settings = settings
        self.entries = [plan_entry(entry, at, settings) for at, entry in enumerate(lore.ordered(settings.strategy))]
        self.index = WordIndex(words_of(self.entries))
        self.by_word = by_word(self.entries)
        self.always = [each.at for each in self.entries if each.hidden or is_called(each.entry)]
        self.gated = [each.at for each in self.entries if may_be_held(each.entry)]
        self.timed = [each.at for each in self.entries if each.entry.sticky or each.entry.cooldown or each.entry.delay]
        self.macros = [each.at for each in self.entries if each.macros]
        self.levels = sorted({each.entry.level for each in self.entries if each.entry.level})
        self.deepest = max((each.entry.scan_depth or 0 for each in self.entries), default=0)

    def fits(self, settings: Settings) -> bool:
        """Whether the plan is good for other settings, too: order and keys are the same under them."""
        return (
            settings.strategy == self.settings.strategy
            and settings.case_sensitive is self.settings.case_sensitive
            and settings.whole_words is self.settings.whole_words
        )


def is_called(entry: WorldEntry) -> bool:
    """Whether an entry may be active without any key."""
    return entry.constant or bool(entry.decorators)


def may_be_held(entry: WorldEntry) -> bool:
    """Whether something beside recursion and timed effects may hold an entry back."""
    return bool(entry.disabled or entry.triggers or entry.names or entry.tags)


def comparing(entry: WorldEntry, settings: Settings) -> tuple[bool, bool]:
    """Whether case counts in an entry's keys, and whether they must be whole words."""
    case = settings.case_sensitive if entry.case_sensitive is None else entry.case_sensitive
    return case, settings.whole_words if entry.whole_words is None else entry.whole_words


def plan_entry(entry: WorldEntry, at: int, settings: Settings, scene: Scene | None = None) -> Planned:
    """An entry with its keys.

    Args:
        entry: as it was read.
        at: its place.
        settings: what counts where it says nothing itself.
        scene: who talks, or None where that is not known yet.
    """
    if scene is None and any(map(has_macro, chain(entry.keys, entry.secondary))):
        return Planned(entry, at, [], [], hidden=False, macros=True)
    case, whole = comparing(entry, settings)

    def made(keys: Sequence[str]) -> list[Key]:
        given = keys if scene is None else map(scene.substituted, keys)
        found = (make_key(key, case_sensitive=case, whole=whole) for key in given)
        return [key for key in found if key is not None]

    primary = made(entry.keys)
    hidden = any(key.word is None or key.regex is not None or key.across for key in primary)
    return Planned(entry, at, primary, made(entry.secondary), hidden, macros=False)


def words_of(entries: Iterable[Planned]) -> Iterable[Word]:
    """All words that entries look for in single texts, regular expressions that may not compile among them."""
    for each in entries:
        for key in chain(each.keys, each.secondary):
            if key.word is not None and BETWEEN not in key.word.text:
                yield key.word


def by_word(entries: Iterable[Planned]) -> dict[Word, list[int]]:
    """Places of the entries that have a word as a primary key."""
    found: dict[Word, list[int]] = {}
    for each in entries:
        for key in each.keys:
            if key.word is not None:
                found.setdefault(key.word, []).append(each.at)
    return found
