"""Databases as older versions left them: brought to a revision by the migrations, with rows in every table."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgpack
from alembic import command
from alembic.config import Config
from sqlalchemy import Boolean, Engine, Float, Integer, LargeBinary, MetaData, Table, insert, select

from innkeeper.storage import postgres
from innkeeper.storage.engines import turn_on_wal, writing_engine
from innkeeper.storage.file import private_file
from innkeeper.storage.location import Location
from innkeeper.storage.upgrade import MIGRATIONS

OWNERS: Final = ("local", "ada", "localhost", "\U0001f9d9 owner")
"""Of rows: the one that older versions wrote for plugins, and others, which nobody touches."""

_TEXTS: Final = ("", "plain", "with 'quotes' and \"%_$1:a?{}", "Straße 北京 \U0001f409", "line\nbreak", "x" * 300)

_DERIVED: Final = frozenset({"knowledge_terms"})
"""Tables whose rows are made anew from others."""

_MOVED: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "submitted_runs": ("runs", {}),
    # What a base holds is counted anew.
    "knowledge_bases": ("kb_bases", {"version": "revision", "entries": "", "bytes": ""}),
    "knowledge_entries": (
        "kb_entries",
        dict.fromkeys(("title", "content", "keywords", "metadata", "priority", "size"), ""),
    ),
}
"""Where rows of a table are today, and the columns that have another name there, or stand elsewhere ("")."""

Rows = dict[str, list[tuple[tuple[str, Any], ...]]]


def opened(place: Location) -> Engine:
    """An engine that writes, as the host has it."""
    if place.path is None:
        return postgres.writing_engine(place.url)
    with private_file(place.path):
        engine = writing_engine(place.path)
        assert turn_on_wal(engine)
    return engine


def make(place: Location, revision: str, *, seed: int = 0, each: int = 3) -> None:
    """A database of a revision.

    Args:
        place: where none is.
        revision: of its schema.
        seed: of what is in it.
        each: rows of each table and owner; 0: it has its tables and nothing in them.
    """
    engine = opened(place)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        chance = random.Random(seed)
        for table in _tables(connection).values():
            for owner in OWNERS if "owner" in table.c else OWNERS[:1]:
                alone = [column.name for column in table.primary_key] == ["owner"]
                for number in range(min(each, 1) if alone else each):
                    connection.execute(insert(table).values(**_row(table, owner, number, chance)))
    engine.dispose()


def _tables(connection: Any) -> dict[str, Table]:
    metadata = MetaData()
    metadata.reflect(connection)
    return {name: table for name, table in sorted(metadata.tables.items()) if name != "alembic_version"}


def _row(table: Table, owner: str, number: int, chance: random.Random) -> dict[str, Any]:
    row: dict[str, Any] = {}
    # No two rows have the same value in a column where that might count.
    own = OWNERS.index(owner) * 1000 + number + 1
    for column in table.columns:
        kind = column.type
        value: Any
        if column.name == "owner":
            value = owner
        elif table.name == "knowledge_entries" and column.name == "keywords":
            value = json.dumps([chance.choice(_TEXTS) for _ in range(chance.randrange(3))])
        elif table.name == "knowledge_entries" and column.name == "metadata":
            value = msgpack.packb({"a": [1, b"\xff", chance.choice(_TEXTS)]} if chance.random() < 0.5 else {})
        elif table.name.startswith("knowledge_") and column.name == "base":
            # Each entry lies in a base.
            value = f"base {number}"
        elif isinstance(kind, Boolean):
            value = chance.random() < 0.5
        elif isinstance(kind, Float):
            value = float(own) + chance.choice((0.0, 0.25, 1e9))
        elif isinstance(kind, Integer):
            value = own
        elif isinstance(kind, LargeBinary):
            value = chance.randbytes(chance.randrange(2000))
        else:
            value = f"{own} {chance.choice(_TEXTS)}"
        if column.nullable and not column.primary_key and chance.random() < 0.3:
            value = None
        row[column.name] = value
    return row


def rows_of(place: Location) -> Rows:
    """All rows of all tables, in an order that hangs on nothing but them."""
    engine = opened(place)
    with engine.begin() as connection:
        found = {
            name: sorted((tuple(sorted(row._mapping.items())) for row in connection.execute(select(table))), key=repr)
            for name, table in _tables(connection).items()
        }
    engine.dispose()
    return found


def expected(before: Rows, now: Rows) -> tuple[Rows, Rows]:
    """What must be there of the rows of an older version, and what is: columns that both have, and who owns them by
    today's name."""
    wanted: Rows = {}
    there: Rows = {}
    for name, rows in before.items():
        if name in _DERIVED or not rows:
            continue
        today, renamed = _MOVED.get(name, (name, {}))
        columns = {old: new for old, _ in rows[0] if (new := renamed.get(old, old))}
        wanted[name] = sorted((_seen(row, columns) for row in rows), key=repr)
        there[name] = sorted((_seen(row, {new: new for new in columns.values()}) for row in now[today]), key=repr)
    return wanted, there


def _seen(row: tuple[tuple[str, Any], ...], columns: Mapping[str, str]) -> tuple[tuple[str, Any], ...]:
    values = {columns[name]: value for name, value in row if name in columns}
    if values.get("owner") == "local":
        values["owner"] = "default_user"
    return tuple(sorted(values.items()))


def dumped(path: Path) -> list[str]:
    """All that a file of SQLite holds: its tables, its rows and its indexes. What a process left half done is
    taken back, as whoever opens it next does."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return sorted(connection.iterdump())


def revision_of(path: Path) -> str:
    """The revision that a file of SQLite says."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as connection:
        ((revision,),) = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return str(revision)


def allowed(place: Location) -> Location:
    """A place that may be upgraded."""
    return replace(place, upgrade="yes")
