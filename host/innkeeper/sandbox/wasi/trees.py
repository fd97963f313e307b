"""What happens to paths and files in a thread. All of it blocks, and all of it raises OSError or WasiError."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import partial

from innkeeper.sandbox.wasi.abi import FdFlag, OpenFlag, TimeFlag
from innkeeper.sandbox.wasi.descriptors import Directory, File
from innkeeper.sandbox.wasi.errors import Errno, WasiError
from innkeeper.sandbox.wasi.hostfile import HostFile
from innkeeper.sandbox.wasi.paths import Place, walk

_ATTEMPTS = 8
"""Tries to open a name that somebody else makes and removes meanwhile."""

_OPEN_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Opening:
    """How a guest wants a path opened."""

    read: bool
    write: bool
    how: OpenFlag
    flags: FdFlag


def open_path(directory: Directory, path: bytes, opening: Opening) -> tuple[HostFile, bool]:
    """Opens a regular file or a folder, and nothing else. Returns it and whether it is a folder.

    Raises:
        WasiError: LOOP, it is a link; NOTCAPABLE, it is a device, a socket or a named pipe; ISDIR, a folder is to be
            written; NOTDIR, a file is to be a folder; DQUOT, the guest has created enough, or the folder is full.
    """
    with directory.host.use() as base, walk(base, path) as place:
        for _ in range(_ATTEMPTS):
            try:
                status = place.status(follow=True)
            except FileNotFoundError:
                if not opening.how & OpenFlag.CREAT:
                    raise
                if place.folder:
                    raise WasiError(Errno.ISDIR) from None
                try:
                    with directory.account.charged(0, entries=1):
                        return _open(place, opening, os.O_CREAT | os.O_EXCL), False
                except FileExistsError:
                    continue
            if opening.how & OpenFlag.CREAT and opening.how & OpenFlag.EXCL:
                raise WasiError(Errno.EXIST)
            # Looked at before it is opened, since opening alone already does something to some devices.
            _check_kind(status, place, opening)
            return _open_existing(place, opening)
    raise WasiError(Errno.AGAIN)


def _open_existing(place: Place, opening: Opening) -> tuple[HostFile, bool]:
    made = _open(place, opening, 0)
    try:
        with made.use() as fd:
            status = os.fstat(fd)
            _check_kind(status, place, opening)
            folder = stat.S_ISDIR(status.st_mode)
            if opening.how & OpenFlag.TRUNC and not folder:
                os.ftruncate(fd, 0)
    except BaseException:
        made.close()
        raise
    return made, folder


def _check_kind(status: os.stat_result, place: Place, opening: Opening) -> None:
    if stat.S_ISDIR(status.st_mode):
        if opening.write and not opening.how & OpenFlag.DIRECTORY:
            raise WasiError(Errno.ISDIR)
    elif opening.how & OpenFlag.DIRECTORY or place.folder:
        raise WasiError(Errno.NOTDIR)
    elif not stat.S_ISREG(status.st_mode):
        raise WasiError(Errno.NOTCAPABLE)


def _open(place: Place, opening: Opening, extra: int) -> HostFile:
    if opening.how & OpenFlag.DIRECTORY:
        access = os.O_RDONLY | os.O_DIRECTORY
    elif opening.write:
        access = os.O_RDWR if opening.read else os.O_WRONLY
    else:
        access = os.O_RDONLY
    for flag, host in ((FdFlag.APPEND, os.O_APPEND), (FdFlag.DSYNC, os.O_DSYNC), (FdFlag.SYNC, os.O_SYNC)):
        if opening.flags & flag:
            access |= host
    return HostFile(partial(os.open, place.name, access | extra | _OPEN_SAFELY, 0o666, dir_fd=place.parent))


def status_of(directory: Directory, path: bytes, follow: bool) -> os.stat_result:
    """What lies at a path; a link itself unless `follow`, which is then refused with LOOP."""
    with directory.host.use() as base, walk(base, path) as place:
        return place.status(follow=follow)


def create_directory(directory: Directory, path: bytes) -> None:
    """Makes a folder."""
    with directory.host.use() as base, walk(base, path) as place, directory.account.charged(0, entries=1):
        os.mkdir(place.name, dir_fd=place.parent)


def remove_directory(directory: Directory, path: bytes) -> None:
    """Removes an empty folder."""
    with directory.host.use() as base, walk(base, path) as place:
        os.rmdir(place.name, dir_fd=place.parent)


def unlink(directory: Directory, path: bytes) -> None:
    """Removes a file or a link, never what the link names."""
    with directory.host.use() as base, walk(base, path) as place:
        if stat.S_ISDIR(place.status().st_mode):
            raise WasiError(Errno.ISDIR)
        os.unlink(place.name, dir_fd=place.parent)


def rename(directory: Directory, path: bytes, target: Directory, target_path: bytes) -> None:
    """Moves a name inside of one preopen. Between two it is refused with XDEV, as between two file systems, since
    each has a quota of its own; guests then copy."""
    if directory.account is not target.account:
        raise WasiError(Errno.XDEV)
    with (
        directory.host.use() as base,
        target.host.use() as target_base,
        walk(base, path) as place,
        walk(target_base, target_path) as target_place,
    ):
        folder = stat.S_ISDIR(place.status().st_mode)
        if target_place.folder and not folder:
            raise WasiError(Errno.NOTDIR)
        os.rename(place.name, target_place.name, src_dir_fd=place.parent, dst_dir_fd=target_place.parent)


def read_link(directory: Directory, path: bytes) -> bytes:
    """What a link says. NOTCAPABLE if it is an absolute path: that would tell of the host's folders."""
    with directory.host.use() as base, walk(base, path) as place:
        said = os.readlink(place.name, dir_fd=place.parent)
    if said.startswith(b"/"):
        raise WasiError(Errno.NOTCAPABLE)
    return said


def set_times_of(directory: Directory, path: bytes, follow: bool, times: Times) -> None:
    """Changes the times of what lies at a path."""
    with directory.host.use() as base, walk(base, path) as place:
        status = place.status(follow=follow)
        os.utime(place.name, ns=times.over(status), dir_fd=place.parent, follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class Times:
    """New times: nanoseconds (int, 0 to 2**63 - 1) for what `flags` names; `now` is the host's."""

    accessed: int
    modified: int
    flags: TimeFlag
    now: int

    def over(self, status: os.stat_result) -> tuple[int, int]:
        """Access and modification time in nanoseconds; the old ones where none is given."""
        return (
            self._one(TimeFlag.ATIM, TimeFlag.ATIM_NOW, self.accessed, status.st_atime_ns),
            self._one(TimeFlag.MTIM, TimeFlag.MTIM_NOW, self.modified, status.st_mtime_ns),
        )

    def _one(self, given: TimeFlag, now: TimeFlag, value: int, old: int) -> int:
        if self.flags & given:
            return value
        return self.now if self.flags & now else old


def read(file: File, length: int, offset: int | None) -> bytes:
    """At most `length` bytes at `offset`, or at the file's own place, which moves on."""
    with file.host.use() as fd:
        return os.read(fd, length) if offset is None else os.pread(fd, length, offset)


def write(file: File, data: bytes, offset: int | None) -> int:
    """Writes `data` at `offset`, or at the file's own place, which moves on; charged before, and what was not
    written given back. Returns the bytes (int) written."""
    if not data:
        return 0
    with file.host.use() as fd:
        size = os.fstat(fd).st_size
        start = _start(file, fd, size, offset)
        with file.account.charged(_cost(size, start, len(data))) as charge:
            written = os.write(fd, data) if offset is None else os.pwrite(fd, data, offset)
            charge.used = _cost(size, start, written) if written else 0
        return written


def _start(file: File, fd: int, size: int, offset: int | None) -> int:
    if file.flags & FdFlag.APPEND:
        return size
    return os.lseek(fd, 0, os.SEEK_CUR) if offset is None else offset


def _cost(size: int, start: int, length: int) -> int:
    """Bytes of quota for `length` bytes at `start`: a hole before them counts as if it had been written."""
    return max(length, start + length - size)


def resize(file: File, size: int) -> None:
    """Cuts or extends a file."""
    with file.host.use() as fd, file.account.charged(max(0, size - os.fstat(fd).st_size)):
        os.ftruncate(fd, size)


def allocate(file: File, offset: int, length: int) -> None:
    """Reserves space; all of it is charged, also what the file had."""
    if not hasattr(os, "posix_fallocate"):
        raise WasiError(Errno.NOTSUP)
    with file.host.use() as fd, file.account.charged(_cost(os.fstat(fd).st_size, offset, length)):
        os.posix_fallocate(fd, offset, length)
