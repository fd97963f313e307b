"""What chance decides: one of several, and dice."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence

from innkeeper.knowledge.macros.context import MOST_DICE

_DICE = re.compile(r"\s*(?:(?P<count>\d{0,6})[dD])?(?P<sides>\d{1,9})\s*(?:(?P<sign>[+-])\s*(?P<plus>\d{1,9}))?\s*")


def picked(options: Sequence[str], stable: str, digest: str, at: int) -> str:
    """One of several, the same each time in the same place.

    Args:
        options: at least one.
        stable: of the chat.
        digest: of the text in which it stands.
        at: its place there.
    """
    key = "\0".join((stable, digest, str(at)))
    number = int(digest_of(key)[:16], 16)
    return options[number % len(options)]


def digest_of(text: str) -> str:
    """The sha256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def rolled(formula: str, chance: random.Random) -> tuple[int, str | None]:
    """How many dice were thrown, and what they show: "6", "d6", "2d6+3"; None where it is no such formula, or too many
    dice."""
    found = _DICE.fullmatch(formula)
    if found is None:
        return 0, None
    count, sides = int(found["count"] or 1), int(found["sides"])
    if not 0 < count <= MOST_DICE or sides < 1:
        return 0, None
    total = sum(chance.randint(1, sides) for _ in range(count))
    if found["plus"]:
        total += int(found["plus"]) * (1 if found["sign"] == "+" else -1)
    return count, str(total)
