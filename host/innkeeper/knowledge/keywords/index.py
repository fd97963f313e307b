"""All keywords of a base, found in a text in one pass (Aho-Corasick), however many they are.

Guaranteed: what is found is what a search for each keyword by itself would find; the work is linear in the text, and
bounded where somebody wrote keywords that occur everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from innkeeper.knowledge.keywords.boundaries import Mode, stands_alone
from innkeeper.knowledge.keywords.keys import Pattern

if TYPE_CHECKING:
    from innkeeper.knowledge.keywords.texts import Laid, Texts

LAYER: Final = 8192
"""Keywords of one automaton. Building one holds the interpreter's lock: 12 ms for so many, 100 ms for forty thousand,
while searching five of them in a chat takes a quarter of a millisecond longer than one."""

PREFIX: Final = 64
"""Characters that the automaton knows of a keyword; what follows is compared on a hit. It bounds how many keywords can
end at one position."""

CHUNK: Final = 4096
"""Characters searched at once: at most `CHUNK` times `PREFIX` hits are there together."""

MOST_HITS: Final = 1_000_000
"""Hits that a search looks at. A conversation has some thousands; "a", "aa", "aaa" and so on have more than any
machine could hold."""


class Room:
    """Hits that are left to be looked at.

    Attributes:
        left: how many.
    """

    def __init__(self) -> None:
        self.left = MOST_HITS


class _Layer:
    """One automaton."""

    def __init__(self, patterns: list[Pattern]) -> None:
        from ahocorasick_rs import AhoCorasick, Implementation

        self.patterns = patterns
        grouped: dict[str, list[Pattern]] = {}
        for pattern in patterns:
            grouped.setdefault(pattern.text[:PREFIX], []).append(pattern)
        self.words = list(grouped.values())
        self._automaton: Any = AhoCorasick(list(grouped), implementation=Implementation.ContiguousNFA)

    def hits(self, text: str) -> list[tuple[int, int, int]]:
        """Number in `words`, start and end of each hit, those inside of others included."""
        found: list[tuple[int, int, int]] = self._automaton.find_matches_as_indexes(text, overlapping=True)
        return found


class KeywordIndex:
    """Finds keywords. Never changed once it is made; used from any thread."""

    def __init__(self, patterns: Iterable[Pattern], previous: KeywordIndex | None = None) -> None:
        """Builds the automata; takes a second for half a million keywords, so it belongs into a thread.

        Args:
            patterns: what to find; the same twice is found once.
            previous: an index of mostly the same keywords, whose automata are used again where that pays.
        """
        wanted = dict.fromkeys(patterns)
        self.patterns = frozenset(wanted)
        kept: list[tuple[bool, _Layer]] = []
        if previous is not None:
            stale = sum(len(layer.patterns) for _, layer in previous._layers) - len(self.patterns & previous.patterns)
            small = sum(1 for _, layer in previous._layers if len(layer.patterns) < LAYER // 4)
            # Keywords that nobody wants any more cost a little each time; too many of them, or too many small
            # automata, cost more than building anew.
            if stale <= LAYER // 4 + len(self.patterns) // 4 and small <= 8:
                kept = list(previous._layers)
        known = {pattern for _, layer in kept for pattern in layer.patterns}
        for sensitive in (False, True):
            fresh = (each for each in wanted if each.sensitive is sensitive and each not in known)
            while layer := list(islice(fresh, LAYER)):
                kept.append((sensitive, _Layer(layer)))
        self._layers: list[tuple[bool, _Layer]] = kept

    def find(
        self, texts: Texts, *, room: Room | None = None, between: Callable[[], None] = lambda: None
    ) -> tuple[dict[Pattern, list[int]], bool]:
        """Which keywords occur in which of the texts.

        Args:
            texts: laid side by side.
            room: hits that may be looked at; several searches can share it.
            between: called between pieces of the work; what it raises ends the search.

        Returns:
            the texts of each keyword that occurs, by their number, ascending; and whether all was looked at, False
            where there was no more room.
        """
        found: dict[Pattern, list[int]] = {}
        room = Room() if room is None else room
        for sensitive in (False, True):
            layers = [layer for is_sensitive, layer in self._layers if is_sensitive is sensitive]
            laid = texts.exact if sensitive else texts.folded
            # By pieces of the text first: the texts of a keyword come in their order then.
            for start in range(0, len(laid.text) if layers else 0, CHUNK):
                piece = laid.text[start : start + CHUNK + PREFIX - 1]
                between()
                for layer in layers:
                    room.left -= _look(layer, laid, start, piece, found, room.left)
                    if room.left <= 0:
                        return self._wanted(found), False
        return self._wanted(found), True

    def _wanted(self, found: dict[Pattern, list[int]]) -> dict[Pattern, list[int]]:
        return {pattern: numbers for pattern, numbers in found.items() if pattern in self.patterns}


def _look(layer: _Layer, laid: Laid, offset: int, piece: str, found: dict[Pattern, list[int]], left: int) -> int:
    """Takes the hits of a piece into what was found; says how many were looked at."""
    text, inner, words = laid.text, laid.inner, layer.words
    looked = 0
    for word, start, end in layer.hits(piece):
        looked += 1
        if start >= CHUNK:
            continue  # The next piece has it, too.
        start += offset
        end += offset
        if inner and start in inner:
            continue
        for pattern in words[word]:
            stop = end
            if len(pattern.text) > PREFIX:
                looked += 1
                if not text.startswith(pattern.text, start):
                    continue
                stop = start + len(pattern.text)
            number = laid.number(start, stop)
            numbers = found.get(pattern)
            if number < 0 or (numbers is not None and numbers[-1] == number):
                continue
            if (inner and stop in inner) or (
                pattern.mode is not Mode.SUBSTRING and not stands_alone(text, start, stop, pattern.mode)
            ):
                continue
            if numbers is None:
                found[pattern] = [number]
            else:
                numbers.append(number)
        if looked >= left:
            break
    return looked
