"""Where a keyword may begin and end.

A boundary is missing only where two characters of words stand side by side in a script that sets its words apart. Han,
kana, Hangul (whose particles follow a word at once), Thai, Lao, Khmer, Burmese and Tibetan need none.
"""

from __future__ import annotations

import unicodedata
from enum import Enum
from functools import lru_cache


class Mode(Enum):
    """Where a keyword counts."""

    SUBSTRING = "substring"
    """Anywhere, in other words, too."""
    ASCII = "ascii"
    """Not beside a letter A to Z, a digit or "_" where it begins or ends with one itself."""
    UNICODE = "unicode"
    """Not beside a letter, mark or digit of a script with spaces where it begins or ends with one itself."""

    # Patterns are looked up by the thousand, and Enum's own runs in Python.
    __hash__ = object.__hash__


_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x109F),  # Tibetan, Burmese
    (0x1100, 0x11FF),  # Hangul Jamo
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer symbols
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x2E80, 0x303F),  # CJK radicals, symbols and punctuation
    (0x3040, 0x4DBF),  # kana, Bopomofo, Hangul compatibility Jamo, Han extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA000, 0xA4CF),  # Yi
    (0xA960, 0xA97F),  # Hangul Jamo extended A
    (0xA9E0, 0xA9FF),  # Burmese extended B
    (0xAA60, 0xAADF),  # Burmese extended A, Tai Viet
    (0xAC00, 0xD7FF),  # Hangul
    (0xF900, 0xFAFF),  # Han, compatibility
    (0xFF66, 0xFFDC),  # halfwidth kana and Hangul
    (0x1AFF0, 0x1B2FF),  # kana extended, Nushu
    (0x20000, 0x3FFFF),  # Han, all further extensions
)


@lru_cache(maxsize=65_536)
def _joins_unicode(letter: str) -> bool:
    code = ord(letter)
    if any(first <= code <= last for first, last in _UNSPACED):
        return False
    return letter == "_" or letter.isalnum() or unicodedata.category(letter).startswith("M")


def joins(letter: str, mode: Mode) -> bool:
    """Whether a character makes a word together with its neighbours.

    Args:
        letter: one character, or "" at the end of a text.
        mode: ASCII or UNICODE.
    """
    if not letter:
        return False
    if letter.isascii():
        return letter.isalnum() or letter == "_"
    return mode is Mode.UNICODE and _joins_unicode(letter)


def stands_alone(text: str, start: int, end: int, mode: Mode) -> bool:
    """Whether what lies between two positions of a text is no part of a longer word.

    Args:
        text: any text.
        start, end: of the match, which is not empty.
        mode: what a word is.
    """
    if mode is Mode.SUBSTRING:
        return True
    if start and joins(text[start], mode) and joins(text[start - 1], mode):
        return False
    return not (end < len(text) and joins(text[end - 1], mode) and joins(text[end], mode))
