"""Words without their endings: a search for "dragons" finds "dragon".

Which rules apply hangs on the script alone. The language of a word cannot be told, that of a short query hardly, and a
text and its query must be cut by the same rules. Latin letters get the rules of English.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Final

from innkeeper.knowledge.text.folding import without_accents
from innkeeper.knowledge.text.scripts import LATIN, script_of

if TYPE_CHECKING:
    import Stemmer

_ALGORITHMS: Final = {
    LATIN: "english",
    "greek": "greek",
    "cyrillic": "russian",
    "armenian": "armenian",
    "arabic": "arabic",
    "devanagari": "hindi",
    "tamil": "tamil",
}
_ACCENTED: Final = frozenset({LATIN, "greek", "cyrillic"})

_LOCK = threading.Lock()
"""A stemmer works in memory of its own, so that two threads may not use one at a time."""


def stem(word: str) -> str:
    """What words of one meaning share (str).

    Args:
        word: folded, without spaces.
    """
    script = LATIN if word.isascii() else script_of(word[0])
    algorithm = _ALGORITHMS.get(script)
    if algorithm is not None and word.isalpha():
        with _LOCK:
            word = _stemmer(algorithm).stemWord(word)
    # Behind the rules, which know accents: who searches often leaves them out.
    return without_accents(word) if script in _ACCENTED and not word.isascii() else word


@cache
def _stemmer(algorithm: str) -> Stemmer.Stemmer:
    import Stemmer

    # Without its own memory: terms are remembered where they are made.
    return Stemmer.Stemmer(algorithm, 0)
