"""Numbers and layouts of preview 1 that more than one call uses."""

from __future__ import annotations

import os
import stat
from enum import IntEnum, IntFlag
from struct import Struct


class Filetype(IntEnum):
    """`filetype`."""

    UNKNOWN = 0
    BLOCK_DEVICE = 1
    CHARACTER_DEVICE = 2
    DIRECTORY = 3
    REGULAR_FILE = 4
    SOCKET_STREAM = 6
    SYMBOLIC_LINK = 7


class FdFlag(IntFlag):
    """`fdflags`."""

    APPEND = 1
    DSYNC = 2
    NONBLOCK = 4
    RSYNC = 8
    SYNC = 16


class OpenFlag(IntFlag):
    """`oflags`."""

    CREAT = 1
    DIRECTORY = 2
    EXCL = 4
    TRUNC = 8


class TimeFlag(IntFlag):
    """`fstflags`."""

    ATIM = 1
    ATIM_NOW = 2
    MTIM = 4
    MTIM_NOW = 8


SYMLINK_FOLLOW = 1
"""The only `lookupflags`."""


class Right(IntFlag):
    """`rights`: what a guest may do with one of its descriptors."""

    FD_DATASYNC = 1 << 0
    FD_READ = 1 << 1
    FD_SEEK = 1 << 2
    FD_FDSTAT_SET_FLAGS = 1 << 3
    FD_SYNC = 1 << 4
    FD_TELL = 1 << 5
    FD_WRITE = 1 << 6
    FD_ADVISE = 1 << 7
    FD_ALLOCATE = 1 << 8
    PATH_CREATE_DIRECTORY = 1 << 9
    PATH_CREATE_FILE = 1 << 10
    PATH_OPEN = 1 << 13
    FD_READDIR = 1 << 14
    PATH_READLINK = 1 << 15
    PATH_RENAME_SOURCE = 1 << 16
    PATH_RENAME_TARGET = 1 << 17
    PATH_FILESTAT_GET = 1 << 18
    PATH_FILESTAT_SET_SIZE = 1 << 19
    PATH_FILESTAT_SET_TIMES = 1 << 20
    FD_FILESTAT_GET = 1 << 21
    FD_FILESTAT_SET_SIZE = 1 << 22
    FD_FILESTAT_SET_TIMES = 1 << 23
    PATH_REMOVE_DIRECTORY = 1 << 25
    PATH_UNLINK_FILE = 1 << 26
    POLL_FD_READWRITE = 1 << 27


NO_RIGHT = Right(0)
FILE_READING = Right.FD_READ
FILE_WRITING = Right.FD_WRITE | Right.FD_ALLOCATE | Right.FD_FILESTAT_SET_SIZE | Right.FD_FILESTAT_SET_TIMES
FILE_ALWAYS = (
    Right.FD_SEEK
    | Right.FD_TELL
    | Right.FD_ADVISE
    | Right.FD_SYNC
    | Right.FD_DATASYNC
    | Right.FD_FDSTAT_SET_FLAGS
    | Right.FD_FILESTAT_GET
    | Right.POLL_FD_READWRITE
)
DIRECTORY_READING = (
    Right.PATH_OPEN
    | Right.FD_READDIR
    | Right.PATH_READLINK
    | Right.PATH_FILESTAT_GET
    | Right.FD_FILESTAT_GET
    | Right.FD_SYNC
    | Right.FD_DATASYNC
)
DIRECTORY_WRITING = (
    Right.PATH_CREATE_DIRECTORY
    | Right.PATH_CREATE_FILE
    | Right.PATH_RENAME_SOURCE
    | Right.PATH_RENAME_TARGET
    | Right.PATH_FILESTAT_SET_SIZE
    | Right.PATH_FILESTAT_SET_TIMES
    | Right.FD_FILESTAT_SET_TIMES
    | Right.PATH_REMOVE_DIRECTORY
    | Right.PATH_UNLINK_FILE
)
READ_ONLY_TREE = FILE_ALWAYS | FILE_READING | DIRECTORY_READING
"""What the files and folders under a read-only preopen can be used for at most."""
WRITABLE_TREE = READ_ONLY_TREE | FILE_WRITING | DIRECTORY_WRITING
"""The same under a writable preopen. Making links is in neither."""
WRITE_ONLY_TREE = WRITABLE_TREE & ~(
    Right.FD_READ | Right.FD_READDIR | Right.PATH_READLINK | Right.PATH_RENAME_SOURCE | Right.PATH_RENAME_TARGET
)
"""The same under a preopen that is writable and not readable. Moving is left out, too: what is moved to a place that
can be read is read."""

_FDSTAT = Struct("<BxHxxxxQQ")
_FILESTAT = Struct("<QQB7xQQQQQ")
_DIRENT = Struct("<QQIB3x")
_U64 = (1 << 64) - 1


def pack_fdstat(filetype: int, flags: int, rights: int, inheriting: int) -> bytes:
    """`fdstat`, 24 bytes."""
    return _FDSTAT.pack(filetype, flags, rights, inheriting)


def pack_filestat(status: os.stat_result) -> bytes:
    """`filestat`, 64 bytes; times before 1970 are answered as 1970, since the standard's are unsigned."""
    return _FILESTAT.pack(
        status.st_dev & _U64,
        status.st_ino & _U64,
        filetype_of(status.st_mode),
        status.st_nlink,
        status.st_size,
        max(0, status.st_atime_ns),
        max(0, status.st_mtime_ns),
        max(0, status.st_ctime_ns),
    )


def pack_stream_filestat() -> bytes:
    """`filestat` of standard input, output and error: a character device, everything else 0."""
    return _FILESTAT.pack(0, 0, Filetype.CHARACTER_DEVICE, 1, 0, 0, 0, 0)


def pack_dirent(next_cookie: int, inode: int, name: bytes, filetype: int) -> bytes:
    """`dirent` with its name behind it."""
    return _DIRENT.pack(next_cookie, inode & _U64, len(name), filetype) + name


def filetype_of(mode: int) -> Filetype:
    """The `filetype` of a host file's mode (int)."""
    return _FILETYPES.get(stat.S_IFMT(mode), Filetype.UNKNOWN)


_FILETYPES = {
    stat.S_IFBLK: Filetype.BLOCK_DEVICE,
    stat.S_IFCHR: Filetype.CHARACTER_DEVICE,
    stat.S_IFDIR: Filetype.DIRECTORY,
    stat.S_IFREG: Filetype.REGULAR_FILE,
    stat.S_IFSOCK: Filetype.SOCKET_STREAM,
    stat.S_IFLNK: Filetype.SYMBOLIC_LINK,
}


def signed(value: int) -> int:
    """An i64 (int, 0 to 2**64 - 1) as the signed number that it stands for."""
    return value - (1 << 64) if value >> 63 else value
