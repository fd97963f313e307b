"""The file of a base is replaced whole, or stays as it is."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from innkeeper.errors import BusyError, UsageError
from innkeeper.knowledge.files.encoding import base_pieces, pretty
from innkeeper.knowledge.files.parsing import Source
from innkeeper.knowledge.files.scanning import too_much
from innkeeper.knowledge.model.base import Base
from innkeeper.knowledge.model.bounds import MOST_FILE
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.plugins.files import read_file, replace_file

MOST_COPIES: Final = 100
"""Copies of older structures that lie beside one file."""

PATIENCE: Final = 10.0
"""Seconds to wait for another process that writes in the same folder, which takes milliseconds."""

_PREFIX = ".innkeeper-"
_PAUSE = 0.01


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a write.

    Attributes:
        digest: sha256 of the bytes that the file has now, in hexadecimal.
        changed: whether it had others before.
        copy: the file in which what it was before an upgrade is kept, or None.
    """

    digest: str
    changed: bool
    copy: Path | None = None


def write_base(base: Base, file: Path, source: Source | None = None) -> Written:
    """Writes the file of a base: whoever reads meanwhile, or after a crash, finds the old one or the new one, whole.
    Blocks, for a thread.

    Args:
        base: what it shall hold.
        file: of JSON; its folder is made where it is missing.
        source: what was read there, so that an array stays an array, keys stay in their order, and a copy of an older
            structure is kept.

    Raises:
        KnowledgeError: the file is newer than this host, or what it would hold is more than a file may have.
        UsageError: it is a link, or cannot be written.
    """
    if source is not None and source.read_only:
        sentence = f"has schema_version {source.schema_version}, which is newer than this host: it is only read"
        raise KnowledgeError(sentence, source=file.name)
    data = encode_base(base, source)
    before = _before(file)
    digest = hashlib.sha256(data).hexdigest()
    if before == data:
        return Written(digest, False)
    copy = None
    if source is not None and source.upgraded and before is not None and source.kind != "archive":
        copy = keep_copy(file, before, source.schema_version)
    replace(file, data)
    return Written(digest, True, copy)


def encode_base(base: Base, source: Source | None = None) -> bytes:
    """The bytes of the file of a base. Blocks, for a thread.

    Raises:
        KnowledgeError: they are more than a file may have.
    """
    array = source is not None and source.shape == "array" and base.document.keys() <= {"kb_id", "schema_version"}
    at = None if source is None else source.entries_at
    documents = [item.document for item in base.items]
    pieces = base_pieces(None if array else base.document, documents, at)
    data = _joined(pieces, base.info.name)
    problem = too_much(data)
    if problem is not None:
        # Nobody could read it again.
        raise KnowledgeError(f"would as a file have {problem.message.removeprefix('has ')}", source=base.info.name)
    return data


def keep_copy(file: Path, data: bytes, version: str) -> Path:
    """Keeps what a file was before an upgrade in NAME.VERSION.bak.json beside it; the same bytes once.

    Raises:
        UsageError: it cannot be kept, so the file must not be replaced.
    """
    for number in range(1, MOST_COPIES + 1):
        name = f"{file.stem}.{version}.bak{'' if number == 1 else f'.{number}'}.json"
        copy = file.with_name(name)
        if not os.path.lexists(copy):
            replace(copy, data)
            return copy
        with suppress(UsageError):
            if read_file(copy, most=MOST_FILE, label=name, follow=False) == data:
                return copy
    raise UsageError(f"{file.name}: {MOST_COPIES} copies of older structures lie beside it; move them elsewhere")


def write_json(file: Path, value: Any) -> None:
    """Writes a small file of JSON, as `write_base` does.

    Raises:
        UsageError: it is a link, or cannot be written.
    """
    replace(file, (pretty(value) + "\n").encode())


def replace(file: Path, data: bytes) -> None:
    """Replaces a file whole; what is there and is a link, or no regular file, stays.

    Raises:
        UsageError: that is so, or it cannot be written.
    """
    with said(file):
        _regular(file)
        replace_file(file, data, prefix=_PREFIX)
        sync_folder(file.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """While the block runs, nobody else is in such a block for this folder, which is made where it is missing: of two
    that read a file and write it again, neither undoes what the other did. Blocks, for a thread.

    Raises:
        UsageError: it cannot be made or opened.
        BusyError: another process is in one for longer than `PATIENCE`; one that was stopped may be.
    """
    with said(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _wait_for(descriptor, folder.name)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, name: str) -> None:
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= ends:
                raise BusyError(f"another process writes in the folder {name!r}: try again", bound="folder") from None
            time.sleep(_PAUSE)


def sync_folder(folder: Path) -> None:
    """Makes sure that names in a folder outlive a crash.

    Raises:
        OSError: it cannot be.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def said(file: Path) -> Iterator[None]:
    """Makes what the system says of a file a sentence that names it.

    Raises:
        UsageError: instead of OSError.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"{file.name}: cannot be written: {error.strerror}") from None


def _regular(file: Path) -> None:
    try:
        status = os.lstat(file)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode):
        raise UsageError(f"{file.name}: is a link, which is not followed here: write to the file itself")
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{file.name}: is not a regular file")


def _before(file: Path) -> bytes | None:
    if not os.path.lexists(file):
        return None
    _regular(file)
    return read_file(file, most=MOST_FILE, label=file.name, follow=False)


def _joined(pieces: Iterable[bytes], name: str) -> bytes:
    found = bytearray()
    for piece in pieces:
        found += piece
        if len(found) > MOST_FILE:
            raise KnowledgeError(f"would be more than {MOST_FILE:,} bytes as a file: split it", source=name)
    return bytes(found)
