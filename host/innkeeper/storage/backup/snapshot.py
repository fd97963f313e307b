"""A copy of an SQLite database as it was at one moment, while others go on writing to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from innkeeper.errors import BusyError, RejectedError
from innkeeper.storage.engines import BUSY
from innkeeper.storage.faults import translated

Progress = Callable[[int, int], None]
"""Gets how much is done and how much there is, in whatever unit."""

STEP: Final = 2048
"""Pages of one step, 8 MiB as a rule."""

_ALONE = 1.0
"""Seconds to wait for others to let go of a database."""


def snapshot(source: Path, target: Path, progress: Progress = lambda done, whole: None) -> None:
    """Copies a database. Others may read and write meanwhile, and what they write is not in the copy. Blocks.

    Args:
        source: an SQLite file in WAL mode.
        target: a file that is not there yet; what is there after a failure is no copy.
        progress: called after each step, with pages.

    Raises:
        RejectedError: the database is damaged.
        BusyError: others held it for too long, or the disk is full.
        UsageError: it cannot be read, or the copy cannot be written.
    """
    with _said(source.name), closing(_connect(source, "ro")) as reading, closing(_connect(target, "rwc")) as writing:
        # A transaction of our own sees one state from the first step to the last. Without it every write of another
        # process would begin the copy anew.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        reading.backup(writing, pages=STEP, progress=lambda _, left, whole: progress(whole - left, whole))
        # One file, with nothing beside it.
        writing.execute("PRAGMA journal_mode=DELETE").fetchone()
    sound(target, source.name)


def sound(path: Path, name: str) -> None:
    """Looks a database over that nobody else has open. Blocks for as long as reading it takes.

    Args:
        path: the file.
        name: for messages.

    Raises:
        RejectedError: it is damaged, no database, or does things by itself (triggers, views), which ours never does.
    """
    # Immutable: nothing is made beside it, whatever it says of itself.
    with _said(name), closing(_connect(path, "ro&immutable=1")) as connection:
        # Against a file that somebody else prepared.
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        row = connection.execute("SELECT count(*) FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchone()
        if row[0]:
            raise RejectedError(f"the database {name!r} has triggers or views, which no version of Innkeeper makes")
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found is None or found[0] != "ok":
            raise RejectedError(f"the database {name!r} is damaged: take another copy of it")


def alone(path: Path) -> None:
    """Makes sure that no other connection has a database open. Blocks for about a second.

    Raises:
        BusyError: one has.
        RejectedError, UsageError: it cannot be opened.
    """
    busy = BusyError(
        f"another process has the database {path.name!r} open: end the host and the commands that use this home",
        bound="database",
    )
    try:
        with closing(sqlite3.connect(path, timeout=_ALONE, isolation_level=None)) as connection:
            # Leaving WAL needs the file for oneself, whatever the others do with it.
            row = connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    except sqlite3.Error as error:
        found = translated(error, path.name)
        raise (busy if isinstance(found, BusyError) and found.bound == "database" else found) from None
    if row is None or row[0] != "delete":
        raise busy


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # As a URI, in which a name may have any character.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY, isolation_level=None)


@contextmanager
def _said(name: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, name) from None
