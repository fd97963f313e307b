"""What a key means: a word, a regular expression, everything, or nothing."""

from __future__ import annotations

from typing import Final, NamedTuple

from innkeeper.knowledge.regexes.interface import Regex
from innkeeper.knowledge.regexes.keys import read_key
from innkeeper.knowledge.worldinfo.index import Word
from innkeeper.knowledge.worldinfo.javascript import has_space, trim

START: Final = "\x01"
"""Stands before each part of what an entry looks at."""


class Key(NamedTuple):
    """A key, ready to be looked for.

    Attributes:
        written: after macros, for the trace.
        word: what it is as a word; None where it is blank.
        regex: what it is where it compiles, or None.
        across: whether it may reach over the end of a message, so that it is looked for in the whole of what an entry
            sees, as a regular expression is.
    """

    written: str
    word: Word | None
    regex: Regex | None = None
    across: bool = False


def make_key(text: str, *, case_sensitive: bool, whole: bool) -> Key | None:
    """What a key means.

    Args:
        text: after macros.
        case_sensitive, whole: of its entry; neither counts for a regular expression.

    Returns:
        None where it is empty: it never matches then, while one of spaces alone matches everything.
    """
    if not text:
        return None
    text = trim(text)
    if not text:
        return Key(text, None)
    word = Word(text if case_sensitive else text.lower(), case_sensitive, whole and not has_space(text))
    regex = read_key(text)
    return Key(text, word, regex, regex is None and START in text)
