"""Brings a database to the newest schema, or says why not."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata as packages
from pathlib import Path

from sqlalchemy import Connection, column, inspect, literal, select, table

from innkeeper.errors import RejectedError
from innkeeper.storage.schema import REVISIONS

MIGRATIONS = Path(__file__).resolve().parent / "migrations"

_versions = table("alembic_version", column("version_num"))


def upgrade(connection: Connection, name: str, before: Callable[[str], None] = lambda revision: None) -> str | None:
    """Runs the migrations that are missing, inside of the connection's transaction: all of them, or none.

    Args:
        connection: in a transaction that may write, and that nobody else has.
        name: of the database, for messages.
        before: called with the schema of a database that has rows, before anything is changed; what it raises leaves
            all as it is.

    Returns:
        The schema that it had (str), or None where there was nothing to do, or nothing in it.

    Raises:
        RejectedError: it has a schema that is not known here, or is another program's.
    """
    current = revision_of(connection, name)
    if current == REVISIONS[-1]:
        return None
    had = current if current is not None and _has_rows(connection) else None
    if had is not None:
        before(had)
    # Imported only when there is something to do: it takes as long as the rest of an opening.
    from alembic import command
    from alembic.config import Config

    config = Config()
    # The file format of this option gives a meaning to "%".
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, REVISIONS[-1])
    return had


def revision_of(connection: Connection, name: str) -> str | None:
    """The schema that a database has, or None where it has nothing.

    Raises:
        RejectedError: it is not known here, or another program's.
    """
    tables = inspect(connection).get_table_names()
    if _versions.name not in tables:
        if tables:
            raise RejectedError(f"the database {name!r} is another program's: choose another one")
        return None
    found = list(connection.scalars(select(_versions.c.version_num).limit(2)))
    if not found:
        raise RejectedError(f"the database {name!r} does not say its schema: put back a copy of it, or move it away")
    if len(found) > 1 or found[0] not in REVISIONS:
        raise RejectedError(
            f"the database {name!r} has schema {str(found[0])[:32]!r}, which a newer version of Innkeeper wrote, and "
            f"this one, {packages.version('innkeeper')}, knows up to {REVISIONS[-1]!r}: use that version again, or put "
            "back the copy that was made before its upgrade (innkeeper restore FILE; docs/upgrading.md)"
        )
    return str(found[0])


def _has_rows(connection: Connection) -> bool:
    names = [name for name in inspect(connection).get_table_names() if name != _versions.name]
    return any(connection.execute(select(literal(1)).select_from(table(name)).limit(1)).first() for name in names)
