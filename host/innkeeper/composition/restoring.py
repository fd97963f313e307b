"""A backup becomes a home again: read whole and looked over aside, then put in place."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from innkeeper.bridge.bridge import FILE
from innkeeper.composition.backing_up import DATABASE, FOLDERS, SECRETS
from innkeeper.errors import BusyError, RejectedError, UsageError
from innkeeper.plugins.configuration import FILE_NAME
from innkeeper.plugins.home import STATE
from innkeeper.printable import printable
from innkeeper.storage.backup.reading import Archive, Bounds, open_archive
from innkeeper.storage.backup.snapshot import alone, sound
from innkeeper.storage.folder import make_folders
from innkeeper.storage.process_lock import ProcessLock

ROOM: Final = 64 << 20
"""Bytes that stay free on the disk, whatever an archive would unpack to."""

_TOPS = frozenset({*FOLDERS, STATE, FILE_NAME, SECRETS})
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
        stack.enter_context(_writing(home))
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


def put_in_place(made: Staged, home: Path, *, force: bool = False) -> Restored:
    """Gives the home what was staged; all of it, or nothing. Blocks.

    Args:
        made: the backup; its database has been brought to this version's schema.
        home: the home's folder.
        force: whether what is there goes aside; else there must be nothing.

    Raises:
        UsageError: there is something, or the home cannot be written to.
        BusyError: a host or a command uses the home.
    """
    found = made.found
    with ExitStack() as stack:
        stack.enter_context(_writing(home))
        there = [name for name in sorted(_TOPS - {SECRETS} | set(made.tops)) if _holds_something(home / name)]
        if there and not force:
            raise UsageError(
                f"{home} has {', '.join(there)} already, and nothing was changed: restore into an empty folder, or "
                "with --force, which moves these aside"
            )
        for lock in _locks(home / STATE):
            stack.callback(lock.release)
        if os.path.lexists(home / DATABASE):
            alone(home / DATABASE)
        aside = home / f".before-restore-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        _move(home, made, there, aside)
        found.aside = aside if there else None
    return found


def _unpack(archive: Archive, folder: Path, found: Restored, secrets: bool, said: Callable[[int], None]) -> None:
    since = _EVERY
    for name, pieces in archive.members():
        top = name.split("/", 1)[0]
        single = top in (FILE_NAME, SECRETS)
        if top not in _TOPS or single != ("/" not in name):
            raise RejectedError(f"the backup has {printable(name, 100)!r}, which is no part of a home")
        if top == STATE and name != DATABASE and (name.startswith(f"{DATABASE}-") or name.endswith(".lock")):
            raise RejectedError(f"the backup has {printable(name, 100)!r}, which belongs to a host that runs")
        if name == SECRETS and not secrets:
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
        found.secrets = found.secrets or name == SECRETS


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


def _holds_something(path: Path) -> bool:
    if not os.path.lexists(path):
        return False
    try:
        with os.scandir(path) as items:
            # Locks are made by whoever looks, also by a command that found nothing.
            return any(not item.name.endswith(".lock") for item in items)
    except NotADirectoryError:
        return True


def _locks(state: Path) -> list[ProcessLock]:
    """The locks of a home, held until they are let go of.

    Raises:
        BusyError: somebody has one.
    """
    held: list[ProcessLock] = []
    try:
        names = sorted(name for name in os.listdir(state) if name.endswith(".lock"))
    except (FileNotFoundError, NotADirectoryError):
        return held
    for name in names:
        lock = ProcessLock((state / name).absolute())
        if not lock.take():
            for each in held:
                each.release()
            raise BusyError(f"a host uses this home ({STATE}/{name}): end it, and repeat this", bound="database")
        held.append(lock)
    return held


def _move(home: Path, made: Staged, there: list[str], aside: Path) -> None:
    moved: list[tuple[Path, Path]] = []

    def move(source: Path, target: Path) -> None:
        os.rename(source, target)
        moved.append((source, target))

    try:
        if there:
            aside.mkdir(mode=0o700)
        for name in there:
            move(home / name, aside / name)
        for name in made.tops:
            if (home / name).is_dir() and not (home / name).is_symlink():
                # Empty, or nothing but locks.
                shutil.rmtree(home / name)
            move(made.folder / name, home / name)
    except BaseException:
        for source, target in reversed(moved):
            os.rename(target, source)
        with suppress(OSError):
            aside.rmdir()
        raise


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
def _writing(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BusyError("the disk is full: the backup was not restored; make room on it", bound="disk") from None
        raise UsageError(f"{home}: cannot be written to: {error.strerror}; nothing was restored") from None


def upgraded(made: Staged) -> None:
    """Brings the database of a staged backup to this version's schema. Runs trio, so not inside of it.

    Raises:
        RejectedError: a newer version wrote it, or it is another program's.
    """
    if made.found.schema is None:
        return
    import trio

    from innkeeper.storage.database import open_database
    from innkeeper.storage.schema import REVISIONS

    async def open_it() -> None:
        async with open_database(made.folder / DATABASE, readers=1):
            pass

    trio.run(open_it, restrict_keyboard_interrupt_to_checkpoints=True)
    made.found.schema = made.found.schema[0], REVISIONS[-1]
    for beside in (f"{DATABASE}.lock", f"{DATABASE}-wal", f"{DATABASE}-shm"):
        with suppress(FileNotFoundError):
            os.unlink(made.folder / beside)
