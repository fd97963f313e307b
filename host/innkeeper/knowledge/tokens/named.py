"""Finds a counter by its name."""

from __future__ import annotations

import difflib
from functools import cache

from innkeeper.errors import UsageError
from innkeeper.knowledge.tokens.bpe import ENCODINGS, Encoding
from innkeeper.knowledge.tokens.cached import CachedCounter
from innkeeper.knowledge.tokens.estimate import Estimate
from innkeeper.knowledge.tokens.interface import TokenCounter
from innkeeper.knowledge.tokens.words import Words

DEFAULT = "estimate"

NAMES = (DEFAULT, *ENCODINGS, "words")
"""Every name that `counter` takes."""


def counter(name: str = DEFAULT) -> TokenCounter:
    """The counter of a name: the same one each time, so that its memory serves everybody.

    Args:
        name: one of `NAMES`.

    Raises:
        UsageError: there is none of this name, or its extra is not installed.
    """
    if name not in NAMES:
        close = difflib.get_close_matches(name[:40], NAMES, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"there is no tokenizer {name[:40]!r}; there are {', '.join(NAMES)}{meant}")
    return _made(name)


@cache
def _made(name: str) -> TokenCounter:
    if name in ENCODINGS:
        return CachedCounter(Encoding(name))
    return CachedCounter(Estimate() if name == DEFAULT else Words())
