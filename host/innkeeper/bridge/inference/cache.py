"""What was answered before, in memory, bounded in bytes: what was not used for the longest time goes first."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_OVERHEAD: Final = 300
"""Bytes of an entry besides its value."""


class Cache(Generic[T]):
    """Values by key, for a time."""

    def __init__(self, most: int, seconds: float = float("inf"), now: Callable[[], float] = time.monotonic) -> None:
        """Args:
        most: bytes of all values; 0: nothing is kept.
        seconds: for which a value is kept.
        now: seconds of a monotonic clock.
        """
        self._most = most
        self._seconds = seconds
        self._now = now
        self._held = 0
        self._entries: OrderedDict[bytes, tuple[T, int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> T | None:
        """The value of a key, or None."""
        found = self._entries.get(key)
        if found is None:
            return None
        if self._now() >= found[2]:
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: bytes, value: T, size: int) -> None:
        """Keeps a value of so many bytes, unless it is larger than all may be."""
        self.drop(key)
        size += _OVERHEAD
        if size > self._most or self._seconds <= 0:
            return
        self._entries[key] = value, size, self._now() + self._seconds
        self._held += size
        while self._held > self._most:
            _, (_, gone, _) = self._entries.popitem(last=False)
            self._held -= gone

    def drop(self, key: bytes) -> None:
        """Forgets a value, if there is one."""
        found = self._entries.pop(key, None)
        if found is not None:
            self._held -= found[1]


def key_of(names: Iterable[str], content: bytes) -> bytes:
    """A key (bytes) of names, in their order, and a content; others have another key."""
    digest = hashlib.sha256()
    for name in names:
        data = name.encode()
        digest.update(b"%d:" % len(data) + data)
    digest.update(content)
    return digest.digest()
