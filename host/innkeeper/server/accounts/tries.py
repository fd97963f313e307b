"""How often somebody may be wrong about who they are: each failure beyond a few makes the next try wait longer."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from innkeeper.server.answers import AnswerError


@dataclass(frozen=True, slots=True)
class Patience:
    """What one kind of failures costs.

    Attributes:
        free: failures that cost nothing.
        longest: seconds that a try waits at most; one after the free ones, then twice as long each time.
    """

    free: int
    longest: float


PAIR: Final = Patience(5, 300.0)
"""Of one name from one address: somebody who does not remember, or who guesses."""

ADDRESS: Final = Patience(20, 300.0)
"""Of any names and keys from one address. Several people may be behind it."""

NAME: Final = Patience(50, 10.0)
"""Of one name from anywhere: 8,640 guesses a day, and whoever has the password is never kept out for long."""

FORGOTTEN: Final = 3600.0
"""Seconds after which failures do not count any more."""

REMEMBERED: Final = 10_000
"""Names, addresses and pairs that are remembered, of each; who was not seen for longest goes first. About 3 MB."""


@dataclass(slots=True)
class _Entry:
    failures: int = 0
    last: float = -math.inf
    until: float = -math.inf


class _Book:
    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def wait(self, key: str, now: float) -> float:
        entry = self._entries.get(key)
        return 0.0 if entry is None else max(0.0, entry.until - now)

    def count(self, key: str, now: float) -> float:
        """Counts a failure; gives until when there is no further try because of it."""
        entry = self._entries.setdefault(key, _Entry())
        self._entries.move_to_end(key)
        if now - entry.last > FORGOTTEN:
            entry.failures = 0
        entry.failures, entry.last = entry.failures + 1, now
        beyond = entry.failures - self._patience.free
        if beyond > 0:
            entry.until = now + min(self._patience.longest, 2.0 ** min(beyond - 1, 60))
        if len(self._entries) > REMEMBERED:
            self._entries.popitem(last=False)
        return entry.until

    def take_back(self, key: str, until: float, *, all: bool = False) -> None:
        """Counts a failure no more, or none at all; a wait that another failure made since then stays."""
        entry = self._entries.get(key)
        if entry is None:
            return
        entry.failures = 0 if all else entry.failures - 1
        if entry.until == until:
            entry.until = -math.inf
        if entry.failures <= 0:
            del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)


class Tries:
    """Counts tries in memory, of one process.

    A try counts as a failure from its beginning, so that many at once do not have more than one after the other.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        """Args:
        now: seconds of any clock that only goes forward.
        """
        self._now = now
        self._pairs, self._addresses, self._names = _Book(PAIR), _Book(ADDRESS), _Book(NAME)

    def begin(self, address: str, name: str | None) -> Try:
        """A try begins.

        Args:
            address: where it comes from.
            name: whom it is about, bounded; None: nobody yet, as with a key.

        Raises:
            AnswerError: 429: it is too early, with Retry-After.
        """
        now, where = self._now(), network_of(address)
        books = [(self._addresses, where)]
        if name is not None:
            books += [(self._names, name), (self._pairs, f"{where} {name}")]
        wait = max(book.wait(key, now) for book, key in books)
        if wait > 0:
            raise AnswerError(
                429, "too many tries that failed: wait a little", headers={"Retry-After": str(math.ceil(wait))}
            )
        return Try([(book, key, book.count(key, now)) for book, key in books])

    def __len__(self) -> int:
        return len(self._pairs) + len(self._addresses) + len(self._names)


class Try:
    """One try. Made by `Tries.begin`."""

    def __init__(self, counted: list[tuple[_Book, str, float]]) -> None:
        self._counted = counted

    def succeeded(self) -> None:
        """It was right. Failures of the address stay: whoever has one account does not guess others' for nothing."""
        (addresses, where, waits), *others = self._counted
        addresses.take_back(where, waits)
        for book, key, until in others:
            book.take_back(key, until, all=True)

    def undone(self) -> None:
        """It was neither right nor wrong: the server was busy."""
        for book, key, until in self._counted:
            book.take_back(key, until)


def network_of(address: str) -> str:
    """What counts as one address (str): of IPv6 a network of 64 bits, all of which one machine has."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    if found.version == 6 and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)
