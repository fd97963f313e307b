"""A copy of a database, as one is made before an upgrade, becomes a home's database again."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from innkeeper.bridge.bridge import FILE
from innkeeper.composition.restoring import locks_of
from innkeeper.composition.staging import ROOM, home_written
from innkeeper.errors import BusyError, RejectedError, UsageError
from innkeeper.plugins.home import STATE
from innkeeper.storage import engines
from innkeeper.storage.backup.snapshot import alone, sound
from innkeeper.storage.faults import translated
from innkeeper.storage.folder import UnsafeError, open_private
from innkeeper.storage.schema import REVISIONS
from innkeeper.storage.upgrade import revision_of

MAGIC: Final = b"SQLite format 3\0"
"""What every database of SQLite begins with."""

_PIECE: Final = 1 << 20
_BESIDE: Final = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class PutBack:
    """What became of a copy.

    Attributes:
        schema: of the database that the home has now.
        newest: the schema to which this version brings it as soon as it is opened.
        size: its bytes.
        aside: the folder to which the database that was there went, or None.
    """

    schema: str
    newest: str
    size: int
    aside: Path | None


def is_database(file: Path) -> bool:
    """Whether a file is a database and no archive (bool). Blocks."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        # Whoever opens it to read it says why not.
        return False
    with open(descriptor, "rb") as opened:
        return stat.S_ISREG(os.fstat(descriptor).st_mode) and opened.read(len(MAGIC)) == MAGIC


def put_back(file: Path, home: Path, *, force: bool = False) -> PutBack:
    """Gives a home a copy as its database, as it is: the version that it is of can open it again, and a newer one
    upgrades it again. All of it or nothing, and nothing else in the home changes. Blocks.

    Args:
        file: the copy, which stays; nobody may have it open.
        home: the home's folder; made where it is missing.
        force: whether a database that is there goes aside; else there must be none.

    Raises:
        RejectedError: it is damaged, another program's, or of a newer version.
        UsageError: there is a database, or the home cannot be written to.
        BusyError: a host or a command uses the home, or the disk is full.
    """
    with ExitStack() as stack:
        stack.enter_context(home_written(home))
        state = home / STATE
        try:
            os.close(open_private(state))
        except UnsafeError as error:
            raise UsageError(f"the database was not put back: {error.reason}") from None
        target = state / FILE
        there = os.path.lexists(target)
        if there and not force:
            raise UsageError(
                f"{home} has a database already, and nothing was changed: --force moves it aside; the rest of the "
                "home stays as it is"
            )
        for lock in locks_of(state):
            stack.callback(lock.release)
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=home, prefix=".innkeeper-restore-")))
        copy = place / FILE
        size = _copied(file, copy)
        sound(copy, file.name)
        schema = _schema(copy, file.name)
        aside = None
        if there:
            with suppress(RejectedError):
                # A damaged one is a reason to be here. Hosts hold a lock, so none has it open.
                alone(target)
            aside = home / f".before-restore-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
            aside.mkdir(mode=0o700)
            # The old one has both names for a moment: there is never none, whenever this ends. What lies beside a
            # damaged one must not be taken for the copy's.
            os.link(target, aside / FILE)
            for beside in [Path(f"{target}{ending}") for ending in _BESIDE]:
                if os.path.lexists(beside):
                    os.rename(beside, aside / beside.name)
        os.replace(copy, target)
        _synced(state)
        return PutBack(schema, REVISIONS[-1], size, aside)


def _copied(file: Path, target: Path) -> int:
    for beside in ("-wal", "-journal"):
        if os.path.lexists(f"{file}{beside}"):
            raise UsageError(
                f"{file.name} is in use, or was left by a process that died: {file.name}{beside} belongs to it"
            )
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{file.name}: {error.strerror}") from None
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    size = 0
    with open(descriptor, "rb") as source, open(os.open(target, flags, 0o600), "wb") as out:
        if os.fstat(descriptor).st_size > shutil.disk_usage(target.parent).free - ROOM:
            raise BusyError("the disk is full: the database was not put back; make room on it", bound="disk")
        while piece := source.read(_PIECE):
            out.write(piece)
            size += len(piece)
        out.flush()
        os.fsync(out.fileno())
    return size


def _schema(copy: Path, name: str) -> str:
    engine = engines.reading_engine(copy)
    try:
        with engine.begin() as connection:
            found = revision_of(connection, name)
    except Exception as error:
        raise translated(error, name) from None
    if found is None:
        raise UsageError(f"{name} is an empty database: there is nothing to put back")
    return found


def _synced(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems know no such thing.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
