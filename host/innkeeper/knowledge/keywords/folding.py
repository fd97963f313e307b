"""What makes two spellings the same keyword, without losing where in a text it stands."""

from __future__ import annotations

import unicodedata


def composed(text: str) -> str:
    """A text with its letters and their marks composed (NFC), so that both ways to write an é are one."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


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
