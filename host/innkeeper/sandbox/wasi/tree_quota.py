"""What a folder may hold, however many guests write to it, one after the other or at once.

A guest has a quota of its own, but a plugin may be called for ever. So a folder that plugins may write to is measured:
all that lies below it, whoever put it there. From then on what guests write is added, all of it, whether it made the
folder larger or not; where that sum meets the bound the folder is measured again. The sum is never less than what is
really there, but for what others than the guests of this process added since the last measuring. It needs no memory
beyond the process: a host that starts again measures again.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from threading import Lock

from innkeeper.sandbox.wasi.errors import Errno, WasiError
from innkeeper.sandbox.wasi.hostfile import BUDGET

AGE = 60.0
"""Seconds after which a folder is measured again in any case: other programs write there, too."""

SHARE = 10
"""After a measuring the same folder is left alone for so many times as long as it took: a guest that writes on and on
to a full folder has at most one part in eleven of one thread."""

CHEAP = 0.002
"""Seconds below which a measuring costs no more than other file calls, and no pause follows: a guest that makes room in
a folder of some hundred files can use it at once. Nobody waits for the pause to end, since whoever waits holds one of
the few threads for files."""

_DEPTH = 64
"""Folders inside of each other that are looked into; measuring holds two descriptors each. A tree that is deeper counts
as full."""

_NOT_COUNTED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES})
"""Gone meanwhile, or another thing by now; or closed to the host, so that no guest put anything there."""

Sizes = tuple[int, int]
"""Bytes, and names."""


class TreeQuota:
    """The bound of one folder. Its methods block, and may be called from any thread."""

    def __init__(
        self,
        opened: Callable[[], int],
        most: Sizes,
        *,
        when_full: Callable[[], None] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        opened: opens the folder and gives the descriptor, which is closed here; may raise WasiError and OSError.
        most: what the folder may hold.
        when_full: called, from a thread, when the folder was found full and was not before; must be quick.
        now: seconds of a monotonic clock.
        """
        self._opened = opened
        self._most = most
        self._when_full = when_full
        self._now = now
        self._lock = Lock()
        self._held: Sizes | None = None
        self._measured = self._free_again = 0.0
        # Of blocks that run: what they make may be there already, or not yet, when the folder is measured.
        self._pending: Sizes = 0, 0
        self._full = False

    def take(self, size: int, entries: int) -> None:
        """Takes room for what is about to be made; `settle` says what came of it.

        Raises:
            WasiError: DQUOT, there is no room; NFILE, the folder cannot be measured now.
            OSError: it cannot be measured.
        """
        with self._lock:
            if self._held is None or self._now() - self._measured > AGE:
                self._measure()
            if not self._fits(size, entries):
                if self._now() >= self._free_again:
                    self._measure()
                if not self._fits(size, entries):
                    self._tell()
                    raise WasiError(Errno.DQUOT)
            self._full = False
            self._pending = self._pending[0] + size, self._pending[1] + entries

    def ease(self) -> None:
        """Something was removed: who finds no room measures again, whenever that was done last."""
        with self._lock:
            self._free_again = 0.0

    def settle(self, taken: Sizes, used: Sizes) -> None:
        """A block is over. Follows each `take`.

        Args:
            taken: what it took.
            used: what it made.
        """
        with self._lock:
            assert self._held is not None
            self._pending = self._pending[0] - taken[0], self._pending[1] - taken[1]
            self._held = self._held[0] + used[0], self._held[1] + used[1]

    def _fits(self, size: int, entries: int) -> bool:
        assert self._held is not None
        return (
            self._held[0] + self._pending[0] + size <= self._most[0]
            and self._held[1] + self._pending[1] + entries <= self._most[1]
        )

    def _tell(self) -> None:
        if not self._full and self._when_full is not None:
            self._when_full()
        self._full = True

    def _measure(self) -> None:
        # Under the lock: what is taken and settled waits, so that nothing is counted neither here nor there.
        before = self._now()
        folder = self._opened()
        try:
            self._held = measure(folder, self._most)
        finally:
            os.close(folder)
            after = self._measured = self._now()
            took = after - before
            self._free_again = after + SHARE * took if took > CHEAP else after


def measure(folder: int, most: Sizes) -> Sizes:
    """Bytes of the files below a folder and number of names there; more than `most` where either is exceeded, without
    looking further. Follows no link, and takes no more time than `most` names need. Blocks.

    Args:
        folder: its descriptor.
        most: bytes and names beyond which nobody needs to know.

    Raises:
        WasiError: NFILE, the guests of this process hold too many descriptors.
        OSError: the folder cannot be read.
    """
    size = entries = 0
    levels = [_Level(folder, ".")]
    try:
        while levels:
            entry = next(levels[-1], None)
            if entry is None:
                levels.pop().close()
                continue
            entries += 1
            try:
                if entry.is_dir(follow_symlinks=False):
                    if len(levels) >= _DEPTH:
                        return most[0] + 1, most[1] + 1
                    levels.append(_Level(levels[-1].folder, entry.name))
                else:
                    size += entry.stat(follow_symlinks=False).st_size
            except OSError as error:
                if error.errno not in _NOT_COUNTED:
                    raise
                continue
            if size > most[0] or entries > most[1]:
                return size, entries
    finally:
        for level in levels:
            level.close()
    return size, entries


class _Level:
    """A folder that is being read."""

    def __init__(self, parent: int, name: str) -> None:
        BUDGET.take()
        try:
            self.folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except BaseException:
            BUDGET.give_back()
            raise
        try:
            # scandir takes a copy.
            BUDGET.take()
            try:
                self._entries = os.scandir(self.folder)
            except BaseException:
                BUDGET.give_back()
                raise
        except BaseException:
            self._end()
            raise

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self

    def __next__(self) -> os.DirEntry[str]:
        return next(self._entries)

    def close(self) -> None:
        self._entries.close()
        BUDGET.give_back()
        self._end()

    def _end(self) -> None:
        os.close(self.folder)
        BUDGET.give_back()
