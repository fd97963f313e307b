"""Counts words between white space: what cases of world info are written in."""

from __future__ import annotations

import re

# White space as ECMAScript has it: Python's differs in U+FEFF, U+0085 and the separators from U+001C on.
_WORDS = re.compile("[^\t-\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]+")


class Words:
    """One token for each word."""

    @property
    def name(self) -> str:
        """ "words"."""
        return "words"

    def count(self, text: str) -> int:
        """How many words a text has (int)."""
        # One after the other: a search for all of them would hold the interpreter, other threads included.
        return sum(1 for _ in _WORDS.finditer(text))
