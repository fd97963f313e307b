"""The form in which texts are compared, made in time that is linear in their length.

Normal forms are made of pieces: sorting a long run of combining marks takes time with the square of its length, and
holds the interpreter's lock meanwhile.
"""

from __future__ import annotations

import unicodedata

_PIECE = 256
_MARKS = 32
_MOST_FOLDED = 4
"""How much longer a text may become by its normal form before the rest is left out: U+FDFA alone becomes 18."""


def folded(text: str) -> str:
    """A text in the form in which texts are compared (str): NFKC, without differences of case."""
    if text.isascii():
        return text.lower()
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


def without_accents(word: str) -> str:
    """A word without the accents of Latin, Greek and Cyrillic letters (str).

    Marks of other scripts are letters of their own right. So are those of Vietnamese, where another tone is another
    word: letters that no other language has show that a word is one of its.

    Args:
        word: folded, at most a few hundred characters.
    """
    if any("\u1ea0" <= each <= "\u1ef9" or each in "\u01a1\u01b0\u0111" for each in word):
        return word
    bare = [each for each in unicodedata.normalize("NFD", word) if not "\u0300" <= each <= "\u036f"]
    return unicodedata.normalize("NFC", "".join(bare))
