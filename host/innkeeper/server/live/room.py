"""How much of what is not sent yet a server keeps in memory."""

from __future__ import annotations

from typing import Final

OUTBOX: Final = 64 * 1024
"""Bytes that wait for one watcher. Beyond, it goes on from the database at its own pace, and loses nothing by it: this
only saves reading what a watcher that keeps up would read again."""

ALL: Final = 256 << 20
"""Bytes that wait for all watchers beyond what each may have. Messages that several wait for count for each."""


class Room:
    """Bytes that wait for all watchers together.

    Attributes:
        used: how many they are.
    """

    def __init__(self, most: int = ALL) -> None:
        """Args:
        most: how many they may be.
        """
        self._most = most
        self.used = 0

    def take(self, size: int, *, anyhow: bool = False) -> bool:
        """Some bytes more wait, if there is room.

        Args:
            size: how many.
            anyhow: whether they are counted also where there is none.
        """
        if not anyhow and self.used + size > self._most:
            return False
        self.used += size
        return True

    def give(self, size: int) -> None:
        """Some bytes less wait."""
        self.used -= size
