"""Reads an archive that anybody may have made: members one after another, each counted, named and digested before
anything is believed."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final

from innkeeper.errors import RejectedError
from innkeeper.printable import printable
from innkeeper.storage.backup.header import BLOCK, MOST_NAME, Header, HeaderError, read_extended, read_header
from innkeeper.storage.backup.names import why_not
from innkeeper.storage.backup.writing import FIRST, FORMAT, LAST, PIECE

_MOST_FIRST: Final = 64 << 10
_MOST_LINE = 64 + 2 + MOST_NAME
_MOST_END: Final = 1 << 20
"""Zeros that may stand behind an archive: programs fill up to some multiple."""

_BROKEN = (OSError, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an archive may have.

    Attributes:
        files: how many.
        total: bytes of all of them, unpacked.
    """

    files: int = 200_000
    total: int = 256 << 30


@dataclass(slots=True)
class Archive:
    """An archive while it is read.

    Attributes:
        said: what its first member says.
        found: digest of each file that was read, by name.
    """

    said: Mapping[str, Any]
    _source: _Counted
    _bounds: Bounds
    found: dict[str, str] = field(default_factory=dict)

    def members(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Name and bytes of each file, in order; the bytes of one must be read before the next. At the end of
        the last one all digests have been compared.

        Raises:
            RejectedError: it is broken, beyond a bound, has what no backup has, or is not what was written.
        """
        total = 0
        while (header := _next(self._source)) is not None:
            if header.name == LAST:
                self._compare(header)
                self._source.end()
                return
            if problem := why_not(header.name):
                raise _wrong(f"has the name {_shown(header.name)}, which {problem}")
            if header.name in self.found or header.name == FIRST:
                raise _wrong(f"has {_shown(header.name)} twice")
            if len(self.found) >= self._bounds.files:
                raise _wrong(f"has more than {self._bounds.files:,} files")
            total += header.size
            if total > self._bounds.total:
                raise _wrong(f"has more than {self._bounds.total:,} bytes when it is unpacked")
            yield header.name, self._bytes(header)
            if header.name not in self.found:
                raise AssertionError("the bytes of each member are read before the next")
        raise _wrong("ends without its list of digests: it is not whole")

    def _bytes(self, header: Header) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for piece in _pieces(self._source, header.size):
            digest.update(piece)
            yield piece
        self.found[header.name] = digest.hexdigest()

    def _compare(self, header: Header) -> None:
        """Reads the list of digests line by line: each has to be that of a file which was read, so it cannot be
        longer than these."""
        left = dict(self.found)
        rest = b""
        for piece in _pieces(self._source, header.size):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                name = line[66:].decode("utf-8", "replace")
                if line[64:66] != b"  " or left.pop(name, "").encode() != line[:64]:
                    raise _wrong(f"has other bytes in {_shown(name)} than its list of digests says, or twice")
            if len(rest) > _MOST_LINE:
                raise _wrong("has a list of digests that is none")
        if rest or left:
            name = next(iter(left), "")
            raise _wrong(f"has a list of digests that lacks {_shown(name)}" if left else "has a broken list of digests")


def open_archive(file: IO[bytes], bounds: Bounds | None = None) -> Archive:
    """Begins to read an archive.

    Args:
        file: its bytes.
        bounds: what it may have.

    Raises:
        RejectedError: it is no backup, or one of a format that is not known here.
    """
    source = _Counted(gzip.GzipFile(fileobj=file, mode="rb"))
    header = _next(source)
    if header is None or header.name != FIRST:
        raise _wrong("does not begin as a backup of Innkeeper")
    said = _json(source, header, _MOST_FIRST)
    found = said.get("format") if isinstance(said, dict) else None
    # JSON's true is no number.
    if not isinstance(said, dict) or not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise _wrong("says no format")
    if found > FORMAT:
        raise _wrong("was made by a newer version: restore it with that one")
    return Archive(said, source, bounds or Bounds())


class _Counted:
    """Exactly as many bytes as are wanted, or an error."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file

    def take(self, size: int) -> bytes:
        data = self._read(size)
        if len(data) != size:
            raise _wrong("ends in the midst: it is not whole")
        return data

    def end(self) -> None:
        """Reads to the end, where the checksum of the whole is; nothing but zeros may come."""
        left = _MOST_END
        while data := self._read(PIECE):
            left -= len(data)
            if left < 0 or any(data):
                raise _wrong("has something behind its list of digests")

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except _BROKEN:
            raise _wrong("cannot be unpacked: it is broken, or no .tar.gz") from None


def _next(source: _Counted) -> Header | None:
    name: str | None = None
    size: int | None = None
    try:
        header = read_header(source.take(BLOCK))
        if header is not None and header.extended:
            data = b"".join(_pieces(source, header.size))
            name, size = read_extended(data)
            header = read_header(source.take(BLOCK))
            if header is None or header.extended:
                raise HeaderError("is broken: nothing follows an extended header")
    except HeaderError as error:
        raise _wrong(str(error)) from None
    if header is None:
        return None
    return Header(header.name if name is None else name, header.size if size is None else size)


def _pieces(source: _Counted, size: int) -> Iterator[bytes]:
    left = size
    while left:
        piece = source.take(min(left, PIECE))
        left -= len(piece)
        yield piece
    source.take(-size % BLOCK)


def _json(source: _Counted, header: Header, most: int) -> object:
    if header.size > most:
        raise _wrong(f"has {header.size:,} bytes in {_shown(header.name)}: the most is {most:,}")
    data = b"".join(_pieces(source, header.size))
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError):
        raise _wrong(f"has no JSON in {_shown(header.name)}") from None
    return value


def _shown(name: str) -> str:
    return repr(printable(name, 100))


def _wrong(sentence: str) -> RejectedError:
    return RejectedError(f"the backup {sentence}")
