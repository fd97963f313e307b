"""A cache in the process's own memory: bounded in bytes, entries and time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from innkeeper.server.cache.interface import Loader, Statistics
from innkeeper.server.cache.invalidations import Invalidation, Invalidations, LocalInvalidations
from innkeeper.server.cache.invalidations import key as key_of

OVERHEAD: Final = 600
"""Bytes that an entry takes beside its value and its key: its record, and its places in the tables by key and prefix,
as measured with keys of four parts."""

SHARE: Final = 4
"""One value may take so many-th a part of the cache: a larger one would drive out everything else for itself."""


@dataclass(slots=True)
class _Entry:
    value: Any
    size: int
    ends: float


@dataclass(slots=True)
class _Flight:
    """A loader at work."""

    done: trio.Event = field(default_factory=trio.Event)
    landed: bool = False
    value: Any = None
    error: Exception | None = None


class MemoryCache:
    """`Cache` in memory. Which entry was not used for the longest time goes first. For one loop of trio.

    Guarantees: it never holds more than its bounds; an error is never kept; what a loader began to read before an
    invalidation that concerns it is given to those who waited for it since before, and never kept.
    """

    def __init__(
        self,
        name: str,
        *,
        entries: int,
        size: int,
        ttl: float,
        invalidations: Invalidations | None = None,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        """Args:
        name: the first part of each key.
        entries, size: how many there are at most, and their bytes together.
        ttl: seconds for which anything is kept at the most.
        invalidations: tells it what to forget; None: its own.
        clock: gives seconds.
        """
        self.name = name
        self.statistics = Statistics()
        self._most_entries, self._most_size, self._ttl = entries, size, ttl
        self._clock = clock
        self._kept: OrderedDict[str, _Entry] = OrderedDict()
        self._under: dict[str, dict[str, None]] = {}
        self._flights: dict[str, _Flight] = {}
        self._invalidations = LocalInvalidations() if invalidations is None else invalidations
        self._invalidations.subscribe(self.forget)

    def key(self, *parts: str) -> str:
        """See `Cache`."""
        return key_of(self.name, *parts)

    async def get(self, key: str) -> Any:
        """See `Cache`."""
        found = self._found(key)
        if found is None:
            self.statistics.misses += 1
            return None
        return found.value

    async def put(self, key: str, value: Any, size: int, ttl: float | None = None) -> None:
        """See `Cache`."""
        self._keep(key, value, size, ttl)

    async def load(self, key: str, loader: Loader, ttl: float | None = None) -> Any:
        """See `Cache`."""
        found = self._found(key)
        if found is not None:
            return found.value
        self.statistics.misses += 1
        while (flight := self._flights.get(key)) is not None:
            await flight.done.wait()
            if flight.error is not None:
                raise flight.error
            if flight.landed:
                self.statistics.shared += 1
                return flight.value
            # Whoever loaded it was cancelled: the next one that waits loads it.
        return await self._loaded(key, loader, ttl)

    async def invalidate(self, one: Invalidation) -> None:
        """See `Cache`."""
        self.forget(one)
        await self._invalidations.publish(one)

    def forget(self, one: Invalidation) -> None:
        """Forgets, in this cache alone. Never raises."""
        for key in [each for each in self._flights if one.matches(each)]:
            # What it finds may be from before: it is not kept, and who asks from now on loads anew.
            del self._flights[key]
        for key in list(self._reached(one)):
            self._drop(key)
            self.statistics.invalidated += 1

    async def _loaded(self, key: str, loader: Loader, ttl: float | None) -> Any:
        flight = self._flights[key] = _Flight()
        try:
            found = await loader()
            flight.value, flight.landed = found.value, True
            if self._flights.get(key) is flight:
                self._keep(key, found.value, found.size, ttl)
            return found.value
        except Exception as error:
            flight.error = error
            raise
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
            flight.done.set()

    def _found(self, key: str) -> _Entry | None:
        entry = self._kept.get(key)
        if entry is None:
            return None
        if entry.ends <= self._clock():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        self.statistics.hits += 1
        return entry

    def _keep(self, key: str, value: Any, size: int, ttl: float | None) -> None:
        self._drop(key)
        size += OVERHEAD + len(key)
        if size > self._most_size // SHARE:
            return
        lasting = self._ttl if ttl is None else min(ttl, self._ttl)
        self._kept[key] = _Entry(value, size, self._clock() + lasting)
        for prefix in _prefixes(key):
            self._under.setdefault(prefix, {})[key] = None
        self.statistics.size += size
        self.statistics.entries += 1
        while self.statistics.entries > self._most_entries or self.statistics.size > self._most_size:
            self._drop(next(iter(self._kept)))
            self.statistics.evicted += 1

    def _drop(self, key: str) -> None:
        entry = self._kept.pop(key, None)
        if entry is None:
            return
        for prefix in _prefixes(key):
            below = self._under[prefix]
            del below[key]
            if not below:
                del self._under[prefix]
        self.statistics.size -= entry.size
        self.statistics.entries -= 1

    def _reached(self, one: Invalidation) -> Iterator[str]:
        if one.kind == "key" or one.text in self._kept:
            if one.text in self._kept:
                yield one.text
            if one.kind == "key":
                return
        above = one.above
        candidates = self._under.get(above, {}) if above else self._kept
        for key in candidates:
            if key != one.text and one.matches(key):
                yield key


def _prefixes(key: str) -> Iterator[str]:
    at = key.find("/")
    while at != -1:
        yield key[:at]
        at = key.find("/", at + 1)
