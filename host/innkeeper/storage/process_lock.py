"""A lock that one process holds, or several share, and that a process which dies lets go of, however it dies."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from innkeeper.errors import UsageError
from innkeeper.storage.folder import UnsafeError, open_private


class ProcessLock:
    """Its methods block for as long as the file system takes: for a thread."""

    def __init__(self, path: Path) -> None:
        """Args:
        path: an absolute path of a file that is nothing but the lock; made where it is missing, in a folder that is
            ours alone.
        """
        self._path = path
        self._descriptor: int | None = None

    def take(self, *, shared: bool = False) -> bool:
        """Takes it if nobody has it (bool).

        Args:
            shared: takes it also where others have it, who share it too.

        Raises:
            UsageError: folder or file is not ours alone, or cannot be made.
        """
        name = self._path.name
        if self._descriptor is not None:
            return True
        try:
            folder = open_private(self._path.parent)
        except UnsafeError as error:
            raise UsageError(f"the lock {name!r} is not used: {error.reason}") from None
        except OSError as error:
            raise UsageError(f"the folder of the lock {name!r} cannot be made or opened: {error.strerror}") from None
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, 0o600, dir_fd=folder)
        except OSError as error:
            raise UsageError(f"the lock {name!r} cannot be made or opened: {error.strerror}") from None
        finally:
            os.close(folder)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR):
                return False
            raise UsageError(f"the lock {name!r} cannot be taken: {error.strerror}") from None
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Lets go of it; nothing where it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
