"""A backup that is read whole, and looked over, into a folder beside the home's own files."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from innkeeper.bridge.bridge import FILE
from innkeeper.composition.backing_up import DATABASE, FOLDERS, MASTER_KEY, SECRETS
from innkeeper.errors import BusyError, RejectedError, UsageError
from innkeeper.plugins.configuration import FILE_NAME
from innkeeper.plugins.home import STATE
from innkeeper.printable import printable
from innkeeper.storage.backup.reading import Archive, Bounds, open_archive
from innkeeper.storage.backup.snapshot import sound
from innkeeper.storage.folder import make_folders

ROOM: Final = 64 << 20
"""Bytes that stay free on the disk, whatever an archive would unpack to."""

TOPS: Final = frozenset({*FOLDERS, STATE, FILE_NAME, SECRETS})
"""What lies at the top of a home that is its own."""

_EVERY = 1 << 26


@dataclass(slots=True)
class Restored:
    """What became of a restore.

    Attributes:
        files: how many files the home got.
        bytes: how many they have.
        at: when the backup was made, seconds since 1970, or None.
        database: "sqlite", "postgresql" (which is not in a backup) or None.
        schema: schema of the database in the backup, and as it is now, or None.
        aside: the folder to which what was there before went, or None.
        secrets: whether secrets were restored.
    """

    files: int = 0
    bytes: int = 0
    at: float | None = None
    database: str | None = None
    schema: tuple[str, str] | None = None
    aside: Path | None = None
    secrets: bool = False


@dataclass(frozen=True, slots=True)
class Staged:
    """A backup that was read whole, beside the home's own files.

    Attributes:
        folder: in which it lies.
        tops: names in it that the home gets.
        found: what is known so far.
    """

    folder: Path
    tops: tuple[str, ...]
    found: Restored


@contextmanager
def staged(
    file: Path,
    home: Path,
    *,
    secrets: bool = False,
    bounds: Bounds | None = None,
    said: Callable[[int], None] = lambda _: None,
) -> Iterator[Staged]:
    """Reads a backup into a folder of the home that goes away at the end. Nothing else is touched. Blocks.

    Args:
        file: the backup.
        home: the home's folder; made where it is missing.
        secrets: whether its secrets are wanted.
        bounds: what it may have.
        said: called now and then with the bytes that were read.

    Raises:
        RejectedError: it is no backup, broken, or has what no backup has.
        UsageError: it cannot be read, or the home cannot be written to.
        BusyError: the disk is full.
    """
    with ExitStack() as stack:
        opened = stack.enter_context(_opened(file))
        stack.enter_context(home_written(home))
        make_folders(home)
        name = stack.enter_context(tempfile.TemporaryDirectory(dir=home, prefix=".innkeeper-restore-"))
        # Reached by no name that anybody else could have put a link at.
        folder = Path(name)
        archive = open_archive(opened, bounds)
        found = Restored()
        _unpack(archive, folder, found, secrets, said)
        at, database, schema = (archive.said.get(key) for key in ("at", "database", "schema"))
        found.at = float(at) if isinstance(at, int) and not isinstance(at, bool) and 0 <= at < 1 << 40 else None
        found.database = database if database in ("sqlite", "postgresql") else None
        if os.path.lexists(folder / DATABASE):
            sound(folder / DATABASE, FILE)
            found.schema = (printable(str(schema), 40), "")
        yield Staged(folder, tuple(sorted(os.listdir(folder))), found)


def _unpack(archive: Archive, folder: Path, found: Restored, secrets: bool, said: Callable[[int], None]) -> None:
    since = _EVERY
    for name, pieces in archive.members():
        top = name.split("/", 1)[0]
        single = top in (FILE_NAME, SECRETS)
        if top not in TOPS or single != ("/" not in name):
            raise RejectedError(f"the backup has {printable(name, 100)!r}, which is no part of a home")
        if top == STATE and name != DATABASE and (name.startswith(f"{DATABASE}-") or name.endswith(".lock")):
            raise RejectedError(f"the backup has {printable(name, 100)!r}, which belongs to a host that runs")
        if name in (SECRETS, MASTER_KEY) and not secrets:
            for _ in pieces:
                pass
            continue
        private = top in (STATE, SECRETS)
        with _made(folder, name, private) as out:
            for piece in pieces:
                since += len(piece)
                if since >= _EVERY:
                    since = 0
                    _room(folder)
                    said(found.bytes)
                out.write(piece)
                found.bytes += len(piece)
        found.files += 1
        found.secrets = found.secrets or name in (SECRETS, MASTER_KEY)


@contextmanager
def _made(folder: Path, name: str, private: bool) -> Iterator[IO[bytes]]:
    *above, last = name.split("/")
    for part in above:
        folder = folder / part
        try:
            folder.mkdir(mode=0o700 if private else 0o755)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(folder).st_mode):
                raise RejectedError(f"the backup has {printable(name, 100)!r} below what is a file in it") from None
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(folder / last, flags, 0o600 if private else 0o644)
    except FileExistsError:
        # Also where this disk takes two names for one.
        raise RejectedError(f"the backup has {printable(name, 100)!r} twice, or as a folder too") from None
    with open(descriptor, "wb") as out:
        yield out
        out.flush()
        os.fsync(descriptor)


def _room(folder: Path) -> None:
    if shutil.disk_usage(folder).free < ROOM:
        raise BusyError("the disk is full: the backup was not restored; make room on it", bound="disk")


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{file.name}: {error.strerror}") from None
    with open(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError(f"{file.name}: is not a regular file")
        yield opened


@contextmanager
def home_written(home: Path) -> Iterator[None]:
    """Makes what the system says of writing to a home a sentence.

    Raises:
        BusyError: the disk is full.
        UsageError: it cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BusyError("the disk is full: the backup was not restored; make room on it", bound="disk") from None
        raise UsageError(f"{home}: cannot be written to: {error.strerror}; nothing was restored") from None
