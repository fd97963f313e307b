"""What entries look at: messages, further texts, and what active entries say.

A part is searched for words once, when the first entry looks at it: a word that stands in one part stands in each text
that has the part, and none reaches over the end of one, except for those that are looked for in the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from innkeeper.knowledge.worldinfo.entry import WorldEntry
from innkeeper.knowledge.worldinfo.index import Word, WordIndex, Work
from innkeeper.knowledge.worldinfo.javascript import trim
from innkeeper.knowledge.worldinfo.keys import START
from innkeeper.knowledge.worldinfo.settings import MOST_DEPTH, Scene

JOINER: Final = "\n" + START
"""Between the parts of a text."""

INJECTED: Final = "an injected text"
RECURSION: Final = "what other entries say"


class View(NamedTuple):
    """What an entry looks at; equal ones are equal texts.

    Attributes:
        depth: messages; 0: nothing at all.
        texts: names of further texts.
        recursed: how many of the texts count that other entries said.
    """

    depth: int
    texts: tuple[str, ...]
    recursed: int


class Sight:
    """What can be looked at in one scan.

    Attributes:
        recursion: what active entries say, a text for each sweep.
    """

    def __init__(self, scene: Scene, indexes: Sequence[WordIndex], work: Work) -> None:
        """Args:
        scene: messages and further texts.
        indexes: of all words that are looked for.
        work: what searching may take.
        """
        self._messages = [trim(message) for message in scene.messages[:MOST_DEPTH]]
        # SillyTavern has no place for empty messages that no other one follows.
        while self._messages and not scene.messages[len(self._messages) - 1]:
            self._messages.pop()
        self._injects = [text for text in scene.injects if text]
        self._texts = {name: text for name, text in scene.texts.items() if text}
        self._indexes, self._work = indexes, work
        self.recursion: list[str] = []
        # The newest message that has a word, and where else it stands.
        self._newest: dict[Word, int] = {}
        self._searched = 0
        self._further = {name: set(self._find([text])) for name, text in self._texts.items()}
        self._injected = set(self._find(self._injects))
        self._recursed: set[Word] = set()

    def _find(self, texts: Sequence[str]) -> dict[Word, int]:
        found: dict[Word, int] = {}
        for index in self._indexes:
            found.update(index.find(texts, self._work))
        return found

    def first(self) -> set[Word]:
        """Words that stand in what is no message."""
        return self._injected.union(*self._further.values())

    def widen(self, depth: int) -> set[Word]:
        """Searches messages up to a depth; words that were in none before."""
        begin = self._searched
        messages = self._messages[begin : max(0, depth)]
        self._searched += len(messages)
        found = self._find(messages) if messages else {}
        new = found.keys() - self._newest.keys()
        self._newest.update((word, begin + found[word]) for word in new)
        return new

    def recurse(self, text: str) -> set[Word]:
        """Adds what active entries say; the words in it."""
        self.recursion.append(text)
        found = set(self._find([text]))
        self._recursed |= found
        return found

    def sees(self, entry: WorldEntry, depth: int, word: Word, *, recursing: bool) -> bool:
        """Whether a word stands in what an entry looks at.

        Args:
            entry: whose further texts count.
            depth: messages that it looks at; 0: it looks at nothing at all.
            word: one of the indexes'.
            recursing: whether what other entries say counts.
        """
        return depth > 0 and (
            self._newest.get(word, MOST_DEPTH) < depth
            or word in self._injected
            or (recursing and word in self._recursed)
            or any(word in self._further.get(name, ()) for name in entry.texts)
        )

    def where(self, entry: WorldEntry, depth: int, word: Word) -> str:
        """Where an entry sees a word, for people."""
        at = self._newest.get(word, MOST_DEPTH)
        if at < depth:
            return "the newest message" if at == 0 else f"message {at + 1} from the end"
        if word in self._injected:
            return INJECTED
        further = next((name for name in entry.texts if word in self._further.get(name, ())), None)
        return f"the {further.replace('_', ' ')}" if further else RECURSION

    def view(self, depth: int, texts: tuple[str, ...], *, recursing: bool) -> View:
        """What an entry looks at.

        Args:
            depth: messages.
            texts: names of further texts.
            recursing: whether what other entries say counts.
        """
        if depth <= 0:
            return View(0, (), 0)
        there = tuple(name for name in texts if name in self._texts)
        return View(min(depth, len(self._messages) or 1), there, len(self.recursion) if recursing else 0)

    def whole(self, view: View) -> str:
        """All of it, as one text."""
        if not view.depth:
            return ""
        parts = [
            JOINER.join(self._messages[: view.depth]),
            *(self._texts[name] for name in view.texts),
            *self._injects,
            *self.recursion[: view.recursed],
        ]
        return START + JOINER.join(parts)
