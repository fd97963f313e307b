"""Which characters make words, and which write words without spaces between them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Final

UNSPACED: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7AF),  # Hangul: words have spaces, but endings that a search does not mean
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
"""First and last characters of scripts of which pairs of characters are terms."""

_WHOLE = 0x3400
"""From here on every character of `UNSPACED` is part of a word; below there are signs and digits among them."""

LATIN: Final = "latin"
CJK: Final = "cjk"
OTHER: Final = "other"

_SCRIPTS: Final = (
    ("greek", 0x0370, 0x03FF),
    ("cyrillic", 0x0400, 0x052F),
    ("armenian", 0x0530, 0x058F),
    ("hebrew", 0x0590, 0x05FF),
    ("arabic", 0x0600, 0x06FF),
    ("devanagari", 0x0900, 0x097F),
    ("tamil", 0x0B80, 0x0BFF),
    ("thai", 0x0E00, 0x0E7F),
    ("lao", 0x0E80, 0x0EFF),
    ("burmese", 0x1000, 0x109F),
    ("khmer", 0x1780, 0x17FF),
    (CJK, 0x3005, 0x30FF),
    (CJK, 0x31F0, 0x31FF),
    (CJK, 0x3400, 0x4DBF),
    (CJK, 0x4E00, 0x9FFF),
    ("hangul", 0xAC00, 0xD7AF),
    (CJK, 0xF900, 0xFAFF),
    (CJK, 0x20000, 0x3FFFF),
)
_LATIN_END = 0x0250
_LOOKED_AT = 512


@lru_cache(4096)
def script_of(character: str) -> str:
    """The script of a letter (str): `LATIN`, `CJK` (Han and kana), "hangul", "cyrillic" and so on, or `OTHER`."""
    code = ord(character)
    if code < _LATIN_END or 0x1E00 <= code <= 0x1EFF:
        return LATIN
    for name, first, last in _SCRIPTS:
        if first <= code <= last:
            return name
    return OTHER


def main_script(text: str) -> str:
    """The script in which most of a text is written (str), as its first 512 characters have it; `LATIN` of none.

    A character of a script that writes a word in one or two of them counts threefold: in "龙 dragon" both are a word.
    """
    counts: dict[str, int] = {}
    for each in text[:_LOOKED_AT]:
        if each.isalpha():
            script = script_of(each)
            counts[script] = counts.get(script, 0) + (3 if script in (CJK, "hangul") else 1)
    return max(counts, key=lambda name: counts[name]) if counts else LATIN


def runs(text: str) -> Iterator[tuple[bool, str]]:
    """The words of a text.

    Args:
        text: folded.

    Yields:
        whether it is a stretch of a script without spaces, and a word or such a stretch, in their order.
    """
    if text.isascii():
        for word in _ascii_words().findall(text):
            yield False, word
        return
    stretches, words, unspaced = _patterns()
    for at, part in enumerate(stretches.split(text)):
        if at % 2:
            for run in unspaced.findall(part):
                yield True, run
        elif part:
            for word in words.findall(part.replace("_", " ")):
                yield False, word


@cache
def _ascii_words() -> re.Pattern[str]:
    return re.compile(r"[a-z0-9]+")


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """What is without spaces, what is a word elsewhere, what is one there. Takes some 20 ms, once."""
    ranges = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED)
    # Marks are parts of words: vowels of Hindi and Thai are such.
    marks = "".join(re.escape(chr(code)) for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M")
    letters = "".join(
        chr(code)
        for first, last in UNSPACED
        if last < _WHOLE
        for code in range(first, last + 1)
        if chr(code).isalnum() or unicodedata.category(chr(code))[0] == "M"
    )
    whole = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED if first >= _WHOLE)
    return re.compile(f"([{ranges}]+)"), re.compile(f"[\\w{marks}]+"), re.compile(f"[{letters}{whole}]+")
