"""What of a home is its own, and how it gets into one file while a host runs."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO, Final
from urllib.parse import parse_qs, urlsplit

from innkeeper.bridge.bridge import FILE
from innkeeper.composition.databases import database_server
from innkeeper.errors import BusyError, InnkeeperError, UsageError
from innkeeper.plugins.configuration import FILE_NAME
from innkeeper.plugins.files import read_file
from innkeeper.plugins.folders import INSIDE
from innkeeper.plugins.home import STATE, Home
from innkeeper.plugins.tables import MAX_BYTES
from innkeeper.server.accounts import master_key
from innkeeper.storage.backup.names import why_not
from innkeeper.storage.backup.snapshot import Progress, snapshot
from innkeeper.storage.backup.writing import ArchiveWriter, writing
from innkeeper.storage.copies import FOLDER as COPIES
from innkeeper.storage.process_lock import ProcessLock
from innkeeper.storage.schema import REVISIONS

FOLDERS: Final = ("plugins", "manifests", "knowledge", INSIDE)
"""Folders of a home that are its own. What else lies in it, workflows and a checkout say, is its user's."""

SECRETS: Final = "secrets.toml"
"""The name of the file of secrets in a backup, and in a home where it is restored."""

DATABASE: Final = f"{STATE}/{FILE}"

MASTER_KEY: Final = f"{STATE}/{master_key.FILE}"
"""The file of the master key: credentials in the database are of no use to who does not have it."""

_LOCK = ".lock"
_DEPTH = 63
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# What was a file may be a pipe by now, which would be waited for.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(slots=True)
class Made:
    """What a backup has.

    Attributes:
        file: where it lies.
        files: how many files.
        bytes: how many they have, unpacked.
        size: bytes of the backup.
        database: "sqlite", "postgresql" (which is not in it) or None where nothing was ever kept.
        secrets: whether the file of secrets is in it.
        left_out: what is not in it though it lies where what is its own does, with why: sentences.
    """

    file: Path
    files: int = 0
    bytes: int = 0
    size: int = 0
    database: str | None = None
    secrets: bool = False
    left_out: list[str] = field(default_factory=list)


def back_up(
    home: Home,
    target: Path,
    *,
    secrets: bool = False,
    replace: bool = False,
    progress: Progress = lambda done, whole: None,
) -> Made:
    """Writes a backup. Blocks for as long as reading what there is takes; hosts go on meanwhile.

    Args:
        home: whose.
        target: the file (.tar.gz), an absolute path; it gets mode 0600.
        secrets: whether the file of secrets is in it, the master key, and settings that hold a database's password.
        replace: whether a file that is there is replaced.
        progress: called while the database is copied, with pages.

    Raises:
        UsageError: something cannot be read or written, or the file is there.
        RejectedError: the database is damaged.
        BusyError: others hold the database for too long, or the disk is full.
    """
    if os.path.lexists(target) and not replace:
        raise UsageError(f"{target.name} is there already: --force replaces it")
    made = Made(target)
    server = database_server(home)
    source = home.state / FILE
    if server:
        made.database = "postgresql"
    elif os.path.lexists(source):
        made.database = "sqlite"
    secret = home.configuration.secrets.file
    keys = os.path.lexists(home.path / MASTER_KEY)
    if secrets and secret is None and not keys:
        raise UsageError("--with-secrets: innkeeper.toml names no file of secrets (secrets.file)")
    said = {
        "innkeeper": version("innkeeper"),
        "at": int(time.time()),
        "database": made.database,
        "schema": REVISIONS[-1],
    }
    with _said(target), _keys_held(home, secrets and keys), _new(target, replace) as (out, folder):
        copy = folder / FILE
        if made.database == "sqlite":
            # Before the files: what a database says of them it finds again, in a file that is newer at most.
            snapshot(source, copy, progress)
        with writing(out, said) as archive:
            if made.database == "sqlite":
                with open(copy, "rb") as file:
                    archive.add(DATABASE, file, copy.stat().st_mtime)
                copy.unlink()
            others = [os.stat(folder), *_status(secret)]
            if not secrets and _has_password(home.path / FILE_NAME):
                others += _status(home.path / FILE_NAME)
                made.left_out.append(f"{FILE_NAME}: it holds the password of the database; --with-secrets takes it")
            if keys and not secrets:
                made.left_out.append(f"{MASTER_KEY}: without it no credential can be read; --with-secrets takes it")
            _Taking(home, archive, made, others, keys=secrets).all()
            if secrets and secret is not None:
                _add_secrets(archive, secret)
            made.secrets = secrets
        out.flush()
        os.fsync(out.fileno())
        made.size = os.fstat(out.fileno()).st_size
    made.files, made.bytes = archive.files, archive.bytes
    return made


class _Taking:
    """Goes through a home. Links are not followed, as nowhere in a home."""

    def __init__(
        self, home: Home, archive: ArchiveWriter, made: Made, others: list[os.stat_result], *, keys: bool
    ) -> None:
        self._home = home
        self._archive = archive
        self._made = made
        self._keys = keys
        # The backup itself, and secrets, wherever they lie.
        self._never = {(each.st_dev, each.st_ino) for each in others}

    def all(self) -> None:
        home = os.open(self._home.path, _FOLDER)
        try:
            for name in (FILE_NAME, *FOLDERS, STATE):
                self._entry(home, name, name, 0)
        finally:
            os.close(home)

    def _entry(self, folder: int, item: str, name: str, depth: int) -> None:
        """Adds what a folder has under a name. All is reached through the folder's descriptor: no name that changes
        meanwhile leads elsewhere."""
        problem = "lies too deep" if depth > _DEPTH else why_not(name)
        if problem:
            self._made.left_out.append(f"{name}: {problem}")
            return
        try:
            status = os.stat(item, dir_fd=folder, follow_symlinks=False)
            if (status.st_dev, status.st_ino) in self._never:
                return
            if stat.S_ISDIR(status.st_mode):
                self._folder(os.open(item, _FOLDER | os.O_NOFOLLOW, dir_fd=folder), name, depth)
            elif stat.S_ISREG(status.st_mode):
                self._file(os.open(item, _FILE, dir_fd=folder), name)
            else:
                what = "a link" if stat.S_ISLNK(status.st_mode) else "no regular file"
                self._made.left_out.append(f"{name}: is {what}")
        except FileNotFoundError:
            # It is not there, or somebody removed it meanwhile.
            return
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR):
                raise
            self._made.left_out.append(f"{name}: cannot be read: {error.strerror}")

    def _folder(self, folder: int, name: str, depth: int) -> None:
        try:
            for item in sorted(os.listdir(folder)):
                if name != STATE or self._is_wanted(item):
                    self._entry(folder, item, f"{name}/{item}", depth + 1)
        finally:
            os.close(folder)

    def _is_wanted(self, name: str) -> bool:
        """Whether a file of `state` is in a backup; beside that of the master key there may be halves of another."""
        if name.startswith(master_key.FILE):
            return self._keys and name == master_key.FILE
        return not _is_host_own(name)

    def _file(self, descriptor: int, name: str) -> None:
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                self._archive.add(name, file, status.st_mtime)


def _is_host_own(name: str) -> bool:
    """Whether a file of `state` is nothing that a backup wants: the database itself, of which there is a copy, what
    lies beside it, copies of it from before upgrades, and locks."""
    return name in (FILE, COPIES) or name.startswith(f"{FILE}-") or name.endswith(_LOCK)


def _status(path: str | os.PathLike[str] | None) -> list[os.stat_result]:
    try:
        return [] if path is None else [os.stat(path)]
    except OSError:
        return []


def _has_password(path: Path) -> bool:
    """Whether settings hold the password of a database server."""
    try:
        written = tomllib.loads(read_file(path, most=MAX_BYTES, label=path.name).decode())
        url = urlsplit(str(written["database"]["url"]))
        return bool(url.password) or "password" in parse_qs(url.query)
    except (InnkeeperError, KeyError, TypeError):
        return False
    except ValueError:
        # What cannot be read cannot be told to hold none.
        return True


def _add_secrets(archive: ArchiveWriter, path: str | os.PathLike[str]) -> None:
    try:
        descriptor = os.open(path, _FILE)
    except OSError as error:
        raise UsageError(f"--with-secrets: the file of secrets cannot be read: {error.strerror}") from None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError("--with-secrets: the file of secrets is not a regular file")
        archive.add(SECRETS, file, os.fstat(descriptor).st_mtime)


@contextmanager
def _keys_held(home: Home, wanted: bool) -> Iterator[None]:
    """Nobody rotates the master key meanwhile: that in the backup would not fit its database."""
    lock = ProcessLock(home.state.absolute() / master_key.LOCK)
    if wanted and not lock.take(shared=True):
        raise BusyError("another command rotates the master key: repeat this", bound="home")
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _new(target: Path, replace: bool) -> Iterator[tuple[IO[bytes], Path]]:
    """A file that appears under its name when it is whole, and a folder beside it, ours alone, that goes away."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".innkeeper-backup-") as name:
        folder = Path(name)
        made = folder / "made"
        with open(os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
            yield out, folder
        if replace:
            os.replace(made, target)
        else:
            # Fails where somebody else made one meanwhile.
            os.link(made, target)


@contextmanager
def _said(target: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise UsageError(f"{target.name} is there already: --force replaces it") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BusyError(f"{target.name}: the disk is full; make room on it", bound="disk") from None
        raise UsageError(f"{target.name}: cannot be written: {error.strerror}") from None
