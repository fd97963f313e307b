"""What is said of keys and values by whoever keeps them and whoever asks: light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_VALUE: Final = 1 << 20
"""Bytes of a value: a write holds the only writer, and what is queued is held in memory."""

MOST_LISTED: Final = 1000
"""Keys that one `list` gives."""

MOST_TTL: Final = 10 * 366 * 86400.0
"""Seconds that an entry may be given to live."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept under a key.

    Attributes:
        value: bytes.
        version: above 0; never given twice to one plugin and owner, even if the entry was deleted meanwhile.
        expires: seconds since 1970 from which on it is gone, or None.
    """

    value: bytes
    version: int
    expires: float | None


@dataclass(frozen=True, slots=True)
class Quota:
    """What a plugin may keep for one owner, in all scopes together.

    Attributes:
        entries: how many.
        bytes: of their scopes, keys and values.
    """

    entries: int
    bytes: int


class ConflictError(Exception):
    """The entry has another version than was expected. `current` (int) is the one that it has, 0 if there is none."""

    def __init__(self, current: int) -> None:
        has = f"has version {current}" if current else "does not exist"
        super().__init__(f"the entry {has}: read it again, then write with the version that it has")
        self.current = current


class OverQuotaError(Exception):
    """A quota would be exceeded; nothing was written.

    Attributes:
        quota: which (str): "entries" or "bytes".
        value: the quota (int).
        used: what would be used with the new entry (int).
    """

    def __init__(self, quota: str, value: int, used: int) -> None:
        super().__init__(f"the quota of {value} {quota} would be exceeded ({used}): delete entries, or ask for more")
        self.quota = quota
        self.value = value
        self.used = used
