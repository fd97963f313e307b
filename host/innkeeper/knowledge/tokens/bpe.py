"""Counts the tokens of OpenAI's encodings exactly, with the tables that rs-bpe carries."""

from __future__ import annotations

import re
import threading
from typing import Any

from innkeeper.errors import UsageError

ENCODINGS = ("cl100k_base", "o200k_base")

STRETCH = 1 << 15
"""Characters from which on a text is counted in several stretches."""

# Both encodings part a text behind a letter that none of these goes on: the sum over the stretches is the count of the
# whole. An apostrophe or a mark would go on.
_PLACE = re.compile(r"[^\W\d_](?=[\s!-&(-/:-@\[-^`{-~、。，！？：；（）「」])")

_LONE = re.compile("[\ud800-\udfff]")


class Encoding:
    """One of `ENCODINGS`. Its tables are built when it counts the first text, once in a process."""

    def __init__(self, name: str) -> None:
        """Args:
        name: of the encoding.

        Raises:
            UsageError: rs-bpe is not installed.
        """
        try:
            from rs_bpe.bpe import openai
        except ImportError:
            raise UsageError(
                f"the tokenizer {name!r} needs the extra 'tokens': python -m pip install 'innkeeper[tokens]'; "
                "without it use 'estimate'"
            ) from None
        self._name = name
        self._make = getattr(openai, name)
        self._lock = threading.Lock()
        self._tokenizer: Any = None

    @property
    def name(self) -> str:
        """Of the encoding."""
        return self._name

    def count(self, text: str) -> int:
        """How many tokens a text has (int); names of special tokens in it are text like any other.

        Lone surrogates, which no encoding has, count as U+FFFD.
        """
        with self._lock:
            tokenizer = self._tokenizer = self._tokenizer or self._make()
        total = start = 0
        while start < len(text):
            end = _end_of_stretch(text, start)
            try:
                total += tokenizer.count(text[start:end])
            except UnicodeEncodeError:
                total += tokenizer.count(_LONE.sub("\ufffd", text[start:end]))
            start = end
        return total


def _end_of_stretch(text: str, start: int) -> int:
    # Counting holds the interpreter, other threads included, so a long text is counted in stretches. Where there is no
    # such place, as in a megabyte of one letter, the rest is one; each search goes on where the last one ended.
    place = _PLACE.search(text, start + STRETCH)
    return place.end() if place else len(text)
