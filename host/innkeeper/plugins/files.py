"""Reading files that may be anything: bounded, regular files only, and every failure a sentence. And replacing one
whole."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from innkeeper.errors import RejectedError, UsageError


def read_file(
    path: str | os.PathLike[str],
    *,
    most: int,
    label: str | None = None,
    follow: bool = True,
    folder: int | None = None,
) -> bytes:
    """The bytes of a regular file.

    Args:
        path: where it is.
        most: most bytes.
        label: its name in messages; by default the path as given.
        follow: whether `path` may be a symbolic link.
        folder: descriptor of the folder that `path` is relative to; None: the working directory.

    Raises:
        UsageError: it is missing, a folder, a device, or not readable.
        RejectedError: it is larger than `most`.
    """
    label = (os.fspath(path) if label is None else label) or "''"
    try:
        # Opening a pipe would wait for its other end.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
        descriptor = os.open(path, flags, dir_fd=folder)
    except (OSError, ValueError) as error:
        raise UsageError(f"{label}: {_reason(error)}") from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{label}: is a folder, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{label}: is not a regular file")
        data = b""
        if status.st_size <= most:
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(most + 1)
    except OSError as error:
        raise UsageError(f"{label}: {_reason(error)}") from None
    finally:
        os.close(descriptor)
    # What was read counts, not only what `fstat` said: the file may have grown meanwhile.
    if (size := max(status.st_size, len(data))) > most:
        raise RejectedError(f"{label}: is {size} bytes, the most is {most}")
    return data


def read_optional(path: Path, *, most: int, label: str, follow: bool = True) -> bytes | None:
    """As `read_file`, but None where there is no such file."""
    if not os.path.lexists(path):
        return None
    return read_file(path, most=most, label=label, follow=follow)


def replace_file(path: Path, data: bytes, *, prefix: str) -> None:
    """Writes a file, or leaves what there is: who reads meanwhile sees the old one or the new one, whole. Its folder is
    made if it is missing, and everybody may read it: the host may run as another user than the operator.

    Args:
        path: the file.
        data: what it shall hold.
        prefix: of the name under which it is written first, in the same folder.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=prefix)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file"
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return "is a symbolic link, which is not followed here"
    if isinstance(error, PermissionError):
        return "cannot be read: permission denied"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return "cannot be read: not a file name"
