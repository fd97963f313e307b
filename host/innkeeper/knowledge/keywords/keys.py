"""What an author may write as a key: a word, or a regular expression as `/pattern/flags`."""

from __future__ import annotations

import re
from typing import NamedTuple

from innkeeper.knowledge.keywords.boundaries import Mode
from innkeeper.knowledge.keywords.folding import composed, folded
from innkeeper.knowledge.regexes.interface import Regex

# A slash between the slashes must be escaped, as in JavaScript: a path such as /home/user/x is a word.
_REGEX = re.compile(r"/((?:[^/\\]|\\.)+)/([dgimsuvy]*)", re.DOTALL)

MACRO = "{{"
"""What a key has whose text hangs on the conversation, such as {{char}}."""


class Pattern(NamedTuple):
    """A word that texts are searched for.

    Attributes:
        text: composed; folded unless `sensitive`; never empty.
        sensitive: whether upper and lower case differ.
        mode: where it counts.
    """

    text: str
    sensitive: bool
    mode: Mode


def regex_of(key: str) -> Regex | None:
    """The regular expression that a key is, or None for a word. Whether it compiles is not looked at."""
    found = _REGEX.fullmatch(key)
    return Regex(found[1], found[2]) if found and len(set(found[2])) == len(found[2]) else None


def pattern_of(word: str, *, sensitive: bool, mode: Mode) -> Pattern | None:
    """What texts are searched for, or None for a blank word, which is never found."""
    text = composed(word.strip())
    return Pattern(text if sensitive else folded(text), sensitive, mode) if text else None
