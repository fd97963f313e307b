"""One writer at a time in a folder, of all threads and processes."""

from __future__ import annotations

import fcntl
import time
from typing import Final

from innkeeper.server.files.logical import LogicalPath
from innkeeper.server.files.problems import FileError

PATIENCE: Final = 10.0
"""Seconds to wait for somebody else who changes the same folder, which takes milliseconds."""

_PAUSE: Final = 0.005


def lock(folder: int, path: LogicalPath) -> None:
    """Waits until nobody else has the lock of a folder, and takes it; closing the descriptor gives it back. Blocks.

    Args:
        folder: a descriptor that nobody else uses.
        path: of the folder, for messages.

    Raises:
        FileError: "busy": somebody has it for longer than `PATIENCE`; a process that was stopped may.
        OSError: it cannot be locked.
    """
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= ends:
                raise FileError("busy", f"{path}: somebody else changes it: try again") from None
            time.sleep(_PAUSE)
