"""What one guest may add to one preopened folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from innkeeper.sandbox.wasi.errors import Errno, WasiError

MAX_CREATED = 1_000
"""Files and folders that one guest may create in one preopen: names cost space that no quota of bytes sees."""


class Account:
    """The quota of one guest in one preopen. A guest makes one call at a time, so nothing here needs a lock."""

    __slots__ = ("_bytes", "_entries")

    def __init__(self, quota: int) -> None:
        self._bytes = quota
        self._entries = MAX_CREATED

    def charge(self, count: int) -> None:
        """Takes `count` bytes (int, 0 or more). Raises WasiError DQUOT if fewer are left, and takes none then."""
        if count > self._bytes:
            raise WasiError(Errno.DQUOT)
        self._bytes -= count

    def refund(self, count: int) -> None:
        """Gives back what was charged for bytes that were not written."""
        self._bytes += count

    @contextmanager
    def charged(self, count: int) -> Iterator[None]:
        """Charges `count` bytes for a block, and gives them back if the block fails."""
        self.charge(count)
        try:
            yield
        except BaseException:
            self.refund(count)
            raise

    @contextmanager
    def new_entry(self) -> Iterator[None]:
        """Takes one new name for a block that makes it; one that fails has cost nothing.

        Raises:
            WasiError: DQUOT, none is left.
        """
        if not self._entries:
            raise WasiError(Errno.DQUOT)
        yield
        self._entries -= 1
