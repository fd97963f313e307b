"""Regular files only: what else a name may lead to waits, never ends, or is a device."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO


def open_regular(descriptor: int) -> BinaryIO | None:
    """The file behind a descriptor, to be read; None for what is no regular file.

    Args:
        descriptor: opened with O_NONBLOCK, since a pipe would wait for its other end; it is closed with the file, or
            at once where there is none.
    """
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return open(descriptor, "rb")
    os.close(descriptor)
    return None
