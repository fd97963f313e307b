"""What a server's clients ask for, drawn once and for all: the same accesses from the same seed, in every run."""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from innkeeper.server.cache.invalidations import ANY, Invalidation, key, pattern

SEED: Final = 20_240_607
USERS: Final = 2_000
CHATS: Final = 5
"""Chats of a user; with settings, identity and list of characters that makes 16,000 keys."""

NAME: Final = "mix"
"""Of the cache, so the first part of each key."""


@dataclass(frozen=True, slots=True)
class Step:
    """An access.

    Attributes:
        kind: a read, or a change, after which something must be forgotten.
        key: what is read; "" for a change.
        said: what is forgotten; None for a read.
    """

    kind: Literal["read", "change"]
    key: str = ""
    said: Invalidation | None = None


def steps(count: int) -> Iterator[Step]:
    """Accesses of requests, one after the other.

    Each request is of one user, drawn by Zipf's law with exponent 1 (the n-th of 2,000 asks a n-th as often as the
    first), reads who that is and what they set, and then one chat of theirs (the n-th of five a n-th as often), or
    their characters. Of a hundred requests four change what they read last; of a thousand two end everything of a
    user, and of ten thousand two the characters of everybody, as an administrator may.

    Args:
        count: how many there are.
    """
    return itertools.islice(_requests(), count)


def _requests() -> Iterator[Step]:
    drawn = random.Random(SEED)  # noqa: S311  # The same for everybody is the point.
    users, chats = _zipf(USERS), _zipf(CHATS)
    while True:
        user = f"user-{_draw(drawn, users)}"
        last = ("characters",) if drawn.random() < 0.2 else ("chat", str(_draw(drawn, chats)))
        for parts in (("identity",), ("settings",), last):
            yield Step("read", key(NAME, user, *parts))
        chance = drawn.random()
        if chance < 0.04:
            yield Step("change", said=Invalidation("key", key(NAME, user, *last)))
        elif chance < 0.042:
            yield Step("change", said=Invalidation("prefix", key(NAME, user)))
        elif chance < 0.0422:
            yield Step("change", said=Invalidation("pattern", pattern(NAME, ANY, "characters")))


def every_key() -> list[str]:
    """All keys that can be read."""
    rest = [("identity",), ("settings",), ("characters",), *(("chat", str(chat)) for chat in range(CHATS))]
    return [key(NAME, f"user-{user}", *parts) for user in range(USERS) for parts in rest]


def _zipf(count: int) -> list[float]:
    return list(itertools.accumulate(1 / rank for rank in range(1, count + 1)))


def _draw(drawn: random.Random, law: list[float]) -> int:
    return bisect.bisect_left(law, drawn.random() * law[-1])
