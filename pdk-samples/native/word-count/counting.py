"""Another module of the plugin; `main` imports it with a dot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

_WORD = re.compile(r"\w+")


def count(text: str) -> int:
    """How many words a text has."""
    return sum(1 for _ in _WORD.finditer(text))


def most_frequent(text: str, dull: Collection[str], most: int) -> list[str]:
    """The words that a text has most often, but for dull ones."""
    words = (word.lower() for word in _WORD.findall(text))
    return [word for word, _ in Counter(word for word in words if word not in dull).most_common(most)]
