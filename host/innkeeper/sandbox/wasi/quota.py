"""What one guest may add to one preopened folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from innkeeper.sandbox.wasi.errors import Errno, WasiError
from innkeeper.sandbox.wasi.tree_quota import TreeQuota


class Charge:
    """Bytes that were taken for what a block does; the block may say that it used fewer."""

    __slots__ = ("used",)

    def __init__(self, used: int) -> None:
        self.used = used


class Account:
    """The quota of one guest in one preopen. A guest makes one call at a time, so nothing here needs a lock."""

    __slots__ = ("_bytes", "_entries", "_tree")

    def __init__(self, quota: int, entries: int, tree: TreeQuota | None) -> None:
        """Args:
        quota: bytes that it may write.
        entries: names that it may make.
        tree: what the folder may hold.
        """
        self._bytes = quota
        self._entries = entries
        self._tree = tree

    @contextmanager
    def charged(self, count: int, entries: int = 0) -> Iterator[Charge]:
        """Takes bytes and new names for a block that uses them. One that fails has cost nothing. Blocks.

        Args:
            count: bytes (int, 0 or more).
            entries: names.

        Raises:
            WasiError: DQUOT, fewer are left, to the guest or in the folder; nothing is taken then.
        """
        if count > self._bytes or entries > self._entries:
            raise WasiError(Errno.DQUOT)
        tree = self._tree
        if tree is not None and (count or entries):
            tree.take(count, entries)
        charge = Charge(count)
        done = 0, 0
        try:
            yield charge
            done = charge.used, entries
        finally:
            self._bytes -= done[0]
            self._entries -= done[1]
            if tree is not None and (count or entries):
                tree.settle((count, entries), done)
