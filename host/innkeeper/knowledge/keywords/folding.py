"""What makes two spellings the same keyword, without losing where in a text it stands."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Final

MOST_MARKS: Final = 32
"""Marks on one letter that are sorted together. Sorting takes time with the square of their number, and holds the
interpreter's lock meanwhile: a text of nothing but marks would stop the host for minutes. No language has more than
three."""

_LAST_MARK: Final = 0x1F000
"""Above every character with a combining class."""


def composed(text: str) -> str:
    """A text with its letters and their marks composed (NFC), so that both ways to write an é are one. Linear in its
    length: marks beyond `MOST_MARKS` are composed apart."""
    if text.isascii():
        return text
    if _piles().search(text) is None:
        return unicodedata.normalize("NFC", text)
    return "".join(unicodedata.normalize("NFC", piece) for piece in _pieces(text))


def _pieces(text: str) -> Iterator[str]:
    at = 0
    for pile in _piles().finditer(text):
        for cut in range(pile.start() + MOST_MARKS, pile.end(), MOST_MARKS):
            yield text[at:cut]
            at = cut
    yield text[at:]


@cache
def _piles() -> re.Pattern[str]:
    """Finds more marks in a row than are sorted together."""
    marks = "".join(re.escape(chr(code)) for code in range(0x300, _LAST_MARK) if unicodedata.combining(chr(code)))
    return re.compile(f"[{marks}]{{{MOST_MARKS + 1},}}+")


def folded(text: str) -> str:
    """A composed text without the difference of upper and lower case, in all scripts: ß is ss, ς is σ."""
    return text.casefold()


def inner_positions(text: str) -> frozenset[int]:
    """Positions of a folded text that lie inside of what was one letter.

    A match that begins or ends there would be half a letter: "s" is not a part of "ß".

    Args:
        text: composed, before it is folded.

    Returns:
        positions in `folded(text)`.
    """
    # No letter folds to nothing: equal lengths mean that each kept its own.
    if text.isascii() or len(text.casefold()) == len(text):
        return frozenset()
    found: list[int] = []
    at = 0
    for letter in text:
        length = len(letter.casefold())
        found += range(at + 1, at + length)
        at += length
    return frozenset(found)
