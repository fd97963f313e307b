"""Brings a database to the newest schema, or says why not."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

from innkeeper.errors import RejectedError
from innkeeper.storage.schema import REVISIONS

MIGRATIONS = Path(__file__).resolve().parent / "migrations"

_versions = table("alembic_version", column("version_num"))


def upgrade(connection: Connection, name: str) -> None:
    """Runs the migrations that are missing, inside of the connection's transaction: all of them, or none.

    Args:
        connection: in a transaction that may write, and that nobody else has.
        name: of the database, for messages.

    Raises:
        RejectedError: it has a schema that is not known here, or is another program's.
    """
    current = _current(connection, name)
    if current == REVISIONS[-1]:
        return
    # Imported only when there is something to do: it takes as long as the rest of an opening.
    from alembic import command
    from alembic.config import Config

    config = Config()
    # The file format of this option gives a meaning to "%".
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, REVISIONS[-1])


def _current(connection: Connection, name: str) -> str | None:
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
            f"the database {name!r} has schema {str(found[0])[:32]!r}, and this version of Innkeeper knows up to "
            f"{REVISIONS[-1]!r}: a newer version wrote it; use that one, or choose another file"
        )
    return str(found[0])
