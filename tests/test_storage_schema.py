"""The migrations make the tables that the code uses, and what it says to SQLite PostgreSQL would understand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from innkeeper.storage.audit import AuditKind, AuditLog, NewRecord
from innkeeper.storage.database import open_database
from innkeeper.storage.journals import JournalStore, NewJournal
from innkeeper.storage.kv import KvStore
from innkeeper.storage.kv_model import Quota
from innkeeper.storage.owners import OwnerStore
from innkeeper.storage.schema import ORDERED, REVISIONS, kv_usage, metadata
from innkeeper.storage.statements import insert_if_missing
from innkeeper.storage.upgrade import MIGRATIONS

HOSTILE = "'; DROP TABLE kv; --\"%_$1:a?{}"


async def test_the_migrations_make_the_tables_of_the_code(tmp_path: Path) -> None:
    async with open_database(tmp_path / "private" / "inn.db") as db:
        found = await db.read(lambda connection: compare_metadata(MigrationContext.configure(connection), metadata))
    assert found == []


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
    """Statements that are run meanwhile: as they are built, and as SQLite gets them."""
    built: list[Any] = []
    sent: list[str] = []

    def before_execute(_: Any, statement: Any, *__: Any) -> None:
        built.append(statement)

    def before_cursor_execute(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent.append(statement)

    event.listen(Engine, "before_execute", before_execute)
    event.listen(Engine, "before_cursor_execute", before_cursor_execute)
    try:
        yield built, sent
    finally:
        event.remove(Engine, "before_execute", before_execute)
        event.remove(Engine, "before_cursor_execute", before_cursor_execute)


async def everything(path: Path, word: str, now: list[float]) -> None:
    """Uses each method, with a word wherever a guest or an author chooses one."""
    async with open_database(path) as db:
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


async def test_no_text_of_a_guest_is_ever_part_of_a_statement(tmp_path: Path) -> None:
    with watched() as (_, hostile):
        await everything(tmp_path / "a" / "inn.db", HOSTILE, [0.0])
    with watched() as (_, plain):
        await everything(tmp_path / "b" / "inn.db", "word", [0.0])
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


async def test_postgresql_understands_every_statement(tmp_path: Path) -> None:
    with watched() as (built, _):
        await everything(tmp_path / "a" / "inn.db", "word", [0.0])
    # The one that is built for each database apart has a test of its own.
    shared = [each for each in built if not isinstance(each, str | sqlite.Insert)]
    texts = {str(each.compile(dialect=postgresql.dialect())) for each in shared}
    assert len(texts) > 10
    assert any("FOR UPDATE" in each for each in texts)
    # `INSERT OR IGNORE`, `REPLACE INTO`, `rowid` and the like are SQLite's alone.
    assert not any(re.search(r"\b(OR (IGNORE|REPLACE)|REPLACE INTO|rowid|PRAGMA)\b", each) for each in texts)
