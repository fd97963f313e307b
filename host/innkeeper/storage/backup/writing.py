"""Writes an archive: a first member that says what it is, the files, and a last one with the digest of each."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final

from innkeeper.storage.backup.header import BLOCK, padded, write_header

FIRST: Final = "innkeeper-backup.json"
LAST: Final = "SHA256SUMS"
"""As `sha256sum -c` reads it, for whoever unpacks an archive by hand."""
FORMAT: Final = 1

PIECE: Final = 1 << 20
"""Bytes that are copied at a time."""

_LEVEL = 3
_IN_MEMORY = 16 << 20


class ArchiveWriter:
    """Takes files one after another.

    Attributes:
        files: how many there are so far, the first and the last member apart.
        bytes: how many they have.
    """

    def __init__(self, out: gzip.GzipFile) -> None:
        self._out = out
        self._digests: dict[str, str] = {}
        self.files = 0
        self.bytes = 0

    def add(self, name: str, source: IO[bytes], at: float) -> None:
        """Adds what can be read of a file, as much as it is.

        Args:
            name: of the member, which `names.why_not` finds nothing wrong with; each once.
            source: the file, which somebody else may change meanwhile.
            at: when it was changed, seconds since 1970.
        """
        # The size stands before the bytes, so it has to be known first: what grows meanwhile is no whole file.
        with SpooledTemporaryFile(_IN_MEMORY) as spool:
            digest, size = hashlib.sha256(), 0
            while piece := source.read(PIECE):
                digest.update(piece)
                size += len(piece)
                spool.write(piece)
            spool.seek(0)
            self._digests[name] = digest.hexdigest()
            self._out.write(write_header(name, size, int(at)))
            while piece := spool.read(PIECE):
                self._out.write(piece)
            self._out.write(bytes(-size % BLOCK))
        self.files += 1
        self.bytes += size

    def _begin(self, value: object) -> None:
        data = (json.dumps(value, indent=1) + "\n").encode()
        self._out.write(write_header(FIRST, len(data), int(time.time())) + padded(data))

    def _end(self) -> None:
        data = "".join(f"{digest}  {name}\n" for name, digest in self._digests.items()).encode()
        self._out.write(write_header(LAST, len(data), int(time.time())) + padded(data))
        self._out.write(bytes(2 * BLOCK))


@contextmanager
def writing(out: IO[bytes], said: Mapping[str, Any]) -> Iterator[ArchiveWriter]:
    """An archive (.tar.gz) for the time of a `with`; without an error, it is whole at its end.

    Args:
        out: gets its bytes.
        said: what the first member says beside the format: JSON data.
    """
    # Without a name and a time of its own, which would tell where it was made.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=out, mtime=0) as packed:
        writer = ArchiveWriter(packed)
        writer._begin({"format": FORMAT, **said})
        yield writer
        writer._end()
