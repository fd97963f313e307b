"""Databases that tests and the processes which they start have in common: light to import."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from innkeeper.storage.database import Database
from innkeeper.storage.location import Location


def argument(place: Location) -> str:
    """The database as an argument of a command that a test runs; `place_of` reads it."""
    return place.url or str(place.path)


def place_of(argument: str) -> Path | str:
    """What `open_database` takes."""
    return argument if "://" in argument else Path(argument)


async def damage(db: Database) -> list[str]:
    """What SQLite finds wrong with a file; of a server, which no process of a host can damage, nothing."""
    if db.path is None:
        return []
    found = await db.read(lambda connection: [*connection.scalars(text("PRAGMA integrity_check"))])
    return [each for each in found if each != "ok"]
