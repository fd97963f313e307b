"""A file that is written before it has a name: whoever looks finds it whole or not at all."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import Final

from innkeeper.server.files.entries import Entry, entry_of
from innkeeper.server.files.logical import LogicalPath
from innkeeper.server.files.moving import move_file, sync
from innkeeper.server.files.problems import FileError, said
from innkeeper.server.files.tree import Tree

LEFT: Final = 24 * 3600.0
"""Seconds after which something without a name is a rest of a process that ended: no upload takes so long."""

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Staged:
    """One such file. Its methods block, one at a time, and may be called from different threads."""

    def __init__(self, tree: Tree) -> None:
        """Args:
        tree: where it will lie; its quota counts it from now on.

        Raises:
            FileError: there is no room.
        """
        self._tree = tree
        self._quota = tree.quota
        self._taken = 0, 0
        self._file = -1
        self._name = b""
        with said("the file"):
            self._take(0, 1)
            try:
                folder = tree.staging()
                try:
                    name = os.urandom(16).hex().encode()
                    self._file = os.open(name, _NEW, 0o600, dir_fd=folder)
                    self._name = name
                finally:
                    os.close(folder)
            except BaseException:
                self._settle((0, 0))
                raise

    def append(self, data: bytes) -> None:
        """Writes more.

        Raises:
            FileError: there is no room.
        """
        with said("the file"):
            self._take(len(data), 0)
            at = 0
            while at < len(data):
                at += os.write(self._file, data[at:] if at else data)

    def finish(self) -> None:
        """Nothing more is written: from now on it holds no descriptor. Harmless when repeated."""
        with said("the file"):
            if self._file >= 0:
                os.fsync(self._file)
                os.close(self._file)
                self._file = -1

    def commit(self, path: LogicalPath, *, replace: bool) -> Entry:
        """Gives it its name.

        Args:
            path: in a folder that is there.
            replace: whether a file that is there is replaced.

        Returns:
            what it is now.

        Raises:
            FileError: "taken": something is there that is not to be replaced; "unfit": a folder is.
        """
        if not path.parts:
            raise FileError("unfit", f"{path}: it is a folder")
        self.finish()
        with said(path), self._tree.place(path) as place:
            folder = self._tree.staging()
            try:
                instead = 0, 0
                if replace:
                    with suppress(FileNotFoundError):
                        old = os.stat(place.name, dir_fd=place.parent, follow_symlinks=False)
                        instead = old.st_size, 1
                        self._make_later(folder, old.st_mtime_ns)
                entry = entry_of(path.name, os.stat(self._name, dir_fd=folder, follow_symlinks=False))
                if replace:
                    os.rename(self._name, place.name, src_dir_fd=folder, dst_dir_fd=place.parent)
                else:
                    move_file(folder, self._name, place.parent, place.name)
                self._name = b""
            finally:
                os.close(folder)
            self._settle((self._taken[0] - instead[0], self._taken[1] - instead[1]))
            sync(place.parent)
        return entry

    def close(self) -> None:
        """Ends it; without a name nothing stays of it. Harmless when repeated."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._name:
            with said("the file"):
                folder = self._tree.staging()
                try:
                    with suppress(FileNotFoundError):
                        os.unlink(self._name, dir_fd=folder)
                finally:
                    os.close(folder)
            self._name = b""
        self._settle((0, 0))

    def _make_later(self, folder: int, old: int) -> None:
        # Clocks of file systems tick every few milliseconds, and numbers of files are used again: without this a file
        # could have the stamp of one that it follows.
        if os.stat(self._name, dir_fd=folder, follow_symlinks=False).st_mtime_ns <= old:
            os.utime(self._name, ns=(old + 1, old + 1), dir_fd=folder, follow_symlinks=False)

    def _take(self, size: int, entries: int) -> None:
        if self._quota is not None:
            self._quota.take(size, entries)
            self._taken = self._taken[0] + size, self._taken[1] + entries

    def _settle(self, used: tuple[int, int]) -> None:
        if self._quota is not None and self._taken != (0, 0):
            self._quota.settle(self._taken, used)
            self._taken = 0, 0


def tidy(tree: Tree, now: float) -> None:
    """Removes what processes that ended left behind. Blocks.

    Args:
        tree: where.
        now: seconds since 1970.

    Raises:
        FileError: it cannot be looked at.
    """
    with said(tree.beneath.decode()):
        staging = tree.staging()
        try:
            with os.scandir(staging) as entries:
                old = [each for each in entries if now - each.stat(follow_symlinks=False).st_ctime > LEFT]
            for each in old:
                if each.is_dir(follow_symlinks=False):
                    shutil.rmtree(each.name, ignore_errors=True, dir_fd=staging)
                else:
                    with suppress(FileNotFoundError):
                        os.unlink(each.name, dir_fd=staging)
        finally:
            os.close(staging)
