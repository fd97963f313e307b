"""Copies of a database's file that are made before it is upgraded: whole or not there, and few enough for a disk."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from innkeeper.errors import BusyError, InnkeeperError, RejectedError, UsageError
from innkeeper.storage.backup.snapshot import snapshot
from innkeeper.storage.folder import UnsafeError, open_private

FOLDER: Final = "backup"
"""The folder beside the database in which they lie."""

KEPT: Final = 3
"""Copies that are kept, the newest ones: the one to go back to, and two more for whoever notices late."""

ROOM: Final = 16 << 20
"""Bytes that stay free on the disk beside the copy and what the upgrade writes, at most the database once more."""

_MAKING: Final = ".making-"


def make_copy(path: Path, revision: str) -> Path:
    """Copies a database as it is. The caller holds the right to write to it, so nobody changes it meanwhile. Blocks.

    Nothing under the copy's name is ever half a copy: what a process leaves that dies meanwhile has another name, and
    goes with the next copy.

    Args:
        path: the file, absolute, in a folder that is ours alone.
        revision: of its schema, which stands in the copy's name.

    Returns:
        Path: the copy, of mode 0600, which is on the disk.

    Raises:
        BusyError, UsageError, RejectedError: there is no copy: the disk has no room, the folder is not ours alone, the
            database is damaged. The message says so of the upgrade.
    """
    try:
        return _made(path, revision)
    except BusyError as error:
        raise BusyError(_why(path, error.message), bound=error.bound) from None
    except RejectedError as error:
        raise RejectedError(_why(path, error.message)) from None
    except InnkeeperError as error:
        raise UsageError(_why(path, error.message)) from None
    except UnsafeError as error:
        raise UsageError(_why(path, error.reason)) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BusyError(_why(path, "the disk is full; make room on it"), bound="disk") from None
        raise UsageError(_why(path, f"{FOLDER!r} beside it cannot be written to: {error.strerror}")) from None


def _why(path: Path, reason: str) -> str:
    return f"the database {path.name!r} was not upgraded, since it could not be copied before: {reason}"


def _made(path: Path, revision: str) -> Path:
    place = path.parent / FOLDER
    folder = open_private(place)
    try:
        for name in os.listdir(folder):
            if name.startswith(_MAKING):
                os.unlink(name, dir_fd=folder)
        # Processes that die before they have upgraded leave whole copies: one more than are kept, at most.
        prune(path)
        _check_room(path, place)
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        name = f"{path.stem}-{revision}-{stamp}.db"
        number = 1
        while os.path.lexists(place / name):
            number += 1
            name = f"{path.stem}-{revision}-{stamp}-{number}.db"
        making = f"{_MAKING}{name}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(making, flags, 0o600, dir_fd=folder))
        try:
            snapshot(path, place / making)
            descriptor = os.open(making, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(making, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(making, dir_fd=folder)
            raise
        return place / name
    finally:
        os.close(folder)


def _check_room(path: Path, place: Path) -> None:
    size = sum(each.stat().st_size for each in (path, Path(f"{path}-wal")) if each.exists())
    wanted = 2 * size + ROOM
    free = shutil.disk_usage(place).free
    if free < wanted:
        raise BusyError(
            f"with what the upgrade writes that takes up to {wanted >> 20:,} MiB, and the disk has {free >> 20:,}; "
            "make room on it",
            bound="disk",
        )


def prune(path: Path, newest: Path | None = None) -> None:
    """Deletes all but the newest copies of a database. Blocks. What cannot be deleted stays.

    Args:
        path: the database.
        newest: a copy that stays, whatever the clock said as others were made.
    """
    named = re.compile(re.escape(path.stem) + r"-[0-9]{4}-([0-9]{8}-[0-9]{6})(?:-([0-9]+))?\.db")
    folder = path.parent / FOLDER
    own = None if newest is None else newest.name
    with suppress(OSError):
        matches = [match for name in os.listdir(folder) if (match := named.fullmatch(name))]
        found = [(match[1], int(match[2] or 1), match[0]) for match in matches if match[0] != own]
        for _, _, name in sorted(found, reverse=True)[KEPT - (own is not None) :]:
            with suppress(OSError):
                os.unlink(folder / name)
