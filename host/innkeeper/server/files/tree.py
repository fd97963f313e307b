"""One tree of files: all that lies below one root of logical paths, for one user.

Every way into it begins at a descriptor of its folder and goes on from name to name, never through a link
(`sandbox.wasi.paths.walk`). So neither a name that a client sends nor a link that somebody planted, or puts there in
the midst of it, leads out. All of it blocks, for a thread, and raises FileError.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from heapq import nsmallest
from pathlib import Path
from typing import Final

from innkeeper.sandbox.wasi.paths import Place, open_beneath, walk
from innkeeper.sandbox.wasi.tree_quota import TreeQuota
from innkeeper.server.files.entries import Entry, entry_of, is_own, shown_name
from innkeeper.server.files.locking import lock
from innkeeper.server.files.logical import MOST_DEPTH, LogicalPath
from innkeeper.server.files.moving import check_depth, move_file, sync
from innkeeper.server.files.names import OWN, why_no_name
from innkeeper.server.files.problems import FileError, said
from innkeeper.storage.folder import make_folders

STAGING: Final = f"{OWN}-staging"
"""The folder of a tree in which files are written before they get their names, and folders go to be removed."""

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """The files below one root."""

    def __init__(self, base: Path, beneath: str, quota: TreeQuota | None = None) -> None:
        """Args:
        base: a folder of the home, made where it is missing; links on the way to it are its operator's.
        beneath: the tree's folder, from there.
        quota: what the tree may hold; None: what the disk does.
        """
        self.base = base
        self.beneath = beneath.encode()
        self._quota = quota

    @property
    def quota(self) -> TreeQuota | None:
        """What the tree may hold."""
        return self._quota

    def opened(self) -> int:
        """A descriptor of its folder (int), which is made where it is missing.

        Raises:
            WasiError, OSError: it cannot be opened.
        """
        try:
            return open_beneath(os.fsencode(self.base), self.beneath, make=False)
        except FileNotFoundError:
            make_folders(self.base)
            return open_beneath(os.fsencode(self.base), self.beneath, make=True, mode=0o700)

    @contextmanager
    def place(self, path: LogicalPath) -> Iterator[Place]:
        """Where a path ends, for the time of a block."""
        with said(path):
            root = self.opened()
            try:
                with walk(root, "/".join(path.parts).encode() or b".") as place:
                    yield place
            finally:
                os.close(root)

    def status(self, path: LogicalPath) -> Entry:
        """What lies at a path; a link itself."""
        with self.place(path) as place:
            return entry_of(path.name, os.stat(place.name, dir_fd=place.parent, follow_symlinks=False))

    def exists(self, path: LogicalPath) -> bool:
        """Whether anything lies there (bool)."""
        try:
            self.status(path)
        except FileError as problem:
            if problem.reason != "missing":
                raise
            return False
        return True

    def page(self, path: LogicalPath, after: str = "", most: int = 1000) -> tuple[list[Entry], bool]:
        """Entries of a folder in the order of their names, and whether there are more (bool).

        Args:
            path: the folder.
            after: only names that come later; "": all.
            most: entries.
        """
        with self.place(path) as place:
            folder = os.open(place.name, _FOLDER, dir_fd=place.parent)
            try:
                with os.scandir(folder) as entries:
                    names = (each.name for each in entries)
                    wanted = (name for name in names if shown_name(name) > after and not is_own(name))
                    found = nsmallest(most + 1, wanted, key=shown_name)
                rows = []
                for name in found[:most]:
                    # Gone since: it is not there.
                    with suppress(FileNotFoundError):
                        rows.append(entry_of(name, os.stat(name, dir_fd=folder, follow_symlinks=False)))
                return rows, len(found) > most
            finally:
                os.close(folder)

    def entries(self, path: LogicalPath, end: str = "") -> Iterator[Entry]:
        """Folders in a folder, and files whose names end with a text, as far as a path can have their names; in no
        order. Looks at each once, however many there are; a folder that is missing has none."""
        try:
            with self.place(path) as place:
                folder = os.open(place.name, _FOLDER, dir_fd=place.parent)
        except FileError as problem:
            if problem.reason == "missing":
                return
            raise
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    wanted = entry.name.endswith(end) or entry.is_dir(follow_symlinks=False)
                    if wanted and not why_no_name(entry.name):
                        # Gone since: it is not there.
                        with suppress(FileNotFoundError):
                            yield entry_of(entry.name, os.stat(entry.name, dir_fd=folder, follow_symlinks=False))
        finally:
            os.close(folder)

    def make(self, path: LogicalPath, *, parents: bool = False) -> bool:
        """Makes a folder. Gives whether it was made (bool); False only with `parents`, where it was there.

        Args:
            path: the folder.
            parents: whether folders on the way are made as well, and one that is there is welcome.
        """
        first = 1 if parents else max(1, len(path.parts))
        made = False
        for count in range(first, len(path.parts) + 1):
            made = self._make_one(LogicalPath(path.root, path.parts[:count]))
        if not made and not parents:
            raise FileError("taken", f"{path}: something of this name is there already")
        return made

    def _make_one(self, path: LogicalPath) -> bool:
        with self.place(path) as place:
            try:
                status = os.stat(place.name, dir_fd=place.parent, follow_symlinks=False)
            except FileNotFoundError:
                # Two who make the same at once: one does.
                with suppress(FileExistsError), self.charged(0, 1):
                    os.mkdir(place.name, 0o700, dir_fd=place.parent)
                    return True
                return False
            if not stat.S_ISDIR(status.st_mode):
                raise FileError("taken", f"{path}: something of this name is there already")
            return False

    def open(self, path: LogicalPath) -> tuple[int, Entry]:
        """A descriptor (int) of a regular file, to be read and closed, and what it is."""
        with self.place(path) as place:
            found = os.open(place.name, _READ, dir_fd=place.parent)
            try:
                entry = entry_of(path.name, os.fstat(found))
                if entry.kind != "file":
                    raise FileError("unfit", f"{path}: it is no file")
            except BaseException:
                os.close(found)
                raise
            return found, entry

    def read(self, path: LogicalPath, most: int) -> bytes:
        """The bytes of a file.

        Args:
            path: the file.
            most: bytes; a larger one is refused ("large").
        """
        descriptor, entry = self.open(path)
        with open(descriptor, "rb") as file, said(path):
            data = file.read(most + 1) if entry.size <= most else b""
        if max(len(data), entry.size) > most:
            raise FileError("large", f"{path}: it has more than {most:,} bytes, the most that is read")
        return data

    def write(self, path: LogicalPath, data: bytes, *, replace: bool = True) -> Entry:
        """Writes a file: who reads meanwhile, or after a crash, finds the old one or the new one, whole.

        Args:
            path: the file, in a folder that is there.
            data: what it shall hold.
            replace: whether a file that is there is replaced; if not, "taken".
        """
        from innkeeper.server.files.staging import Staged

        staged = Staged(self)
        try:
            staged.append(data)
            return staged.commit(path, replace=replace)
        finally:
            staged.close()

    def move(self, source: LogicalPath, target: LogicalPath, *, deepest: int = MOST_DEPTH) -> None:
        """Gives a file or folder another place in the tree, where nothing is yet. A link moves itself.

        Args:
            source: where it is.
            target: where it shall be.
            deepest: names that a path may have from there on.
        """
        with self.place(source) as there, self.place(target) as new:
            status = os.stat(there.name, dir_fd=there.parent, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                check_depth(there, source, deepest - len(target.parts))
                with suppress(FileNotFoundError):
                    os.stat(new.name, dir_fd=new.parent, follow_symlinks=False)
                    raise FileError("taken", f"{target}: something of this name is there already")
                # A folder takes the place of nothing but an empty folder, should one come there now.
                os.rename(there.name, new.name, src_dir_fd=there.parent, dst_dir_fd=new.parent)
            else:
                move_file(there.parent, there.name, new.parent, new.name)
            sync(there.parent)
            sync(new.parent)

    def remove(self, path: LogicalPath) -> None:
        """Removes a file, a link, or a folder with all in it; follows no link."""
        if not path.parts:
            raise FileError("denied", f"{path}: it cannot be removed")
        with self.place(path) as place:
            status = os.stat(place.name, dir_fd=place.parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(place.name, dir_fd=place.parent)
                sync(place.parent)
            else:
                # All of it goes in one moment; what a crash leaves is removed later.
                staging = self.staging()
                try:
                    away = os.fsencode(f"{time.time_ns():x}-{os.urandom(8).hex()}")
                    os.rename(place.name, away, src_dir_fd=place.parent, dst_dir_fd=staging)
                    sync(place.parent)
                    shutil.rmtree(away, dir_fd=staging)
                finally:
                    os.close(staging)
        if self._quota is not None:
            self._quota.ease()

    @contextmanager
    def locked(self, path: LogicalPath) -> Iterator[None]:
        """While the block runs, nobody else is in such a block for this folder, in any process: of two that read a file
        in it and write it again, neither undoes what the other did.

        Raises:
            FileError: "busy": somebody else is in one for longer than `locking.PATIENCE`.
        """
        with self.place(path) as place:
            folder = os.open(place.name, _FOLDER, dir_fd=place.parent)
        try:
            lock(folder, path)
            yield
        finally:
            os.close(folder)

    def staging(self) -> int:
        """A descriptor (int) of the folder for what has no name yet. Raises OSError and WasiError."""
        root = self.opened()
        try:
            with suppress(FileExistsError):
                os.mkdir(STAGING, 0o700, dir_fd=root)
            return os.open(STAGING, _FOLDER, dir_fd=root)
        finally:
            os.close(root)

    @contextmanager
    def charged(self, size: int, entries: int) -> Iterator[None]:
        """Room for what a block makes. One that fails has cost nothing."""
        if self._quota is None:
            yield
            return
        self._quota.take(size, entries)
        used = 0, 0
        try:
            yield
            used = size, entries
        finally:
            self._quota.settle((size, entries), used)
