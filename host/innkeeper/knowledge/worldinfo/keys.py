"""What a key means: a word, a regular expression, everything, or nothing."""

from __future__ import annotations

from typing import Final, NamedTuple

from innkeeper.knowledge.regexes.interface import Regex
from innkeeper.knowledge.regexes.keys import read_key
from innkeeper.knowledge.worldinfo.index import Word
from innkeeper.knowledge.worldinfo.javascript import has_space, trim
from innkeeper.knowledge.worldinfo.settings import has_macro

START: Final = "\x01"
"""Stands before each part of what an entry looks at."""


class Key(NamedTuple):
    """A key, ready to be looked for.

    Attributes:
        written: after macros, for the trace.
        word: what it is as a word; None where it is blank.
        regex: what it is where it compiles, or None.
        across: whether no index of words has it, so that it is looked for in the whole of what an entry sees, as a
            regular expression is.
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
    return _made(trim(text), case_sensitive, whole) if text else None


def make_counted_key(text: str, *, case_sensitive: bool, whole: bool) -> Key:
    """What a key means where the keys that occur are counted, for the score in a group: there SillyTavern neither
    replaces macros nor takes spaces away, and what is empty is everywhere.

    Args:
        text: as it is written.
        case_sensitive, whole: as of `make_key`.
    """
    key = _made(text, case_sensitive, whole)
    # The words of other keys are in an index.
    return key if is_counted_alike(text) else key._replace(across=True)


def is_counted_alike(text: str) -> bool:
    """Whether both readings of a key are the same."""
    return bool(text) and trim(text) == text and not has_macro(text)


def _made(text: str, case_sensitive: bool, whole: bool) -> Key:
    if not text:
        return Key(text, None)
    word = Word(text if case_sensitive else text.lower(), case_sensitive, whole and not has_space(text))
    regex = read_key(text)
    if regex is None:
        return Key(text, word, across=START in text)
    # SillyTavern takes away the backslash of the first escaped slash, also where that one escapes the backslash.
    return Key(text, word, Regex(regex.pattern.replace("\\/", "/", 1), regex.flags))
