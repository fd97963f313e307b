"""Descriptors of the host that cannot be used after they were closed, whatever runs in a thread meanwhile."""

from __future__ import annotations

import os
import resource
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from innkeeper.sandbox.wasi.errors import Errno, WasiError


class DescriptorBudget:
    """How many host descriptors all guests of this process may hold, since the process itself needs some too."""

    def __init__(self, limit: int) -> None:
        # One entry for each that is free. Not a number under a lock: a garbage collection may close a forgotten
        # file in the middle of `take`, in the same thread.
        self._free = deque([None] * limit)

    def take(self) -> None:
        """Raises WasiError NFILE if none is left."""
        try:
            self._free.pop()
        except IndexError:
            raise WasiError(Errno.NFILE) from None

    def give_back(self) -> None:
        """Undoes one `take`."""
        self._free.append(None)


_MOST = 16_384
"""Also where the operating system sets no bound."""


def _half_of_the_process_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else min(_MOST, soft // 2)


BUDGET = DescriptorBudget(_half_of_the_process_limit())
"""One per process, as the operating system's own bound is."""


class HostFile:
    """One host descriptor, or what is opened at its first use.

    Guarantees: `use` gives a descriptor that stays open and stays this file until the block ends, from any thread;
    after `close` there is no further use; the descriptor is closed once, when `close` was called and the last
    block has ended. A HostFile that is forgotten closes itself.
    """

    def __init__(self, opened: Callable[[], int], *, later: bool = False) -> None:
        """Args:
            opened: opens it, as `os.open` does, and gives the descriptor, which is not inherited.
            later: call it in the first block that uses the file, not now.

        Raises:
            WasiError: NFILE, the guests of this process hold too many; or as `opened`.
            OSError: as `opened`.
        """
        self._lock = Lock()
        self._users = 0
        self._closed = False
        self._fd: int | None = None
        self._before_release: Callable[[], None] | None = None
        self._opened = opened
        if not later:
            self._open()

    @contextmanager
    def use(self) -> Iterator[int]:
        """The descriptor (int), for the length of a block.

        Raises:
            WasiError: BADF, it was closed; NFILE, as when opening.
            OSError: it could not be opened.
        """
        with self._lock:
            if self._closed:
                raise WasiError(Errno.BADF)
            self._users += 1
        try:
            # Not under the lock: opening may wait for a disk, and `close` must not wait for it. A guest makes one
            # call at a time, so no second thread is here.
            yield self._open() if self._fd is None else self._fd
        finally:
            with self._lock:
                self._users -= 1
                last = self._closed and not self._users
            if last:
                self._release()

    def before_release(self, action: Callable[[], None]) -> None:
        """Has `action` called once, at the time when the descriptor is closed; no block is running then."""
        self._before_release = action

    def close(self) -> None:
        """Ends it; harmless when repeated."""
        with self._lock:
            last = not self._closed and not self._users
            self._closed = True
        if last:
            self._release()

    def _open(self) -> int:
        BUDGET.take()
        try:
            fd = self._fd = self._opened()
        except BaseException:
            BUDGET.give_back()
            raise
        return fd

    def _release(self) -> None:
        action, self._before_release = self._before_release, None
        if action is not None:
            action()
        fd, self._fd = self._fd, None
        if fd is not None:
            try:
                os.close(fd)
            finally:
                BUDGET.give_back()

    def __del__(self) -> None:
        self.close()
