"""Texts that are too long, cut where they come apart most naturally. What is cut, put together again, is the text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from innkeeper.knowledge.documents.blocks import Kind
from innkeeper.knowledge.tokens.interface import TokenCounter

Split = Callable[[str], list[str]]

# Each match goes on where the last one ended and none goes back, so that all of them are linear.
_SENTENCE = re.compile(r"[.!?…]+[\"')\]»”’]*(?=\s)\s*|[。！？；｡．]+[」』”’）】》]*\s*|\n+")
_DOTS = re.compile(r"[.!?…]{64,}")
_CLAUSE = re.compile(r"[,;:，、：—]+\s*")
_WORD = re.compile(r"\s+")
_ITEM = re.compile(r"^[ \t]{0,16}(?:[-+*]|[0-9]{1,9}[.)])[ \t]", re.MULTILINE)
_GAP = re.compile(r"\n[ \t]*\n")

MOST_PIECE = 20_000
"""Characters of a piece, however few tokens they are: to whoever counts words, a megabyte of letters is one."""

_FEW_CHARACTERS = 4
"""No tokenizer makes more than four tokens of a character: bytes in UTF-8."""


def _after(pattern: re.Pattern[str]) -> Split:
    def split(text: str) -> list[str]:
        cuts = [match.end() for match in pattern.finditer(text)]
        return _cut(text, cuts)

    return split


def _before(pattern: re.Pattern[str]) -> Split:
    return lambda text: _cut(text, [match.start() for match in pattern.finditer(text)])


def _cut(text: str, cuts: Sequence[int]) -> list[str]:
    found = []
    start = 0
    for end in [*cuts, len(text)]:
        if end > start:
            found.append(text[start:end])
            start = end
    return found


def _sentences(text: str) -> list[str]:
    if _DOTS.search(text):
        # Dots without end are no sentences, and looking for what stands behind each would take the square of them.
        return [text]
    return _after(_SENTENCE)(text)


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


_WAYS: dict[Kind, tuple[Split, ...]] = {
    "heading": (_after(_CLAUSE), _after(_WORD)),
    "paragraph": (_sentences, _after(_CLAUSE), _after(_WORD)),
    "quote": (_sentences, _lines, _after(_CLAUSE), _after(_WORD)),
    "list": (_before(_ITEM), _lines, _sentences, _after(_CLAUSE), _after(_WORD)),
    "table": (_lines, _after(re.compile(r"\|")), _sentences, _after(_WORD)),
    "code": (_after(_GAP), _lines, _after(_WORD)),
}


def pieces(text: str, kind: Kind, most: int, counter: TokenCounter) -> list[tuple[str, int]]:
    """A text in pieces that no more than `most` tokens have, each with its tokens; "".join of them is the text.

    Each way of cutting is tried on what the one before it left too long: linear in the text.

    Args:
        text: of any length.
        kind: of which block it is: a list comes apart at its items, a listing at its empty lines.
        most: at least 1.
        counter: counts the tokens.
    """
    return _pieces(text, _WAYS[kind], most, counter)


def _pieces(text: str, ways: Sequence[Split], most: int, counter: TokenCounter) -> list[tuple[str, int]]:
    if len(text) <= MOST_PIECE and (tokens := counter.count(text)) <= most:
        return [(text, tokens)]
    if not ways:
        return [(piece, counter.count(piece)) for piece in _characters(text, max(1, most // _FEW_CHARACTERS))]
    found = []
    for piece in ways[0](text):
        found += _pieces(piece, ways[1:], most, counter)
    return found


def _characters(text: str, most: int) -> list[str]:
    found = []
    start = 0
    while start < len(text):
        end = min(len(text), start + most)
        # Marks stay with their letter, as far as that is near.
        back = end
        while back > start + 1 and back < len(text) and end - back < 16 and _clings(text[back]):
            back -= 1
        end = back if back < len(text) and not _clings(text[back]) else end
        found.append(text[start:end])
        start = end
    return found


def _clings(character: str) -> bool:
    return unicodedata.combining(character) > 0 or character in "\u200d\ufe0f\ufe0e"


def grouped(found: Sequence[tuple[str, int]], size: int, counter: TokenCounter) -> list[str]:
    """Pieces put together again, each group up to `size` tokens and twice `MOST_PIECE`, or a single piece."""
    groups: list[str] = []
    current: list[str] = []
    total = length = 0
    for piece, tokens in found:
        if current and (total + tokens > size or length + len(piece) > 2 * MOST_PIECE):
            groups += _fitting(current, size, counter)
            current, total, length = [], 0, 0
        current.append(piece)
        total += tokens
        length += len(piece)
    return groups + _fitting(current, size, counter)


def _fitting(group: list[str], size: int, counter: TokenCounter) -> list[str]:
    """A group as one text. Where tokens of the whole are more than those of its parts, since words of one came to stand
    at another, as several."""
    text = "".join(group)
    if len(group) <= 1 or counter.count(text) <= size:
        return [text] if text else []
    middle = len(group) // 2
    return _fitting(group[:middle], size, counter) + _fitting(group[middle:], size, counter)
