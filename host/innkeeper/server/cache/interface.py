"""What a cache is to those who use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from innkeeper.server.cache.invalidations import Invalidation


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a loader found.

    Attributes:
        value: shared by all who ask, so nobody may change it.
        size: about how many bytes it takes.
    """

    value: Any
    size: int


Loader = Callable[[], Awaitable[Loaded]]
"""Finds what is not kept. What it raises is raised by `Cache.load`, and never kept. It must not load its own key."""


@dataclass(slots=True)
class Statistics:
    """What a cache has done since it was made, and what it holds.

    Attributes:
        hits: how often something was there.
        misses: how often it was not.
        shared: how many of those that missed waited for the loader of somebody else instead of loading it, too.
        evicted: entries that went for want of room.
        invalidated: entries that were forgotten because somebody said so.
        entries, size: what it holds; the size in bytes.
    """

    hits: int = 0
    misses: int = 0
    shared: int = 0
    evicted: int = 0
    invalidated: int = 0
    entries: int = 0
    size: int = 0

    @property
    def hit_ratio(self) -> float:
        """Hits by look-ups, 0 to 1; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


class Cache(Protocol):
    """Keeps values for a time, within bounds. Every method may find that something was forgotten meanwhile: a cache
    makes things fast and never true."""

    statistics: Statistics

    def key(self, *parts: str) -> str:
        """The key (str) of an entry of this cache: its name stands before the parts."""
        ...

    async def get(self, key: str) -> Any:
        """What is kept under a key, or None."""
        ...

    async def put(self, key: str, value: Any, size: int, ttl: float | None = None) -> None:
        """Keeps a value.

        Args:
            key: made by `key`.
            value: not None; shared by all who ask, so nobody may change it.
            size: about how many bytes it takes; one that is too large is not kept.
            ttl: seconds for which it is kept at the most; None: as long as this cache keeps anything.
        """
        ...

    async def load(self, key: str, loader: Loader, ttl: float | None = None) -> Any:
        """What is kept under a key; if nothing is, what a loader finds. However many ask at a time, one loader works.

        Raises:
            whatever the loader raises, for all who waited for it.
        """
        ...

    async def invalidate(self, one: Invalidation) -> None:
        """Forgets, here and everywhere. After it nothing is found, or kept, that was read before."""
        ...
