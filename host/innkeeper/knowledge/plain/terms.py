"""The terms under which a text is found: words in normal form, and pairs of characters where words have no spaces.

The work is linear in the text's length, whatever it is: normal forms are made of pieces, since sorting a long run of
combining marks takes time with the square of its length, and holds the interpreter's lock meanwhile.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

MOST_TERMS: Final = 4096
"""Different terms of one entry; words beyond are not found."""

MOST_TERM: Final = 64
"""Characters of a term; of a longer word the first ones count."""

_PIECE = 256
_MARKS = 32
_MOST_FOLDED = 4
"""How much longer a text may become by its normal form before the rest is left out: U+FDFA alone becomes 18."""

_UNSPACED: Final = (
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
_STARTS = [first for first, _ in _UNSPACED]


def folded(text: str) -> str:
    """A text in the form in which texts are compared (str): NFKC, without differences of case."""
    pieces: list[str] = []
    room = _MOST_FOLDED * len(text) + _PIECE
    at = 0
    while at < len(text) and room > 0:
        end = at + _PIECE
        # Not between a letter and its marks, unless somebody piles them up.
        while end < min(len(text), at + _PIECE + _MARKS) and unicodedata.combining(text[end]):
            end += 1
        piece = unicodedata.normalize("NFKC", text[at:end]).casefold()
        pieces.append(unicodedata.normalize("NFKC", piece))
        room -= len(pieces[-1])
        at = end
    return "".join(pieces)


def index_terms(text: str) -> Iterator[str]:
    """The terms under which a text is found, in its order; may have some twice."""
    for kind, run in _runs(text):
        if kind == _WORD:
            yield run[:MOST_TERM]
        else:
            # Single ones too, so that a query of one character finds something.
            for at in range(len(run)):
                yield run[at]
                if at + 1 < len(run):
                    yield run[at : at + 2]


def query_terms(text: str, most: int) -> list[str]:
    """The terms that a query looks for (list of str), each once, the first `most`."""
    return _first(_query_terms(text), most)


def _query_terms(text: str) -> Iterator[str]:
    for kind, run in _runs(text):
        if kind == _WORD:
            yield run[:MOST_TERM]
        elif len(run) == 1:
            yield run
        else:
            yield from (run[at : at + 2] for at in range(len(run) - 1))


def terms_of_fields(fields: Iterable[str]) -> dict[str, int]:
    """Each term of some texts with the number of the first text that has it, `MOST_TERMS` at most."""
    found: dict[str, int] = {}
    for number, text in enumerate(fields):
        for term in index_terms(text):
            if term not in found:
                if len(found) >= MOST_TERMS:
                    return found
                found[term] = number
    return found


def _first(terms: Iterable[str], most: int) -> list[str]:
    found: dict[str, None] = {}
    for term in terms:
        found[term] = None
        if len(found) >= most:
            break
    return list(found)


_OTHER, _WORD, _PAIRS = 0, 1, 2


def _runs(text: str) -> Iterator[tuple[int, str]]:
    for kind, characters in groupby(folded(text), _kind):
        if kind != _OTHER:
            yield kind, "".join(characters)


def _kind(character: str) -> int:
    code = ord(character)
    if code >= _STARTS[0]:
        place = bisect_right(_STARTS, code) - 1
        if code <= _UNSPACED[place][1]:
            return _PAIRS if _counts(character) else _OTHER
    return _WORD if _counts(character) else _OTHER


def _counts(character: str) -> bool:
    # Marks are parts of words: vowels of Hindi and Thai are such.
    return character.isalnum() or unicodedata.category(character)[0] == "M"
