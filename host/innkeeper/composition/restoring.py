"""A backup becomes a home: what was read and looked over is put in place, all of it or nothing."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from innkeeper.composition.backing_up import DATABASE, SECRETS
from innkeeper.composition.staging import TOPS, Restored, Staged, home_written
from innkeeper.errors import BusyError, UsageError
from innkeeper.plugins.home import STATE
from innkeeper.storage.backup.snapshot import alone
from innkeeper.storage.process_lock import ProcessLock


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
        stack.enter_context(home_written(home))
        there = [name for name in sorted(TOPS - {SECRETS} | set(made.tops)) if _holds_something(home / name)]
        if there and not force:
            raise UsageError(
                f"{home} has {', '.join(there)} already, and nothing was changed: restore into an empty folder, or "
                "with --force, which moves these aside"
            )
        for lock in locks_of(home / STATE):
            stack.callback(lock.release)
        if os.path.lexists(home / DATABASE):
            alone(home / DATABASE)
        aside = home / f".before-restore-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        _move(home, made, there, aside)
        found.aside = aside if there else None
    return found


def _holds_something(path: Path) -> bool:
    if not os.path.lexists(path):
        return False
    try:
        with os.scandir(path) as items:
            # Locks are made by whoever looks, also by a command that found nothing.
            return any(not item.name.endswith(".lock") for item in items)
    except NotADirectoryError:
        return True


def locks_of(state: Path) -> list[ProcessLock]:
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


def upgraded(made: Staged) -> None:
    """Brings the database of a staged backup to this version's schema. Runs trio, so not inside of it.

    Raises:
        RejectedError: a newer version wrote it, or it is another program's.
    """
    if made.found.schema is None:
        return
    import trio

    from innkeeper.storage.database import open_database
    from innkeeper.storage.location import Location
    from innkeeper.storage.schema import REVISIONS

    async def open_it() -> None:
        # The backup itself is the copy.
        async with open_database(Location.of(made.folder / DATABASE, upgrade="yes"), readers=1):
            pass

    trio.run(open_it, restrict_keyboard_interrupt_to_checkpoints=True)
    made.found.schema = made.found.schema[0], REVISIONS[-1]
    for beside in (f"{DATABASE}.lock", f"{DATABASE}-wal", f"{DATABASE}-shm"):
        with suppress(FileNotFoundError):
            os.unlink(made.folder / beside)
