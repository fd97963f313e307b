"""The entries of a folder, in the pieces in which a guest asks for them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Protocol

from innkeeper.sandbox.wasi.abi import filetype_of, pack_dirent
from innkeeper.sandbox.wasi.errors import Errno, WasiError
from innkeeper.sandbox.wasi.hostfile import BUDGET, HostFile

_MAX_REREAD = 16_384
"""Entries that are skipped for a guest that goes back in a folder instead of reading on."""


class _Entries(Protocol):
    def __iter__(self) -> Iterator[os.DirEntry[str]]: ...

    def close(self) -> None: ...


class Listing:
    """Reads one folder once for a guest that reads on, whatever its size; holds one entry at most.

    An entry's cookie is its place in the folder, from 1. The entries "." and ".." are left out, as POSIX allows, and
    so are names that are not UTF-8, which a guest could not write.
    """

    __slots__ = ("_entries", "_held", "_host", "_place")

    def __init__(self, host: HostFile) -> None:
        self._host = host
        self._entries: _Entries | None = None
        self._held: tuple[bytes, int, int] | None = None
        self._place = 0

    def read(self, cookie: int, length: int) -> bytes:
        """As many entries after `cookie` (int) as fill `length` bytes, the last one cut there if need be.

        Fewer bytes mean that the folder has no more. Blocks: for a thread.

        Raises:
            WasiError: INVAL, going back to `cookie` would skip more than 16,384 entries; BADF, it was closed.
            OSError: the folder cannot be read.
        """
        # Also keeps the entries open: they are closed when the folder is, which waits for this block.
        with self._host.use() as folder:
            if self._entries is None or cookie != self._place:
                self._rewind(folder, cookie)
            parts: list[bytes] = []
            filled = 0
            while filled < length and (entry := self._peek()) is not None:
                name, inode, filetype = entry
                dirent = pack_dirent(self._place + 1, inode, name, filetype)
                parts.append(dirent)
                filled += len(dirent)
                if filled <= length:
                    self._step()
            return b"".join(parts)[:length]

    def _rewind(self, folder: int, cookie: int) -> None:
        if cookie > _MAX_REREAD:
            raise WasiError(Errno.INVAL)
        self._close()
        BUDGET.take()
        try:
            # A descriptor of its own: two readers of one would move each other's place. scandir takes a copy.
            own = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
            try:
                self._entries = os.scandir(own)
            finally:
                os.close(own)
        except BaseException:
            BUDGET.give_back()
            raise
        self._host.before_release(self._close)
        while self._place < cookie and self._peek() is not None:
            self._step()

    def _close(self) -> None:
        entries, self._entries = self._entries, None
        self._held = None
        self._place = 0
        if entries is not None:
            entries.close()
            BUDGET.give_back()

    def _step(self) -> None:
        self._held = None
        self._place += 1

    def _peek(self) -> tuple[bytes, int, int] | None:
        if self._held is None and self._entries is not None:
            for entry in self._entries:
                name = os.fsencode(entry.name)
                if _is_utf8(name):
                    self._held = (name, entry.inode(), _filetype(entry))
                    break
        return self._held


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _filetype(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink():
        return filetype_of(stat.S_IFLNK)
    if entry.is_dir(follow_symlinks=False):
        return filetype_of(stat.S_IFDIR)
    if entry.is_file(follow_symlinks=False):
        return filetype_of(stat.S_IFREG)
    return filetype_of(0)
