"""Which of many words occur in texts, by JavaScript's rules for world info: one pass, however many words there are.

The index of the native profile folds case and looks at the marks and scripts of letters; here case is what
`toLowerCase` leaves, and a word ends where `\\W` begins. What both share is the danger of words that were made to be
found everywhere, "a", "aa", "aaa" and so on: an automaton knows only the first characters of a word, a text is searched
in pieces, and all searches of a scan together look at so many hits and no more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from innkeeper.knowledge.worldinfo.javascript import stands_alone

LAYER: Final = 4096
"""Words of one automaton: building one holds the interpreter's lock for some milliseconds."""

PREFIX: Final = 64
"""Characters that an automaton knows of a word; the rest is compared on a hit."""

PIECE: Final = 4096
"""Characters that are searched at once: at most `PIECE` times `PREFIX` hits are there together."""

MOST_HITS: Final = 2_000_000
"""Hits that all searches of a scan look at: a few seconds. A long chat has some thousands."""

BETWEEN: Final = "\x01"
"""Between texts that are searched together; no word that is filed has it."""


class Word(NamedTuple):
    """What is looked for.

    Attributes:
        text: not empty; lower case unless `case_sensitive`.
        case_sensitive: whether case counts.
        whole: whether it must not stand inside of a longer word.
    """

    text: str
    case_sensitive: bool
    whole: bool


class Work:
    """What a scan may still do.

    Attributes:
        left: hits.
    """

    __slots__ = ("left",)

    def __init__(self, left: int = MOST_HITS) -> None:
        self.left = left

    @property
    def ended(self) -> bool:
        """Whether words were left out."""
        return self.left <= 0


class _Layer:
    def __init__(self, words: Sequence[Word]) -> None:
        from ahocorasick_rs import AhoCorasick, Implementation

        grouped: dict[str, list[Word]] = {}
        for word in words:
            grouped.setdefault(_of_unicode(word.text[:PREFIX]), []).append(word)
        self.words = list(grouped.values())
        self._automaton: Any = AhoCorasick(list(grouped), implementation=Implementation.ContiguousNFA)

    def hits(self, text: str) -> list[tuple[int, int, int]]:
        """Number in `words`, start and end of each hit, those inside of others included."""
        found: list[tuple[int, int, int]] = self._automaton.find_matches_as_indexes(text, overlapping=True)
        return found


class WordIndex:
    """Finds words. Never changed once it is made; used from any thread."""

    def __init__(self, words: Iterable[Word]) -> None:
        """Builds the automata; some 0.2 s for forty thousand words.

        Args:
            words: without `BETWEEN` in them.
        """
        wanted = dict.fromkeys(words)
        # By whether case counts.
        self._layers: tuple[list[_Layer], list[_Layer]] = ([], [])
        for case_sensitive, layers in enumerate(self._layers):
            fresh = (word for word in wanted if word.case_sensitive == bool(case_sensitive))
            while layer := list(islice(fresh, LAYER)):
                layers.append(_Layer(layer))

    def find(self, texts: Sequence[str], work: Work) -> dict[Word, int]:
        """Which words occur, each with the number of the first text that has it.

        Args:
            texts: any.
            work: what this may take; less is left of it afterwards.
        """
        found: dict[Word, int] = {}
        for case_sensitive, layers in enumerate(self._layers):
            if not layers:
                continue
            laid = [_of_unicode(text if case_sensitive else text.lower()) for text in texts]
            starts, at = [], 0
            for text in laid:
                starts.append(at)
                at += len(text) + len(BETWEEN)
            joined = BETWEEN.join(laid)
            for start in range(0, len(joined), PIECE):
                piece = joined[start : start + PIECE + PREFIX - 1]
                for layer in layers:
                    if work.left > 0:
                        _look(layer, joined, start, piece, starts, found, work)
        return found


def _look(
    layer: _Layer, text: str, offset: int, piece: str, starts: Sequence[int], found: dict[Word, int], work: Work
) -> None:
    for number, start, _ in layer.hits(piece):
        words = layer.words[number]
        work.left -= len(words)
        if work.left <= 0:
            return
        if start >= PIECE:
            continue  # The next piece has it, too.
        at = offset + start
        for word in words:
            if word in found or (len(word.text) > PREFIX and not text.startswith(word.text, at)):
                continue
            if not word.whole or stands_alone(text, at, at + len(word.text)):
                found[word] = bisect_right(starts, at) - 1


def _of_unicode(text: str) -> str:
    # Automata take text of Unicode only. A half of a surrogate pair, which JavaScript's texts may have, becomes U+FFFD,
    # on both sides.
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= each <= "\udfff" else each for each in text)
    return text


def occurs(word: Word, text: str) -> bool:
    """Whether a word occurs in a text that is in lower case where case does not count."""
    at = text.find(word.text)
    while at >= 0:
        if not word.whole or stands_alone(text, at, at + len(word.text)):
            return True
        at = text.find(word.text, at + 1)
    return False
