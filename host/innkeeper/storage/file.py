"""The database's file and its folder: ours alone, before SQLite opens them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from innkeeper.errors import BusyError, UsageError
from innkeeper.storage.folder import UnsafeError, open_private

PATIENCE: Final = 30.0
"""Seconds to wait for another process that is opening the same database: its migrations may take a while."""
_PAUSE = 0.02
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@contextlib.contextmanager
def private_file(path: Path) -> Iterator[None]:
    """While the block runs, nobody else is in such a block for this file, which exists, is ours and has mode 0600.

    What SQLite puts beside it (`-wal`, `-shm`) gets the mode of the file itself. Blocks; for a thread.

    Args:
        path: an absolute path; the file, and its folder with mode 0700, are made where they are missing.

    Raises:
        UsageError: folder or file is not ours alone, or cannot be made.
        BusyError: another process did not leave such a block in `PATIENCE` seconds.
    """
    name = path.name
    try:
        folder = open_private(path.parent)
    except UnsafeError as error:
        raise UsageError(f"the database {name!r} is not used: {error.reason}") from None
    except OSError as error:
        raise UsageError(f"the folder of the database {name!r} cannot be made or opened: {error.strerror}") from None
    try:
        with _lock(f"{name}.lock", folder, name):
            try:
                _make_ours(name, folder)
            except OSError as error:
                raise UsageError(f"the database {name!r} cannot be made or opened: {error.strerror}") from None
            yield
    finally:
        os.close(folder)


@contextlib.contextmanager
def _lock(lock: str, folder: int, name: str) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(lock, flags, 0o600, dir_fd=folder)
    except OSError as error:
        raise UsageError(f"the lock of the database {name!r} cannot be made or opened: {error.strerror}") from None
    # A process that dies lets go of it, however it dies.
    try:
        ends = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR):
                    raise UsageError(f"the database {name!r} cannot be locked: {error.strerror}") from None
            if time.monotonic() >= ends:
                raise BusyError(
                    f"the database {name!r} is being opened by another process for more than {PATIENCE:g} s: "
                    "look at what it does, or end it",
                    bound="database",
                )
            time.sleep(_PAUSE)
        yield
    finally:
        os.close(descriptor)


def _make_ours(name: str, folder: int) -> None:
    # An existing file is never opened here: closing a descriptor of it would drop the locks that SQLite holds on it
    # for other connections of this process.
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileExistsError):
        os.close(os.open(name, flags, 0o600, dir_fd=folder))
    for each in (name, f"{name}-wal", f"{name}-shm", f"{name}-journal"):
        try:
            status = os.stat(each, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"the database's file {each!r} is a link, a folder or a device; remove it")
        if status.st_uid != os.getuid():
            raise UsageError(f"the database's file {each!r} belongs to another user; choose another folder")
        if status.st_nlink > 1:
            raise UsageError(f"the database's file {each!r} has another name elsewhere; copy it, and use the copy")
        if status.st_mode & _OTHERS_WRITE:
            # Closing it now would not say who has been there.
            raise UsageError(f"others may write to the database's file {each!r}; look at it, then chmod 600 it")
        if stat.S_IMODE(status.st_mode) != 0o600:
            # Nobody else can put a link in its place: the folder is ours.
            os.chmod(each, 0o600, dir_fd=folder)
