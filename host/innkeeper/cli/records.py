"""What a home keeps, as commands read and write it beside a host that may be running."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from innkeeper.cli.output import write_error
from innkeeper.errors import InnkeeperError

if TYPE_CHECKING:
    from innkeeper.plugins.home import Home
    from innkeeper.storage.database import Database
    from innkeeper.storage.location import Location


def keep_record(home: Home, kind: str, plugin: str, digest: str, details: Mapping[str, Any]) -> None:
    """Keeps a record of what was done. Where that fails, what was done stays, and one line says so.

    Args:
        home: whose audit log it is.
        kind: the value of a `storage.audit.AuditKind`.
        plugin: id of the plugin.
        digest: sha256 of its bytes, or "".
        details: what JSON can say; texts and lists of texts, which are cut where there are too many.
    """
    import trio

    from innkeeper.storage.audit import AuditKind, AuditLog, fitting
    from innkeeper.storage.database import open_database

    async def write() -> None:
        async with open_database(database_of(home), readers=1) as database:
            log = AuditLog(database, days=home.configuration.retention.audit_days)
            await log.append(AuditKind(kind), plugin=plugin, digest=digest, details=fitting(details))

    try:
        trio.run(write, restrict_keyboard_interrupt_to_checkpoints=True)
    except (InnkeeperError, ValueError) as error:
        why = error.message if isinstance(error, InnkeeperError) else str(error)
        write_error(f"innkeeper: this is done, and the audit log has no record of it: {why}")


@asynccontextmanager
async def open_kept(home: Home) -> AsyncIterator[Database | None]:
    """The database of a home for the time of an `async with`; None where nothing was ever kept, and nothing is made.

    Raises:
        RejectedError, BusyError, UsageError: as `storage.database.open_database`.
    """
    import trio

    from innkeeper.storage.database import open_database

    location = database_of(home)
    if not await trio.to_thread.run_sync(location.may_be_there):
        yield None
        return
    async with open_database(location, readers=1) as database:
        yield database


async def say_doubted(home: Home) -> None:
    """Says on standard error that whoever filled the home may have written what is kept there, if anything is."""
    import trio

    location = database_of(home)
    # A server that a variable names is nobody else's.
    if not home.doubt or location.path is None:
        return
    if await trio.to_thread.run_sync(location.may_be_there):
        write_error(f"innkeeper: what is kept in {home.state} may be somebody else's invention: {home.doubt}")


def database_of(home: Home) -> Location:
    """Where the database of a home is."""
    from innkeeper.bridge.bridge import location_of

    return location_of(home.state, home.configuration)
