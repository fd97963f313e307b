"""The caches of a server, by name."""

from __future__ import annotations

from collections.abc import Mapping

from innkeeper.server.cache.interface import Statistics
from innkeeper.server.cache.invalidations import Invalidation, Invalidations, LocalInvalidations
from innkeeper.server.cache.memory import MemoryCache


class Caches:
    """Makes caches, tells them what to forget, and counts what they do. Entries of two caches never meet: a cache's
    name stands before its keys."""

    def __init__(self, invalidations: Invalidations | None = None) -> None:
        """Args:
        invalidations: carries what is to be forgotten; None: within this process.
        """
        self.invalidations = LocalInvalidations() if invalidations is None else invalidations
        self._caches: dict[str, MemoryCache] = {}

    def named(self, name: str, *, entries: int, size: int, ttl: float) -> MemoryCache:
        """Makes a cache.

        Args:
            name: of no other one; shows in metrics.
            entries, size, ttl: its bounds, as of `MemoryCache`.

        Raises:
            ValueError: there is one of this name.
        """
        if name in self._caches:
            raise ValueError(f"there is a cache {name!r} already")
        made = self._caches[name] = MemoryCache(
            name, entries=entries, size=size, ttl=ttl, invalidations=self.invalidations
        )
        return made

    async def invalidate(self, one: Invalidation) -> None:
        """Makes every cache forget, of this process and of all others that share the data."""
        for cache in self._caches.values():
            cache.forget(one)
        await self.invalidations.publish(one)

    def statistics(self) -> Mapping[str, Statistics]:
        """What each cache has done, by name, for metrics; read only."""
        return {name: cache.statistics for name, cache in self._caches.items()}
