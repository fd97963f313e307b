"""Where entries come from, and the order in which that puts them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from innkeeper.knowledge.worldinfo.entry import WorldEntry
from innkeeper.knowledge.worldinfo.settings import Strategy


@dataclass(frozen=True, slots=True)
class Lore:
    """Entries by their source; those of one book are together, in the order of the book."""

    everywhere: Sequence[WorldEntry] = ()
    character: Sequence[WorldEntry] = ()
    chat: Sequence[WorldEntry] = ()
    persona: Sequence[WorldEntry] = ()

    def ordered(self, strategy: int) -> list[WorldEntry]:
        """All entries, in the order in which they are looked at.

        Chat comes first, then persona, then character and global lore as the strategy says; inside of each the larger
        order comes first, then what is earlier in its list. What is global is left out of the others; of the others
        the first that has an entry keeps it.
        """
        seen = {entry.key for entry in self.everywhere}
        chat = _sorted(_new(self.chat, seen))
        persona = _sorted(_new(self.persona, seen))
        character = _new(self.character, seen)
        if strategy == Strategy.EVENLY:
            return [*chat, *persona, *_sorted([*self.everywhere, *character])]
        parts = (_sorted(character), _sorted(self.everywhere))
        first, second = parts if strategy != Strategy.GLOBAL_FIRST else parts[::-1]
        return [*chat, *persona, *first, *second]


def _sorted(entries: Iterable[WorldEntry]) -> list[WorldEntry]:
    return sorted(entries, key=lambda entry: -entry.order)


def _new(entries: Sequence[WorldEntry], seen: set[tuple[str, int | str]]) -> list[WorldEntry]:
    found = [entry for entry in entries if entry.key not in seen]
    seen.update(entry.key for entry in found)
    return found
