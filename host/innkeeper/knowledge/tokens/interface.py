"""What counts tokens."""

from __future__ import annotations

from typing import Protocol


class TokenCounter(Protocol):
    """Counts the tokens of texts. May be called from any thread."""

    @property
    def name(self) -> str:
        """Which tokenizer it is, such as "cl100k_base" or "estimate"."""
        ...

    def count(self, text: str) -> int:
        """How many tokens a text has; linear in its length."""
        ...
