"""How documents are cut."""

from __future__ import annotations

from dataclasses import dataclass

from innkeeper.errors import UsageError
from innkeeper.knowledge.documents import bounds
from innkeeper.knowledge.tokens.named import DEFAULT


@dataclass(frozen=True, slots=True)
class Options:
    """How documents are cut, and what their entries are.

    Attributes:
        size: tokens that an entry should have: paragraphs are put together up to it.
        most: tokens that no entry goes over: what is longer is cut at sentences, rows, lines or words. A table, a list
            or a listing of a program stays whole up to it.
        overlap: tokens of the end of an entry that the next one of its section begins with.
        keywords: whether a heading becomes a keyword, where few other entries of its file have it in their text.
        context: whether the headings above an entry are inserted with it.
        semantic: whether likeness of meaning activates the entries.
        tags: of each entry.
        tokenizer: counts the tokens.
        hidden: whether files and folders are read whose names begin with a dot.
    """

    size: int = 300
    most: int = 600
    overlap: int = 0
    keywords: bool = True
    context: bool = True
    semantic: bool = True
    tags: tuple[str, ...] = ()
    tokenizer: str = DEFAULT
    hidden: bool = False

    def check(self) -> None:
        """Raises UsageError where sizes contradict each other."""
        low, high = bounds.LEAST_SIZE, bounds.MOST_SIZE
        if not low <= self.size <= high:
            raise UsageError(f"the size of an entry is {self.size} tokens; it must be {low} to {high}")
        if not self.size <= self.most <= high:
            raise UsageError(f"the most of an entry is {self.most} tokens; it must be {self.size} (its size) to {high}")
        if not 0 <= self.overlap <= self.size // 2:
            half = self.size // 2
            raise UsageError(f"the overlap is {self.overlap} tokens; it must be 0 to half of the size, {half}")
