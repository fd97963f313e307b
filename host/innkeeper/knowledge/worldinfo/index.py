"""Which of many words occur in a text, by JavaScript's rules for world info.

Each word is filed under the rarest of its runs of three characters, and looked for only in a text that has this run.
The work is linear in the text for each word that may occur, and bounded for all of a scan together: words that were
made to be found everywhere end it with a note, not with a stalled host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from innkeeper.knowledge.worldinfo.javascript import stands_alone

GRAM: Final = 3
"""Characters of a run. Shorter words are filed under themselves."""

MOST_GRAMS: Final = 32
"""Runs of a word that are compared to find its rarest."""

MOST_WORK: Final = 1_000_000_000
"""Characters that the words of one scan may be compared with, some half a second. Ten thousand entries in a long chat
take a hundredth."""

_STEP: Final = 64
"""What finding a word once more costs, in characters."""


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
        left: characters.
    """

    __slots__ = ("left",)

    def __init__(self, left: int = MOST_WORK) -> None:
        self.left = left

    @property
    def ended(self) -> bool:
        """Whether words were left out."""
        return self.left <= 0


class WordIndex:
    """Finds words. Never changed once it is made; used from any thread."""

    def __init__(self, words: Iterable[Word]) -> None:
        """Files the words; some 50 ms for forty thousand."""
        # For both ways to look at case: the words of each run.
        self._filed: tuple[dict[str, list[Word]], dict[str, list[Word]]] = ({}, {})
        for word in dict.fromkeys(words):
            filed = self._filed[word.case_sensitive]
            runs = {word.text[at : at + GRAM] for at in range(min(MOST_GRAMS, max(1, len(word.text) - GRAM + 1)))}
            rarest = min(sorted(runs), key=lambda run: len(filed.get(run, ())))
            filed.setdefault(rarest, []).append(word)
        self._sizes = tuple(sorted({len(run) for run in filed}) for filed in self._filed)

    def find(self, text: str, work: Work) -> set[Word]:
        """Which words occur in a text.

        Args:
            text: any.
            work: what this may take; less is left of it afterwards.
        """
        found: set[Word] = set()
        for sensitive, filed in enumerate(self._filed):
            if filed:
                seen = text if sensitive else text.lower()
                found.update(word for word in self._candidates(seen, sensitive) if occurs(word, seen, work))
        return found

    def _candidates(self, text: str, sensitive: int) -> Iterator[Word]:
        filed = self._filed[sensitive]
        for size in self._sizes[sensitive]:
            for run in {text[at : at + size] for at in range(len(text) - size + 1)}:
                yield from filed.get(run, ())


def occurs(word: Word, text: str, work: Work) -> bool:
    """Whether a word occurs in a text that is in lower case where case does not count."""
    at = -1
    while work.left > 0:
        before, at = at, text.find(word.text, at + 1)
        work.left -= (at if at >= 0 else len(text)) - before + _STEP
        if at < 0:
            return False
        if not word.whole or stands_alone(text, at, at + len(word.text)):
            return True
    return False
