"""What chance decides: one of several, and dice."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence

from innkeeper.knowledge.macros.context import MOST_DICE

_DICE = re.compile(r"\s*(?:(?P<count>\d{0,6})[dD])?(?P<sides>\d{1,9})\s*(?:(?P<sign>[+-])\s*(?P<plus>\d{1,9}))?\s*")


def picked(options: Sequence[str], stable: str, text: str, at: int) -> str:
    """One of several, the same each time in the same place.

    Args:
        options: at least one.
        stable: of the chat.
        text: in which it stands.
        at: its place there.
    """
    key = "\0".join((stable, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), str(at)))
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return options[int.from_bytes(digest[:8]) % len(options)]


def rolled(formula: str, chance: random.Random) -> str | None:
    """What dice show: "6", "d6", "2d6+3"; None where it is no such formula, or too many dice."""
    found = _DICE.fullmatch(formula)
    if found is None:
        return None
    count, sides = int(found["count"] or 1), int(found["sides"])
    if not 0 < count <= MOST_DICE or sides < 1:
        return None
    total = sum(chance.randint(1, sides) for _ in range(count))
    if found["plus"]:
        total += int(found["plus"]) * (1 if found["sign"] == "+" else -1)
    return str(total)
