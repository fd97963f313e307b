"""A guest's standard output and error, in a worker: files without a name, read when a call is over."""

from __future__ import annotations

import os
import tempfile

_LEVELS = {1: "info", 2: "error"}
"""By the number of the stream."""


class Streams:
    """Takes the place of this process's own output and error, to which extism hands its guests' through."""

    def __init__(self) -> None:
        for file in _LEVELS:
            if hasattr(os, "memfd_create"):
                made = os.memfd_create("output")
                os.dup2(made, file)
                os.close(made)
            else:
                with tempfile.TemporaryFile() as other:
                    os.dup2(other.fileno(), file)

    def forget(self) -> None:
        """What was written so far belongs to nobody."""
        for file in _LEVELS:
            os.ftruncate(file, 0)
            os.lseek(file, 0, os.SEEK_SET)

    def read(self, most: int) -> list[tuple[str, bytes, int]]:
        """Level, the first bytes, and how many more there are, of each stream on which something was written."""
        found = []
        for file, level in _LEVELS.items():
            size = os.fstat(file).st_size
            if size:
                data = os.pread(file, min(size, most), 0)
                found.append((level, data, size - len(data)))
        return found
