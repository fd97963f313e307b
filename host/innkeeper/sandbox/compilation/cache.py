"""A private folder of compiled modules, bounded in size, shared by the processes of one user.

Whatever goes wrong with it, modules are compiled, and it is said once what went wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from innkeeper.sandbox.compilation.entry import (
    SUFFIX,
    BadEntryError,
    Entry,
    Label,
    file_name,
    open_entry,
    read_label,
    seal,
)
from innkeeper.sandbox.compilation.frames import MOST_ARTIFACT
from innkeeper.sandbox.compilation.plan import Plan
from innkeeper.storage.folder import UnsafeError, open_private

_TEMPORARY = ".new-"
_LEFT_OVER = 3600.0
"""Seconds after which a file that somebody began to write counts as forgotten."""


def key_of(fingerprint: str, digest: str, plan: Plan) -> str:
    """What stands for an artifact: 64 hexadecimal digits.

    Args:
        fingerprint: of the settings (`settings.fingerprint`).
        digest: sha256 of the Wasm, 64 hexadecimal digits.
        plan: how it is rewritten.
    """
    return hashlib.sha256(bytes.fromhex(fingerprint) + bytes.fromhex(digest) + plan.to_bytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the cache.

    Attributes:
        name: in the folder.
        size: bytes that it takes.
        used: when it was last used, seconds since 1970, to the minute.
        label: what it says of itself, or None.
        problem: why it would not be loaded, or "".
    """

    name: str
    size: int
    used: float
    label: Label | None
    problem: str


class Cache:
    """Artifacts in a folder. Its methods block, and may be called from any thread.

    Args:
        folder: an absolute path; made when it is first used.
        max_bytes: what all entries together may take; those used longest ago go first.

    Attributes:
        folder: the folder.
        problem: why the folder is not used, or is no longer written to, as a sentence; None while all is well.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.problem: str | None = None
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._unusable = False

    def get(self, key: str, fingerprint: str) -> Entry | None:
        """The entry of a key, or None where it has to be compiled. The caller closes it.

        Args:
            key: as `key_of` makes it.
            fingerprint: of this process's settings.
        """
        with self._opened() as folder:
            if folder is None:
                return None
            try:
                return open_entry(folder, key, fingerprint)
            except (OSError, BadEntryError):
                # Missing, or not to be trusted: what is compiled now takes its place.
                return None

    def put(self, artifact: bytes, label: Label) -> None:
        """Keeps an artifact. A failure only sets `problem`.

        Args:
            artifact: what was compiled.
            label: what it is.
        """
        if len(artifact) > min(self.max_bytes, MOST_ARTIFACT):
            return
        try:
            try:
                self._write(artifact, label)
            except FileNotFoundError:
                # Somebody removed the folder while we had it open.
                self._let_go(for_good=False)
                self._write(artifact, label)
            self.prune(to=self.max_bytes)
        except OSError as error:
            with self._lock:
                self.problem = self.problem or (
                    f"the cache folder {self.folder} cannot be written ({error.strerror}); "
                    "modules are compiled again in each process"
                )

    def discard(self, key: str) -> None:
        """Removes the entry of a key: the engine did not take it."""
        with self._opened() as folder:
            if folder is not None:
                _unlink(folder, file_name(key))

    def kept(self) -> list[Kept]:
        """What is there, most recently used first. Files that are not the cache's are left out."""
        found = []
        with self._opened() as folder:
            if folder is None:
                return []
            for name, status in _files(folder):
                label, problem = None, ""
                try:
                    label = read_label(folder, name)
                except BadEntryError as error:
                    problem = str(error)
                except OSError as error:
                    problem = f"it cannot be read: {error.strerror}"
                found.append(Kept(name, status.st_size, status.st_mtime, label, problem))
        return sorted(found, key=lambda item: item.used, reverse=True)

    def prune(
        self, *, to: int | None = None, older_than: float | None = None, drop: Callable[[Kept], bool] | None = None
    ) -> tuple[int, int]:
        """Removes entries, and what writers that died left behind.

        Args:
            to: bytes that may stay; those used longest ago go first.
            older_than: seconds since its last use after which an entry goes.
            drop: picks further ones.

        Returns:
            How many files went (int), and their bytes (int).
        """
        with self._opened() as folder:
            if folder is None:
                return 0, 0
            now = time.time()
            written = _files(folder, _TEMPORARY)
            doomed = [(name, status.st_size) for name, status in written if now - status.st_mtime > _LEFT_OVER]
            if drop is not None:
                doomed += [(item.name, item.size) for item in self.kept() if drop(item)]
            gone = {name for name, _ in doomed}
            entries = [item for item in _files(folder) if item[0] not in gone]
            total = 0
            for name, status in sorted(entries, key=lambda item: item[1].st_mtime, reverse=True):
                total += status.st_size
                too_old = older_than is not None and now - status.st_mtime > older_than
                if too_old or (to is not None and total > to):
                    total -= status.st_size
                    doomed.append((name, status.st_size))
            removed = [size for name, size in doomed if _unlink(folder, name)]
        return len(removed), sum(removed)

    def close(self) -> None:
        """Closes the folder; what was loaded stays."""
        self._let_go(for_good=True)

    def _let_go(self, *, for_good: bool) -> None:
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = None
            self._unusable = self._unusable or for_good

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int | None]:
        """The folder for one use, or None. The descriptor is of its own: code is loaded through it, and the cache's may
        be any other folder's once another thread has let go of it. It lists all names."""
        folder: int | None = None
        with self._lock, contextlib.suppress(OSError):
            self._open()
            if self._descriptor is not None:
                folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._descriptor)
        try:
            yield folder
        finally:
            if folder is not None:
                os.close(folder)

    def _open(self) -> None:
        """The caller holds the lock."""
        if self._descriptor is not None or self._unusable:
            return
        try:
            self._descriptor = open_private(self.folder)
        except UnsafeError as error:
            self.problem = f"the cache is not used: {error.reason}"
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self.problem = f"the cache is not used: {self.folder} cannot be opened ({reason})"
        self._unusable = self._descriptor is None

    def _write(self, artifact: bytes, label: Label) -> None:
        with self._opened() as folder:
            if folder is None:
                return
            name = f"{_TEMPORARY}{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, 0o600, dir_fd=folder)
            try:
                with open(descriptor, "wb") as file:
                    # A mask of the process may have taken rights away.
                    os.fchmod(descriptor, 0o600)
                    file.write(artifact)
                    file.write(seal(artifact, label))
                # Not synchronised to the disk: an entry that a crash of the machine cut short fails its checksum.
                os.replace(name, file_name(label.key), src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                _unlink(folder, name)
                raise


def _files(folder: int, prefix: str = "") -> list[tuple[str, os.stat_result]]:
    """Names and states of the cache's own files: entries, or those with a prefix."""
    found = []
    for name in os.listdir(folder):
        if name.startswith(prefix) if prefix else _is_entry(name):
            with contextlib.suppress(OSError):
                found.append((name, os.stat(name, dir_fd=folder, follow_symlinks=False)))
    return found


def _is_entry(name: str) -> bool:
    stem = name.removesuffix(SUFFIX)
    return stem != name and len(stem) == 64 and not stem.strip("0123456789abcdef")


def _unlink(folder: int, name: str) -> bool:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        return False
    return True
