"""What keeps somebody from a file: one error, with a reason that a route makes a status of."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from innkeeper.errors import UsageError
from innkeeper.sandbox.wasi.errors import Errno, WasiError

Reason = Literal["name", "missing", "taken", "unfit", "stale", "denied", "large", "full", "broken", "busy"]

STATUS: Final[dict[Reason, int]] = {
    "name": 400,
    "missing": 404,
    "taken": 409,
    "unfit": 409,
    "stale": 412,
    "denied": 403,
    "large": 413,
    "full": 413,
    "broken": 422,
    "busy": 503,
}
"""The status of HTTP for each reason. A full quota is what the client sent too much of, so no error of the server."""


class FileError(UsageError):
    """Something about files that cannot be done.

    Attributes:
        reason: "name": no name that can be used here; "missing": there is nothing; "taken": something is there already;
            "unfit": what is there is of another kind; "stale": it was changed meanwhile; "denied": nobody may;
            "large": more than one file may have; "full": more than all files may have; "broken": what the file holds
            cannot be used; "busy": later perhaps.
        details: plain data beside the sentence, or None.
    """

    def __init__(self, reason: Reason, message: str, details: object = None) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.details = details

    @property
    def status(self) -> int:
        """Of HTTP (int)."""
        return STATUS[self.reason]


_SYSTEM: Final[dict[int, tuple[Reason, str]]] = {
    errno.ENOENT: ("missing", "there is no such file or folder"),
    errno.ENOTDIR: ("unfit", "a file stands where a folder would have to be"),
    errno.EISDIR: ("unfit", "it is a folder"),
    errno.EEXIST: ("taken", "something of this name is there already"),
    errno.ENOTEMPTY: ("taken", "something of this name is there already"),
    errno.ELOOP: ("denied", "a link is not followed here"),
    errno.EINVAL: ("unfit", "a folder cannot be moved into itself"),
    errno.ENAMETOOLONG: ("name", "the name is too long for this disk"),
    errno.EXDEV: ("unfit", "it lies on another disk"),
    errno.EACCES: ("denied", "the server may not do this on its disk"),
    errno.EPERM: ("denied", "the server may not do this on its disk"),
    errno.EROFS: ("denied", "the disk of the server is only read"),
    errno.ENOSPC: ("busy", "the disk of the server is full"),
    errno.EDQUOT: ("busy", "the disk of the server is full"),
    errno.EMFILE: ("busy", "the server has too many files open"),
    errno.ENFILE: ("busy", "the server has too many files open"),
}

_GUESTS: Final[dict[Errno, tuple[Reason, str]]] = {
    Errno.LOOP: ("denied", "a link is not followed here"),
    Errno.NOTDIR: ("unfit", "a file stands where a folder would have to be"),
    Errno.NAMETOOLONG: ("name", "there are too many folders inside of each other"),
    Errno.DQUOT: ("full", "there is no room left: delete something, and empty the recycle bin"),
    Errno.NFILE: ("busy", "the server has too many files open"),
}


@contextmanager
def said(label: object) -> Iterator[None]:
    """Makes what the system says a sentence that names a logical path, and never one of the host.

    Raises:
        FileError: instead of OSError and WasiError.
    """
    try:
        yield
    except (OSError, WasiError) as error:
        raise problem(error, label) from None
    except RecursionError:
        raise FileError("unfit", f"{label}: there are too many folders inside of each other") from None


def problem(error: OSError | WasiError, label: object) -> FileError:
    """What such an error means for whoever asked."""
    if isinstance(error, WasiError):
        found = _GUESTS.get(error.errno, ("denied", "this path leads nowhere"))
    else:
        found = _SYSTEM.get(error.errno or 0, ("busy", "the disk of the server does not do this now"))
    return FileError(found[0], f"{label}: {found[1]}")
