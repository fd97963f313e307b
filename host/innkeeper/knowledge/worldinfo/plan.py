"""Entries, made ready to be scanned any number of times: order, keys, and an index of the words among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from innkeeper.knowledge.worldinfo.entry import WorldEntry
from innkeeper.knowledge.worldinfo.index import Word, WordIndex
from innkeeper.knowledge.worldinfo.keys import Key, make_key
from innkeeper.knowledge.worldinfo.lore import Lore
from innkeeper.knowledge.worldinfo.settings import MOST_DEPTH, Scene, Settings, has_macro


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """An entry with its keys.

    Attributes:
        entry: as it was read.
        at: its place in the order in which entries are looked at.
        keys, secondary: what its keys mean; None: it hangs on who talks, or never matches.
        macros: whether a key hangs on who talks.
    """

    entry: WorldEntry
    at: int
    keys: tuple[Key | None, ...]
    secondary: tuple[Key | None, ...]
    macros: bool

    @property
    def hidden(self) -> bool:
        """Whether it has a primary key that no index of words finds."""
        return self.macros or any(
            key is not None and (key.word is None or key.regex or key.across) for key in self.keys
        )

    def depth(self, settings: Settings, widened: int) -> int:
        """How many of the newest messages it looks at."""
        own = self.entry.scan_depth
        return max(0, min(settings.depth + widened if own is None else own, MOST_DEPTH))


class Plan:
    """Entries in their order. Never changed once it is made; used from any thread.

    Attributes:
        settings: for which it was made.
        entries: in the order in which they are looked at.
        index: of the words that do not hang on who talks.
        levels: of delayed recursion, ascending.
        deepest: the largest depth that an entry has for itself.
    """

    def __init__(self, lore: Lore, settings: Settings) -> None:
        """Takes some 0.2 s for ten thousand entries, so it belongs into a thread and is kept."""
        self.settings = settings
        ordered = lore.ordered(settings.strategy)
        self.entries = [plan_entry(entry, at, settings) for at, entry in enumerate(ordered)]
        self.index = WordIndex(words_of(self.entries))
        self.by_word: dict[Word, list[int]] = {}
        for each in self.entries:
            for word in primary_words(each):
                self.by_word.setdefault(word, []).append(each.at)
        self.levels = sorted({entry.level for entry in ordered if entry.level})
        self.deepest = max((entry.scan_depth or 0 for entry in ordered), default=0)

    def fits(self, settings: Settings) -> bool:
        """Whether the plan is good for other settings, too: order and keys are the same under them."""
        return (
            settings.strategy == self.settings.strategy
            and settings.case_sensitive is self.settings.case_sensitive
            and settings.whole_words is self.settings.whole_words
        )


def plan_entry(entry: WorldEntry, at: int, settings: Settings, scene: Scene | None = None) -> Planned:
    """An entry with its keys.

    Args:
        entry: as it was read.
        at: its place.
        settings: what counts where it says nothing itself.
        scene: who talks, or None where that is not known yet.
    """
    case = settings.case_sensitive if entry.case_sensitive is None else entry.case_sensitive
    whole = settings.whole_words if entry.whole_words is None else entry.whole_words

    def made(keys: Sequence[str]) -> tuple[Key | None, ...]:
        found: list[Key | None] = []
        for key in keys:
            if scene is not None:
                key = scene.substituted(key)
            elif has_macro(key):
                found.append(None)
                continue
            found.append(make_key(key, case_sensitive=case, whole=whole))
        return tuple(found)

    macros = scene is None and any(map(has_macro, chain(entry.keys, entry.secondary)))
    return Planned(entry, at, made(entry.keys), made(entry.secondary), macros)


def words_of(entries: Iterable[Planned]) -> Iterable[Word]:
    """All words that entries look for, regular expressions that do not compile among them."""
    for each in entries:
        for key in chain(each.keys, each.secondary):
            if key is not None and key.word is not None and not key.across:
                yield key.word


def primary_words(entry: Planned) -> list[Word]:
    """The words of an entry's primary keys."""
    return [key.word for key in entry.keys if key is not None and key.word is not None]
