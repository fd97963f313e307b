"""Did another process write to the database? Asked often, so without asking the database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_GRAIN: Final = 0.05
"""Seconds within which a file system may give two writes the same time."""

_Stamp = tuple[tuple[int, int], ...]


class Freshness:
    """Looks at the files of a database. A few microseconds: the files lie on this machine, as SQLite wants it."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        """Args:
        path: the database; None where a server keeps it, which has to be asked.
        clock: seconds since 1970, as file systems have them.
        """
        self._paths = () if path is None else (str(path.with_name(f"{path.name}-wal")), str(path))
        self._clock = clock

    def stamp(self) -> _Stamp | None:
        """Something that is equal as long as nobody wrote; None where a write may just be under way, so that nobody
        can tell, and where only a server knows."""
        if not self._paths:
            return None
        found = []
        newest = 0.0
        for path in self._paths:
            try:
                status = os.stat(path)
            except OSError:
                found.append((0, 0))
                continue
            found.append((status.st_mtime_ns, status.st_size))
            newest = max(newest, status.st_mtime)
        return None if abs(self._clock() - newest) < _GRAIN else tuple(found)
