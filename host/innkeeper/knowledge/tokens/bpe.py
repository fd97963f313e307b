"""Counts the tokens of OpenAI's encodings exactly, with the tables that rs-bpe carries."""

from __future__ import annotations

import re
import threading
from typing import Any

from innkeeper.errors import UsageError

ENCODINGS = ("cl100k_base", "o200k_base")

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
        try:
            return int(tokenizer.count(text))
        except UnicodeEncodeError:
            return int(tokenizer.count(_LONE.sub("\ufffd", text)))
