"""A folder appears whole or not at all: it is filled under another name beside its place, and renamed."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from innkeeper.knowledge.files.writing import said, sync_folder
from innkeeper.knowledge.model.problems import KnowledgeError

PREFIX: Final = ".import-"
"""How names of folders begin that are being filled."""

STALE: Final = 60.0
"""Seconds after which such a folder that nobody holds belongs to a process that died."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def placed(target: Path) -> Iterator[Path]:
    """An empty folder to be filled, which is `target` after the block; nothing of it is left where the block fails, or
    where the process dies, after the next call here. Blocks, for a thread.

    Args:
        target: the folder; it must not be there yet, those above it are made.

    Raises:
        KnowledgeError: it is there.
        UsageError: it cannot be made.
    """
    if os.path.lexists(target):
        raise _there(target)
    with said(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        staged = target.parent / f"{PREFIX}{secrets.token_hex(8)}"
        staged.mkdir()
        held = os.open(staged, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield staged
        with said(target):
            for folder, _, _ in os.walk(staged, topdown=False):
                sync_folder(Path(folder))
            try:
                # Where somebody else was quicker it fails, unless theirs is empty.
                os.rename(staged, target)
            except (FileExistsError, NotADirectoryError):
                raise _there(target) from None
            except OSError as error:
                if os.path.lexists(target):
                    raise _there(target) from None
                raise error
            sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    finally:
        os.close(held)


def sweep(folder: Path) -> None:
    """Removes what processes that died were filling in a folder. Raises nothing."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(PREFIX):
                _sweep(folder / name)


def new_file(folder: Path, path: str, pieces: Iterable[bytes]) -> int:
    """Writes a file of a folder that is being filled; its size (int). Nothing that is there is written to or followed.

    Args:
        folder: what `placed` gave.
        path: for which `relative.why_not` has found nothing.
        pieces: its bytes.

    Raises:
        UsageError: it cannot be written.
    """
    file = folder / path
    size = 0
    with said(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(file, _NEW, 0o644), "wb") as opened:
            for piece in pieces:
                size += opened.write(piece)
            opened.flush()
            os.fsync(opened.fileno())
    return size


def _there(target: Path) -> KnowledgeError:
    return KnowledgeError("is there already: choose another id, or import into it with --into", source=target.name)


def _sweep(staged: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(staged, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever made it a moment ago may not hold it yet.
            if time.time() - os.fstat(descriptor).st_mtime > STALE:
                shutil.rmtree(staged, ignore_errors=True)
        finally:
            os.close(descriptor)
