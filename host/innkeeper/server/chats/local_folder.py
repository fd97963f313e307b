"""A user's files in a folder of this machine. Every name is opened relative to a descriptor of the folder above it and
no link is followed, so that no path leads out, whatever is planted or swapped in there meanwhile."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import trio

from innkeeper.errors import BusyError, RejectedError, UsageError
from innkeeper.server.answers import AnswerError
from innkeeper.server.chats.folder import ANY_FILE, AnyFile, ChangedError, Expected, Item, Stamp

T = TypeVar("T")

PATIENCE: Final = 10.0
"""Seconds to wait for another writer in the same folder, which takes milliseconds."""

_PAUSE: Final = 0.005
_LONGEST: Final = 255
_DEEPEST: Final = 16
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_UID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class LocalFolder:
    """`Folder` of this machine."""

    def __init__(self, root: Path, limiter: trio.CapacityLimiter) -> None:
        """Args:
        root: the folder, of this user alone; made with the first file.
        limiter: of the threads in which it works.
        """
        self._root = root
        self._limiter = limiter

    async def stat(self, *path: str) -> Stamp | None:
        """See `Folder`."""
        return await self._run(path, lambda: self._stat(path))

    async def read(self, *path: str, most: int) -> tuple[bytes, Stamp] | None:
        """See `Folder`."""
        return await self._run(path, lambda: self._read(path, most))

    async def write_atomic(self, *path: str, data: bytes, expected: Expected = ANY_FILE) -> Stamp:
        """See `Folder`."""
        return await self._run(path, lambda: self._write(path, data, expected))

    async def items(self, *path: str, most: int) -> list[Item]:
        """See `Folder`."""
        return await self._run(path, lambda: self._items(path, most))

    async def delete(self, *path: str, expected: Expected = ANY_FILE) -> None:
        """See `Folder`."""
        await self._run(path, lambda: self._delete(path, expected))

    async def move(self, path: tuple[str, ...], to: tuple[str, ...], expected: Expected = ANY_FILE) -> None:
        """See `Folder`."""
        _check(to)
        await self._run(path, lambda: self._move(path, to, expected))

    async def _run(self, path: tuple[str, ...], work: Callable[[], T]) -> T:
        _check(path)
        try:
            return await trio.to_thread.run_sync(work, limiter=self._limiter)
        except OSError as error:
            # Neither the path nor the name of a link's target is anybody's business.
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise AnswerError(409, "what lies there is a link or no file, and is not followed") from None
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise BusyError("the disk is full", bound="disk") from None
            raise UsageError(f"a file cannot be used: {error.strerror}") from None

    def _stat(self, path: tuple[str, ...]) -> Stamp | None:
        with self._folder(path[:-1]) as above:
            return None if above is None else _stamp_in(above, path[-1])

    def _read(self, path: tuple[str, ...], most: int) -> tuple[bytes, Stamp] | None:
        with self._folder(path[:-1]) as above:
            if above is None or _stamp_in(above, path[-1]) is None:
                return None
            try:
                descriptor = os.open(path[-1], os.O_RDONLY | _FILE, dir_fd=above)
            except FileNotFoundError:
                return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            if status.st_size > most:
                raise RejectedError(f"the file has {status.st_size:,} bytes; at most {most:,} are read")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(most + 1)
            if len(data) > most:
                raise RejectedError(f"the file has more than {most:,} bytes, which is the most that is read")
            return data, _stamp(status)
        finally:
            os.close(descriptor)

    def _write(self, path: tuple[str, ...], data: bytes, expected: Expected) -> Stamp:
        name = path[-1]
        # One name for each file: what a crash left is written over by the next change.
        new = f".new-{hashlib.sha256(name.encode()).hexdigest()[:24]}"
        # What was read has a folder: one that is gone meanwhile is not made again.
        with self._folder(path[:-1], make=not isinstance(expected, Stamp)) as above:
            if above is None:
                raise ChangedError
            with _alone(above):
                _expect(above, name, expected)
                with suppress(FileNotFoundError):
                    os.unlink(new, dir_fd=above)
                descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o600, dir_fd=above)
                try:
                    with open(descriptor, "wb", closefd=False) as file:
                        file.write(data)
                    _make_later(descriptor, _stamp_in(above, name))
                    os.fsync(descriptor)
                    stamp = _stamp(os.fstat(descriptor))
                    os.rename(new, name, src_dir_fd=above, dst_dir_fd=above)
                except BaseException:
                    with suppress(OSError):
                        os.unlink(new, dir_fd=above)
                    raise
                finally:
                    os.close(descriptor)
                os.fsync(above)
                return stamp

    def _items(self, path: tuple[str, ...], most: int) -> list[Item]:
        found: list[Item] = []
        with self._folder(path) as folder:
            if folder is None:
                return found
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or len(found) >= most:
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                        entry.name.encode()
                    except (FileNotFoundError, UnicodeEncodeError):
                        continue
                    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                        found.append(Item(entry.name, _stamp(status), stat.S_ISDIR(status.st_mode)))
        return found

    def _delete(self, path: tuple[str, ...], expected: Expected) -> None:
        with self._folder(path[:-1]) as above:
            if above is None:
                if isinstance(expected, Stamp):
                    raise ChangedError
                return
            with _alone(above):
                _expect(above, path[-1], expected)
                with suppress(FileNotFoundError):
                    status = os.stat(path[-1], dir_fd=above, follow_symlinks=False)
                    (os.rmdir if stat.S_ISDIR(status.st_mode) else os.unlink)(path[-1], dir_fd=above)

    def _move(self, path: tuple[str, ...], to: tuple[str, ...], expected: Expected) -> None:
        with self._folder(path[:-1]) as above:
            if above is None:
                raise ChangedError
            with self._folder(to[:-1], make=True) as there, _alone(above):
                assert there is not None
                _expect(above, path[-1], expected)
                if _exists(there, to[-1]):
                    raise ChangedError
                try:
                    os.rename(path[-1], to[-1], src_dir_fd=above, dst_dir_fd=there)
                except FileNotFoundError:
                    raise ChangedError from None
                os.fsync(there)

    @contextmanager
    def _folder(self, path: tuple[str, ...], *, make: bool = False) -> Iterator[int | None]:
        """A descriptor of a folder; None where it is missing."""
        if make:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor: int | None = None
        try:
            try:
                descriptor = os.open(self._root, _FOLDER)
                for name in path:
                    if make:
                        with suppress(FileExistsError):
                            os.mkdir(name, 0o700, dir_fd=descriptor)
                    below = os.open(name, _FOLDER, dir_fd=descriptor)
                    os.close(descriptor)
                    descriptor = below
            except FileNotFoundError:
                if descriptor is not None:
                    os.close(descriptor)
                descriptor = None
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)


class LocalFolders:
    """`Folders` below one folder of this machine."""

    def __init__(self, root: Path, threads: int = 4) -> None:
        """Args:
        root: the folder in which each user has one.
        threads: that work at a time: what takes long is the disk, of which there is one.
        """
        self._root = root
        self._limiter = trio.CapacityLimiter(threads)

    def __call__(self, uid: str) -> LocalFolder:
        """See `Folders`."""
        if _UID.fullmatch(uid) is None:
            raise AnswerError(400, "this user's id cannot be the name of a folder")
        return LocalFolder(self._root / uid, self._limiter)


def _check(path: tuple[str, ...]) -> None:
    for name in path:
        if not name or name in (".", "..") or len(name) > _LONGEST or len(name.encode("utf-8", "replace")) > _LONGEST:
            raise AnswerError(400, "a name has 1 to 255 bytes and is neither '.' nor '..'")
        if any(character == "/" or character < " " or "\ud800" <= character <= "\udfff" for character in name):
            raise AnswerError(400, "a name has neither separators nor control characters")
    if len(path) > _DEEPEST:
        raise AnswerError(400, f"a path has at most {_DEEPEST} names")


@contextmanager
def _alone(folder: int) -> Iterator[None]:
    """While the block runs, nobody else is in such a block for this folder, of whatever process."""
    ends = time.monotonic() + PATIENCE
    # Of a descriptor of its own: the lock belongs to what was opened.
    own = os.open(".", _FOLDER, dir_fd=folder)
    try:
        while True:
            try:
                fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= ends:
                    raise BusyError("somebody else writes in this folder: try again", bound="folder") from None
                time.sleep(_PAUSE)
        yield
    finally:
        os.close(own)


def _expect(above: int, name: str, expected: Expected) -> None:
    if isinstance(expected, AnyFile):
        return
    if expected is None and not _exists(above, name):
        return
    if expected is None or _stamp_in(above, name) != expected:
        raise ChangedError


def _make_later(descriptor: int, before: Stamp | None) -> None:
    """Clocks of file systems tick every few milliseconds, and numbers of files are used again: without this a file
    could have the stamp of the last but one."""
    if before is not None and os.fstat(descriptor).st_mtime_ns <= before.modified:
        os.utime(descriptor, ns=(before.modified + 1, before.modified + 1))


def _exists(above: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _stamp_in(above: int, name: str) -> Stamp | None:
    try:
        status = os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return _stamp(status) if stat.S_ISREG(status.st_mode) else None


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_ino, status.st_mtime_ns, status.st_size)
