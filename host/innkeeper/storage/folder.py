"""Is a folder ours alone? It is looked at as ssh looks at the folders of its keys."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MOST_LINKS = 40
"""Links that lead to links, as many as Linux follows."""


class UnsafeError(Exception):
    """The folder is not used. `reason` (str) is part of a sentence that says why and what to do; it names the path."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def open_private(folder: Path) -> int:
    """A descriptor (int) of the folder, which is made where it is missing. Everything in it is then reached through
    the descriptor, so that no later change of a name above it leads elsewhere.

    Args:
        folder: an absolute path.

    Raises:
        UnsafeError: somebody else could have put something there, or could yet.
        OSError: it cannot be made or opened.
    """
    if not folder.is_absolute():
        raise UnsafeError(f"{folder} is not an absolute path")
    make_folders(folder)
    for above in _above(folder):
        _check_above(above)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        if folder.is_symlink():
            raise UnsafeError(f"{folder} is a link; name the folder itself") from None
        if not folder.is_dir():
            raise UnsafeError(f"{folder} is not a folder; remove it") from None
        raise
    try:
        _check_itself(folder, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_above(path: Path) -> None:
    """Looks at every folder above a file or folder, and where it is a link, above what that leads to; changes nothing.
    What is not there yet is passed over.

    Raises:
        UnsafeError: somebody else could put another in its place.
        OSError: the way there cannot be walked.
    """
    ways = [path]
    while len(ways) < _MOST_LINKS and ways[-1].is_symlink():
        ways.append(ways[-1].parent / os.readlink(ways[-1]))
    for above in [each for way in ways for each in _above(way)]:
        if os.path.lexists(above):
            _check_above(above)


def make_folders(folder: Path) -> None:
    """Makes a folder and those above it that are missing, closed to others.

    Raises:
        OSError: one cannot be made.
    """
    missing = []
    for path in (folder, *folder.parents):
        if os.path.lexists(path):
            break
        missing.append(path)
    for path in reversed(missing):
        # Another process may be doing the same.
        path.mkdir(mode=0o700, exist_ok=True)


def _above(folder: Path) -> list[Path]:
    """Every folder and link on the way, and on the way to what each link says."""
    found = list(folder.parents)
    # It grows meanwhile, and comes to an end: the way was just walked, so no link leads back to itself.
    for path in found:
        if path.is_symlink():
            target = path.parent / os.readlink(path)
            found += [each for each in (target, *target.parents) if each not in found]
    return found


def _check_above(path: Path) -> None:
    for status in (os.lstat(path), os.stat(path)):
        if status.st_uid not in (0, os.getuid()):
            raise UnsafeError(f"{path}, which is above it, belongs to another user; choose another folder")
        if stat.S_ISLNK(status.st_mode):
            continue
        # In a sticky folder such as /tmp only an entry's owner may rename or remove it.
        if status.st_mode & _OTHERS_WRITE and not status.st_mode & stat.S_ISVTX:
            raise UnsafeError(f"others may write to {path}, which is above it; chmod go-w it, or choose another folder")


def _check_itself(folder: Path, descriptor: int) -> None:
    status = os.fstat(descriptor)
    if status.st_uid != os.getuid():
        raise UnsafeError(f"{folder} belongs to another user; choose another folder")
    if status.st_mode & _OTHERS_WRITE:
        # Closing it now would not say who has been there.
        raise UnsafeError(f"others may write to {folder}; remove it, it will be made anew")
    if status.st_mode & _OTHERS:
        os.fchmod(descriptor, 0o700)
