"""ZIP archives that somebody else made: looked over as a whole before anything is unpacked, and counted while it is.

What is refused: names that lead elsewhere or that two systems read differently, links, encryption, methods other than
deflate, more files or bytes than the bounds, what shrinks too well, and members that lie on top of each other.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from innkeeper.errors import UsageError
from innkeeper.knowledge.files.bounds import (
    MOST_ARCHIVE,
    MOST_DIRECTORY,
    MOST_MEDIUM,
    MOST_MEMBERS,
    MOST_RATIO,
    SMALL,
)
from innkeeper.knowledge.files.names import NAMES
from innkeeper.knowledge.files.regular import open_regular
from innkeeper.knowledge.files.relative import folded, why_not
from innkeeper.knowledge.model.bounds import MOST_FILE
from innkeeper.knowledge.model.problems import KnowledgeError, Problem
from innkeeper.plugins.tables import visible

PIECE: Final = 64 << 10
"""Bytes that are unpacked at a time."""

_IGNORED = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))
_ENCRYPTED = 0x1 | 0x40
_PATCHED = 0x20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# All that the library raises for what a file says of itself.
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, EOFError, ValueError,
    OverflowError, UnicodeError, LookupError, OSError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an archive may have.

    Attributes:
        size: bytes of the archive.
        total: bytes of all members, unpacked.
        member: bytes of one member, unpacked.
        members: how many there are.
    """

    size: int = MOST_ARCHIVE
    total: int = MOST_ARCHIVE
    member: int = max(MOST_MEDIUM, MOST_FILE)
    members: int = MOST_MEMBERS


class Archive:
    """An archive that was looked over.

    Attributes:
        name: of the file, for messages.
        sizes: bytes of each member as the archive says, by name, in the order of the archive; no folders.
    """

    def __init__(self, file: zipfile.ZipFile, name: str, members: dict[str, zipfile.ZipInfo], bounds: Bounds) -> None:
        self.name = name
        self.sizes = {member: info.file_size for member, info in members.items()}
        self._file = file
        self._members = members
        self._left = bounds.total
        self._member = bounds.member

    def pieces(self, member: str, *, most: int | None = None) -> Iterator[bytes]:
        """A member's bytes, unpacked a piece at a time; what comes out is counted, whatever the archive says.

        Raises:
            KnowledgeError: it is broken, or larger than a bound.
        """
        allowed = self._member if most is None else min(most, self._member)
        size = 0
        try:
            with self._file.open(self._members[member]) as opened:
                while piece := opened.read(PIECE):
                    size += len(piece)
                    self._left -= len(piece)
                    if size > allowed:
                        raise self._wrong(member, f"is more than {allowed:,} bytes")
                    if self._left < 0:
                        raise self._wrong(member, "makes the whole too large")
                    yield piece
            if size != self.sizes[member]:
                raise self._wrong(member, "is broken: it has not as many bytes as the archive says")
        except _BROKEN as error:
            raise self._wrong(member, f"is broken: {str(error)[:100]}") from None

    def read(self, member: str, *, most: int) -> bytes:
        """A member's bytes, whole.

        Raises:
            KnowledgeError: as `pieces`.
        """
        return b"".join(self.pieces(member, most=most))

    def _wrong(self, member: str, sentence: str) -> KnowledgeError:
        return KnowledgeError(Problem(member, sentence), source=self.name)


@contextmanager
def open_archive(source: Path | bytes, name: str, bounds: Bounds | None = None) -> Iterator[Archive]:
    """An archive for the time of a `with`, whose members were all looked at. Blocks, for a thread.

    Args:
        source: the file, or its bytes; something else may stand before the archive in it.
        name: for messages.
        bounds: what it may have.

    Raises:
        KnowledgeError: it is none, or something of it is refused; every member that is, at once.
        UsageError: the file cannot be read.
    """
    bounds = bounds or Bounds()
    with _opened(source, name) as file:
        size = file.seek(0, os.SEEK_END)
        if size > bounds.size:
            raise KnowledgeError(f"is {size:,} bytes, the most is {bounds.size:,}", source=name)
        try:
            opened = zipfile.ZipFile(_Careful(file))
        except _TooLargeError:
            sentence = f"has a table of contents of more than {MOST_DIRECTORY:,} bytes"
            raise KnowledgeError(sentence, source=name) from None
        except _BROKEN as error:
            raise KnowledgeError(f"is no ZIP archive that can be read: {str(error)[:100]}", source=name) from None
        with opened:
            yield Archive(opened, name, _looked_over(opened, name, size, bounds), bounds)


def read_member(path: Path) -> tuple[str, bytes]:
    """The file of JSON in the archive of a base: its name there, and its bytes.

    Raises:
        KnowledgeError, UsageError: as `open_archive`; or it has no such file, or two.
    """
    with open_archive(path, path.name) as archive:
        member = find_member(archive)
        return member, archive.read(member, most=MOST_FILE)


def find_member(archive: Archive) -> str:
    """The name of the file of JSON in the archive of a base: at the top, or in the one folder there.

    Raises:
        KnowledgeError: there is none, or there are two.
    """
    found = [name for name in archive.sizes if name.rpartition("/")[2] in NAMES and name.count("/") <= 1]
    if len(found) == 1:
        return found[0]
    if found:
        raise KnowledgeError(f"has {' and '.join(found[:5])}: a base is alone in its archive", source=archive.name)
    raise KnowledgeError(_without(archive), source=archive.name)


def _without(archive: Archive) -> str:
    if "card.json" in archive.sizes:
        return "is a character card (CHARX), and no knowledge base: `innkeeper card import` reads it"
    if "word/document.xml" in archive.sizes or "mimetype" in archive.sizes:
        return "is a document of an office program or an e-book: save its text, and `innkeeper kb import` reads that"
    return f"has neither {' nor '.join(NAMES)}, so it is no knowledge base"


def _looked_over(opened: zipfile.ZipFile, name: str, size: int, bounds: Bounds) -> dict[str, zipfile.ZipInfo]:
    infos = opened.infolist()
    if len(infos) > bounds.members:
        raise KnowledgeError(f"has {len(infos):,} files, the most is {bounds.members:,}", source=name)
    problems: list[Problem] = []
    found: dict[str, zipfile.ZipInfo] = {}
    taken: dict[str, str] = {}
    for info in infos:
        sentence = _why_not(info, bounds)
        path = info.filename.rstrip("/")
        if not sentence and not info.is_dir():
            other = taken.setdefault(folded(path), path)
            if other is not path:
                sentence = "is there twice" if other == path else f"is the same file as {other!r} on some systems"
        if sentence:
            problems.append(Problem(visible(info.orig_filename, 200) or "a file without a name", sentence))
        elif not info.is_dir() and not _ignored(path):
            found[path] = info
    problems += _files_as_folders(found, taken)
    total = sum(info.file_size for info in infos)
    if total > bounds.total:
        problems.append(Problem("", f"holds {total:,} bytes, the most is {bounds.total:,}"))
    if sum(info.compress_size for info in infos) > size:
        problems.append(Problem("", "has files that lie on top of each other"))
    if problems:
        raise KnowledgeError(problems, source=name)
    return found


def _why_not(info: zipfile.ZipInfo, bounds: Bounds) -> str:
    # The library cuts a name at a NUL.
    if info.orig_filename != info.filename:
        return "has a character in its name that cannot be seen"
    sentence = why_not(info.filename.removesuffix("/"))
    if sentence:
        return sentence
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link, or no regular file"
    if (kind == stat.S_IFDIR) != info.is_dir() and kind:
        return "is a file and a folder at once"
    if info.is_dir():
        return "is a folder with content" if info.file_size else ""
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted: pack it without a password"
    if info.compress_type not in _METHODS or info.flag_bits & _PATCHED:
        return "is packed in a way that is not read here: pack it with deflate"
    if info.file_size > bounds.member:
        return f"is {info.file_size:,} bytes, the most is {bounds.member:,}"
    if info.file_size > SMALL and info.file_size > MOST_RATIO * info.compress_size:
        return f"is more than {MOST_RATIO} times larger than it is packed"
    return ""


def _files_as_folders(found: dict[str, Any], taken: dict[str, str]) -> list[Problem]:
    """Files below which others lie."""
    wrong: list[Problem] = []
    for path in found:
        parts = folded(path).split("/")
        above = ("/".join(parts[:count]) for count in range(1, len(parts)))
        wrong += [Problem(path, f"lies below the file {taken[each]!r}") for each in above if each in taken]
    return wrong


def _ignored(path: str) -> bool:
    return path.startswith("__MACOSX/") or path.rpartition("/")[2] in _IGNORED


class _TooLargeError(Exception):
    """A table of contents is too large to be read."""


class _Careful(io.BufferedIOBase):
    """A file of which nobody reads more at once than a table of contents may have: the library reads that whole,
    however large the archive says it is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = MOST_DIRECTORY + 1
        if size > MOST_DIRECTORY:
            data = self._file.read(MOST_DIRECTORY + 1)
            if len(data) > MOST_DIRECTORY:
                raise _TooLargeError
            return data
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[IO[bytes]]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from None
    file = open_regular(descriptor)
    if file is None:
        raise UsageError(f"{name}: is not a regular file")
    with file:
        yield file
