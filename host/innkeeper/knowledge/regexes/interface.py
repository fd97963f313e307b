"""What activation needs of regular expressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Regex:
    """A regular expression, as ECMAScript writes it.

    Attributes:
        pattern: between the slashes.
        flags: after them.
    """

    pattern: str
    flags: str = ""


class Verdict(Enum):
    """What came of a test."""

    MATCH = "match"
    NO_MATCH = "no match"
    INVALID = "invalid"
    """It does not compile."""
    TIMEOUT = "timeout"
    """It took longer than its limit, or the memory that it may have."""


class RegexEngine(Protocol):
    """Tests regular expressions with JavaScript's semantics, within a limit of time and memory for each."""

    async def test(self, regexes: Sequence[Regex], text: str) -> list[Verdict]:
        """What `new RegExp(pattern, flags).test(text)` says, for each, in their order."""
        ...
