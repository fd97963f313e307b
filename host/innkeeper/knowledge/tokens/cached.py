"""Remembers counts: an entry is counted once, not once for each message."""

from __future__ import annotations

import threading
from collections import OrderedDict
from hashlib import blake2b

from innkeeper.knowledge.tokens.interface import TokenCounter

MOST_COUNTS = 65_536
"""Counts that are kept: about 10 MB, and all entries of a large base."""

_SHORT = 32
"""Characters of texts that are counted faster than they are looked up."""


class CachedCounter:
    """Another counter with a memory. It keeps digests, never texts; the count that was used longest ago goes first."""

    def __init__(self, inner: TokenCounter, most: int = MOST_COUNTS) -> None:
        self._inner = inner
        self._most = most
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Of the other counter."""
        return self._inner.name

    @property
    def kept(self) -> int:
        """How many counts are kept."""
        return len(self._counts)

    def count(self, text: str) -> int:
        """What the other counter says (int)."""
        if len(text) <= _SHORT:
            return self._inner.count(text)
        key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        with self._lock:
            known = self._counts.get(key)
            if known is not None:
                self._counts.move_to_end(key)
                return known
        # Outside of the lock: two threads may count the same text, and none waits for another's.
        found = self._inner.count(text)
        with self._lock:
            self._counts[key] = found
            while len(self._counts) > self._most:
                self._counts.popitem(last=False)
        return found
