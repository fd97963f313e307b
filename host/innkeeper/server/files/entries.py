"""What lies on the disk under a name."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from innkeeper.server.files.names import OWN


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies at a path.

    Attributes:
        name: as it is on the disk; what is no UTF-8 has U+FFFD there.
        kind: "file", "directory", "link", or "other": a device, a pipe, a socket.
        size: bytes of a file.
        modified: nanoseconds since 1970.
        stamp: changes with the file (str), as long as it is replaced and not written into.
    """

    name: str
    kind: str
    size: int
    modified: int
    stamp: str


def entry_of(name: str, status: os.stat_result) -> Entry:
    """What the system says of a file, as an Entry."""
    kind = "other"
    for test, found in ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "link")):
        if test(status.st_mode):
            kind = found
    stamp = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
    return Entry(shown_name(name), kind, status.st_size if kind == "file" else 0, status.st_mtime_ns, stamp)


def shown_name(name: str) -> str:
    """A name of the disk as text (str)."""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_own(name: str) -> bool:
    """Whether a name is one of the server's own (bool)."""
    return name.startswith(".") and name.casefold().startswith(OWN)
