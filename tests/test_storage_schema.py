"""The migrations make the tables that the code uses, and what it says to SQLite PostgreSQL would understand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from databases import Places
from innkeeper.storage.audit import AuditKind, AuditLog, NewRecord
from innkeeper.storage.database import open_database
from innkeeper.storage.journals import JournalStore, NewJournal
from innkeeper.storage.kv import KvStore
from innkeeper.storage.kv_model import Quota
from innkeeper.storage.location import Location
from innkeeper.storage.owners import OwnerStore
from innkeeper.storage.postgres import writing_engine
from innkeeper.storage.schema import ORDERED, REVISIONS, kv_usage, metadata
from innkeeper.storage.statements import insert_if_missing
from innkeeper.storage.upgrade import MIGRATIONS

HOSTILE = "'; DROP TABLE kv; --\"%_$1:a?{}"


async def test_the_migrations_make_the_tables_of_the_code(database_place: Location) -> None:
    async with open_database(database_place) as db:
        found = await db.read(lambda connection: compare_metadata(MigrationContext.configure(connection), metadata))
    assert found == []


# As PostgreSQL has them: with collations, defaults that count, and conditions of indexes, which nobody compares above.
_SCHEMA = (
    "SELECT table_name, column_name, data_type, is_nullable, collation_name, column_default, numeric_precision"
    " FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    " ORDER BY 1",
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
    " AND conrelid::regclass::text <> 'alembic_version' ORDER BY 1",
)


async def test_postgresql_has_the_same_schema_by_migrations_as_by_the_code(
    postgres_url: str, empty_postgres_url: str
) -> None:
    found = []
    for url in (postgres_url, empty_postgres_url):
        engine = writing_engine(url)
        with engine.begin() as connection:
            if url == empty_postgres_url:
                metadata.create_all(connection)
            found.append([[tuple(row) for row in connection.exec_driver_sql(query)] for query in _SCHEMA])
    assert found[0] == found[1]
    columns = {(table, column): (kind, collation) for table, column, kind, _, collation, *_ in found[0][0]}
    ordered = {
        (table.name, column.name)
        for table in metadata.sorted_tables
        for column in table.columns
        if column.type is ORDERED
    }
    assert {place for place, (_, collation) in columns.items() if collation == "C"} == ordered
    assert columns["kv", "value"][0] == "bytea"
    assert columns["kv", "expires"][0] == "double precision"


def test_every_revision_is_listed_in_order() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    assert tuple(each.revision for each in script.walk_revisions())[::-1] == REVISIONS


def test_postgresql_can_make_the_tables_and_orders_keys_by_their_bytes() -> None:
    made = [str(CreateTable(table).compile(dialect=postgresql.dialect())) for table in metadata.sorted_tables]
    made += [
        str(CreateIndex(index).compile(dialect=postgresql.dialect()))
        for table in metadata.sorted_tables
        for index in table.indexes
    ]
    everything = "\n".join(made)
    ordered = sum(column.type is ORDERED for table in metadata.sorted_tables for column in table.columns)
    assert everything.count('COLLATE "C"') == ordered >= 6
    assert "BYTEA" in everything
    assert "BIGSERIAL" in everything
    assert "WHERE expires IS NOT NULL" in everything


@contextmanager
def watched() -> Iterator[tuple[list[Any], list[str]]]:
    """Statements that are run meanwhile: as they are built, and as the database gets them."""
    built: list[Any] = []
    sent: list[str] = []

    def before_execute(_: Any, statement: Any, *__: Any) -> None:
        built.append(statement)

    def before_cursor_execute(_: Any, __: Any, statement: str, *___: Any) -> None:
        # A connection that was idle is tried first: how often hangs on the machine.
        if statement != "SELECT 1":
            sent.append(statement)

    event.listen(Engine, "before_execute", before_execute)
    event.listen(Engine, "before_cursor_execute", before_cursor_execute)
    try:
        yield built, sent
    finally:
        event.remove(Engine, "before_execute", before_execute)
        event.remove(Engine, "before_cursor_execute", before_cursor_execute)


async def everything(database: Location, word: str, now: list[float]) -> None:
    """Uses each method, with a word wherever a guest or an author chooses one."""
    async with open_database(database) as db:
        store = KvStore(db, now=lambda: now[0])
        quota = Quota(3, 10_000)
        for number in range(3):
            await store.put(word, word, word, f"{word}{number}", word.encode(), ttl=10, quota=quota)
        await store.put(word, word, word, f"{word}0", b"", expect=1, quota=quota)
        assert await store.get(word, word, word, f"{word}0") is not None
        assert len(await store.list(word, word, word, prefix=word, after=f"{word}0", limit=9)) == 2
        assert (await store.usage(word, word))[0] == 3
        now[0] += 11
        await store.put(word, word, word, f"{word}9", b"", quota=quota)
        assert await store.delete(word, word, word, f"{word}9", expect=5)
        await store.put(word, word, word, f"{word}8", b"", ttl=1, quota=quota)
        now[0] += 2
        assert await store.sweep() == 1
        log = AuditLog(db, now=lambda: now[0], most=1)
        for _ in range(2):
            await log.append(AuditKind.REFUSAL, plugin=word, digest=word, details={word: word})
        new = NewRecord(AuditKind.PAUSE, word, word, {word: word}, once=True)
        await log.append_all([new, new])
        await log.sweep()
        (record,) = await log.read(kind=AuditKind.REFUSAL, plugin=word, before=9)
        assert record.details == {word: word}
        journals = JournalStore(db, now=lambda: now[0], total_bytes=9)
        new = NewJournal(now[0], word, word, word, word, b"body.")
        assert await journals.append(word, [new, new]) == [1, 2]
        (head,) = await journals.list(word, before=9)
        assert (head.plugin, head.outcome) == (word, word)
        assert await journals.get(word, 2) is not None
        assert await journals.usage(word) == (1, 5)
        assert await journals.delete(word, 2)
        assert await journals.erase(word) == await journals.sweep() == 0
        owners = OwnerStore(db)
        assert await owners.owners() == [word]
        assert (await owners.show(word)).keys() == {"kv", "kv_usage"}
        assert (await owners.erase(word)).keys() == {"kv", "kv_usage"}


async def test_no_text_of_a_guest_is_ever_part_of_a_statement(two_places: Places) -> None:
    with watched() as (_, hostile):
        await everything(two_places[0], HOSTILE, [0.0])
    with watched() as (_, plain):
        await everything(two_places[1], "word", [0.0])
    assert hostile == plain
    assert len(hostile) > 50
    assert not any(HOSTILE in statement or "DROP TABLE kv" in statement for statement in hostile)


@pytest.mark.parametrize("dialect", [postgresql.dialect(), sqlite.dialect()])
def test_an_insert_that_leaves_alone_what_is_there_is_built_for_each_database(dialect: Any) -> None:
    built: list[str] = []

    class Connection:
        def __init__(self) -> None:
            self.dialect = dialect

        def execute(self, statement: Any) -> None:
            built.append(str(statement.compile(dialect=dialect)))

    connection: Any = Connection()
    insert_if_missing(connection, kv_usage, {"owner": "o", "plugin": "p", "entries": 0, "bytes": 0, "version": 0})
    assert built[0].endswith(" ON CONFLICT DO NOTHING")


async def test_postgresql_understands_every_statement(two_places: Places) -> None:
    with watched() as (built, _):
        await everything(two_places[0], "word", [0.0])
    # The one that is built for each database apart has a test of its own.
    shared = [each for each in built if not isinstance(each, str | sqlite.Insert | postgresql.Insert)]
    texts = {str(each.compile(dialect=postgresql.dialect())) for each in shared}
    assert len(texts) > 10
    assert any("FOR UPDATE" in each for each in texts)
    # `INSERT OR IGNORE`, `REPLACE INTO`, `rowid` and the like are SQLite's alone.
    assert not any(re.search(r"\b(OR (IGNORE|REPLACE)|REPLACE INTO|rowid|PRAGMA)\b", each) for each in texts)
