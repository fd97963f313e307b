"""Files that a user names: pipes and standard input are welcome, since they are the user's own."""

from __future__ import annotations

import os
import stat
import sys
from typing import BinaryIO

from innkeeper.errors import UsageError


def read_up_to(what: str, path: str, most: int) -> tuple[bytes, int | None]:
    """Reads a file as far as is wanted.

    Args:
        what: the option or thing that it is for, for messages.
        path: its name; "-" is standard input.
        most: bytes that are wanted.

    Returns:
        At most one byte more than `most`, and how many there are (int), or None where that cannot be known.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        if path == "-":
            if sys.stdin is None:
                raise UsageError(f"{what} -: standard input is closed")
            return _read(sys.stdin.buffer, most)
        with open(path, "rb") as file:
            return _read(file, most)
    except OSError as error:
        raise UsageError(f"{what} {path or repr(path)}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{what} {path!r}: not a file name") from None


def _read(file: BinaryIO, most: int) -> tuple[bytes, int | None]:
    data = file.read(most + 1)
    if len(data) <= most:
        return data, len(data)
    status = os.fstat(file.fileno())
    return data, max(status.st_size, len(data)) if stat.S_ISREG(status.st_mode) else None
