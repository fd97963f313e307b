"""What is counted of language models; imports nothing that speaks to databases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_TOKENS: Final = 1 << 40
"""Tokens of one request: a bound for arithmetic alone."""


class UsedUpError(Exception):
    """The day's tokens do not suffice.

    Args:
        left: how many there are.
    """

    def __init__(self, left: int) -> None:
        super().__init__(f"{left} tokens are left")
        self.left = left


@dataclass(frozen=True, slots=True)
class Reserved:
    """Tokens that were set aside.

    Attributes:
        owner, plugin: whose they are.
        day: on which.
        tokens: how many.
    """

    owner: str
    plugin: str
    day: int
    tokens: int


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What was used on one day.

    Attributes:
        tokens: with those that are set aside.
        estimated: those of them that no endpoint reported.
        requests: how often an endpoint was asked.
    """

    tokens: int = 0
    estimated: int = 0
    requests: int = 0
