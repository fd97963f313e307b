"""The files of a server: all trees, in threads of their own, a few at a time."""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar, TypeVarTuple

import trio

from innkeeper.plugins.folders import INSIDE
from innkeeper.plugins.settings import ServerSettings
from innkeeper.sandbox.wasi.tree_quota import TreeQuota
from innkeeper.server.files.bin import RecycleBin
from innkeeper.server.files.logical import USER, LogicalPath
from innkeeper.server.files.problems import FileError
from innkeeper.server.files.roots import folder_of
from innkeeper.server.files.staging import tidy
from innkeeper.server.files.tree import Tree

logger = logging.getLogger("innkeeper.server.files")

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

_THREADS: Final = 8
"""File work at the same time: what one disk does well; others wait outside of threads."""

_LARGE: Final = 2
"""Documents that are read or written as values at the same time: one may have 32 MiB, and becomes ten times that."""

_TREES: Final = 1000
"""Trees whose sizes are known. One that is forgotten is measured again at its next write."""

_ROUND: Final = 3600.0
"""Seconds between two looks for what is too old in recycle bins, which keep things for days."""


@dataclass(frozen=True, slots=True)
class FileBounds:
    """What files may be.

    Attributes:
        bytes: of all files of one user, or below one shared root.
        entries: files and folders there.
        recycled: seconds for which a recycle bin keeps something.
    """

    bytes: int
    entries: int
    recycled: float


def bounds_of_files(settings: ServerSettings) -> FileBounds:
    """What the operator decided of files."""
    return FileBounds(settings.user_bytes, settings.user_entries, settings.recycle * 86_400)


class Files:
    """The files of all users. One for a server; its trees serve commands as well, which may block."""

    def __init__(self, home: Path, bounds: FileBounds, *, now: Callable[[], float] = time.time) -> None:
        """Args:
        home: the home folder.
        bounds: what files may be.
        now: seconds since 1970.
        """
        self.folder = home / INSIDE
        self.bounds = bounds
        self.now = now
        self._limiter = trio.CapacityLimiter(_THREADS)
        self._large = trio.CapacityLimiter(_LARGE)
        self._lock = Lock()
        self._trees: OrderedDict[str, Tree] = OrderedDict()

    def tree(self, uid: str, path: LogicalPath) -> Tree:
        """The tree in which a path lies, for one user. Looks at no disk."""
        beneath = folder_of(path, uid)
        # Threads ask as well, and what counts one folder has to be one.
        with self._lock:
            found = self._trees.get(beneath)
            if found is None:
                bare = Tree(self.folder, beneath)
                quota = TreeQuota(bare.opened, (self.bounds.bytes, self.bounds.entries))
                found = self._trees[beneath] = Tree(self.folder, beneath, quota)
                if len(self._trees) > _TREES:
                    self._trees.popitem(last=False)
            self._trees.move_to_end(beneath)
            return found

    def user(self, uid: str) -> Tree:
        """The files of a user."""
        return self.tree(uid, LogicalPath(USER))

    async def run(self, work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """Does something that blocks in a thread, to its end: whoever is cancelled meanwhile has the result first."""
        return await trio.to_thread.run_sync(work, *arguments, limiter=self._limiter)

    async def run_large(self, work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """As `run`, for what holds whole documents in memory."""
        return await trio.to_thread.run_sync(work, *arguments, limiter=self._large)

    async def keep_tidy(self) -> None:
        """Looks after recycle bins and leftovers, for ever."""
        while True:
            try:
                await self.run(self.tidy)
            except Exception:
                # What lies on a disk must not end the server that shows it.
                logger.exception("recycle bins could not be looked after")
            await trio.sleep(_ROUND)

    def tidy(self) -> None:
        """Deletes what recycle bins kept for too long, and what processes left behind that ended. Blocks."""
        now = self.now()
        for tree in self._all():
            try:
                tidy(tree, now)
                RecycleBin(tree).purge_before(now - self.bounds.recycled)
            except FileError:
                # Of one user: the others' are looked after all the same, and this one the next time.
                continue

    def _all(self) -> list[Tree]:
        found = []
        for group in ("users", "shared", "system"):
            try:
                with os.scandir(self.folder / group) as entries:
                    names = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
            except OSError:
                continue
            found += [Tree(self.folder, f"{group}/{name}") for name in sorted(names) if name.isprintable()]
        return found
