"""The memory that journals may take until they are written, and the part of it that one plugin's may."""

from __future__ import annotations

from innkeeper.sandbox.capacity import Budget

_MANY = 1000
"""Plugins after which those that have no journal under way are forgotten."""


class Share:
    """What the journals of one plugin may take. Safe from any thread."""

    __slots__ = ("_own", "_total")

    def __init__(self, total: Budget, own: Budget) -> None:
        self._total = total
        self._own = own

    @property
    def taken(self) -> int:
        """Bytes that are in use."""
        return self._own.taken

    def take_now(self, amount: int) -> bool:
        """Takes so many bytes if they are free."""
        if not self._own.take_now(amount):
            return False
        if self._total.take_now(amount):
            return True
        self._own.give(amount)
        return False

    def give(self, amount: int) -> None:
        """Gives so many bytes back."""
        self._own.give(amount)
        self._total.give(amount)


class Room:
    """What the journals of all plugins may take: one of them at most half, so that none keeps out the others'."""

    def __init__(self, limit: int) -> None:
        """Args:
        limit: bytes.
        """
        self._total = Budget("memory of journals", limit)
        self._shares: dict[str, Share] = {}

    @property
    def taken(self) -> int:
        """Bytes that are in use."""
        return self._total.taken

    def of(self, plugin: str) -> Share:
        """The share of a plugin. On trio's thread."""
        share = self._shares.get(plugin)
        if share is None:
            if len(self._shares) >= _MANY:
                self._shares = {name: each for name, each in self._shares.items() if each.taken}
            own = Budget("memory of a plugin's journals", self._total.limit // 2)
            share = self._shares[plugin] = Share(self._total, own)
        return share
