"""Names that change their places, between folders that are open."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final

from innkeeper.sandbox.wasi.paths import Place
from innkeeper.server.files.logical import LogicalPath
from innkeeper.server.files.problems import FileError

_NO_LINKS: Final = frozenset((errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS))


def move_file(source: int, name: bytes, target: int, new_name: bytes) -> None:
    """Moves a file where nothing is yet, in one step that replaces nothing. Raises OSError.

    Args:
        source, target: descriptors of folders.
        name, new_name: of the file there.
    """
    try:
        os.link(name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Such a disk, or such a file, has no second names: looking first is all that can be done.
        with suppress(FileNotFoundError):
            os.stat(new_name, dir_fd=target, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, "exists") from None
        os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
    else:
        os.unlink(name, dir_fd=source)


def sync(folder: int) -> None:
    """Makes sure that the names of a folder outlive a crash. Raises OSError.

    Args:
        folder: a descriptor, which may be one that only names the folder.
    """
    own = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(own)
    finally:
        os.close(own)


def check_depth(there: Place, source: LogicalPath, deepest: int) -> None:
    """Makes sure that a folder has at most so many folders inside of each other.

    Args:
        there: where the folder is.
        source: its path.
        deepest: names below its own.

    Raises:
        FileError: it has more.
        OSError: it cannot be read.
    """
    base = os.fsdecode(there.name)
    for above, folders, files, _ in os.fwalk(base, dir_fd=there.parent, follow_symlinks=False):
        if (folders or files) and above[len(base) :].count("/") + 1 > deepest:
            raise FileError("name", f"{source}: there would be too many folders inside of each other")
