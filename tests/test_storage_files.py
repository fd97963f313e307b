"""The database's file is ours alone, is migrated once, and is refused with a sentence where it is not what it was."""

# Nothing else runs on this loop of trio that short calls of the system could hold up.
# ruff: noqa: ASYNC220, ASYNC240

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio
import trio.testing
from sqlalchemy import event, text

from innkeeper.errors import BusyError, InnkeeperError, RejectedError, UsageError
from innkeeper.storage import engines, file
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.schema import REVISIONS

PATIENCE = 120


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path / "private" / "inn.db"


async def kept(db: Database) -> int:
    return await db.read(lambda connection: connection.scalar(text("SELECT count(*) FROM audit")) or 0)


async def add(db: Database, times: int = 1) -> None:
    statement = text("INSERT INTO audit (at, kind, plugin, digest, details) VALUES (0, 'k', 'p', '', :d)")
    for _ in range(times):
        await db.write(lambda connection: connection.execute(statement, {"d": "x" * 1000}) and None)


async def refusal(path: Path, kind: type[InnkeeperError]) -> str:
    with pytest.raises(kind) as caught:
        async with open_database(path):
            pass
    assert type(caught.value) is kind
    return str(caught.value)


async def test_folder_and_files_are_closed_to_others(path: Path) -> None:
    before = os.umask(0)
    try:
        async with open_database(path) as db:
            await add(db)
            assert await kept(db) == 1
            modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert set(modes) == {"inn.db", "inn.db-wal", "inn.db-shm", "inn.db.lock"}
    assert set(modes.values()) == {0o600}


async def test_a_file_that_others_may_read_is_closed_to_them(path: Path) -> None:
    async with open_database(path) as db:
        await add(db)
    path.chmod(0o644)
    async with open_database(path) as db:
        assert path.stat().st_mode & 0o777 == 0o600
        assert await kept(db) == 1


async def test_a_folder_that_others_may_write_to_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o770)
    assert "others may write to" in await refusal(path, UsageError)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("rights", [0o620, 0o602, 0o666])
async def test_a_file_that_others_may_write_to_is_refused(path: Path, rights: int) -> None:
    async with open_database(path):
        pass
    path.chmod(rights)
    assert "chmod 600" in await refusal(path, UsageError)
    assert path.stat().st_mode & 0o777 == rights


@pytest.mark.parametrize("name", ["inn.db", "inn.db-wal", "inn.db-shm", "inn.db-journal", "inn.db.lock"])
async def test_a_link_in_place_of_a_file_is_not_followed(path: Path, tmp_path: Path, name: str) -> None:
    path.parent.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_bytes(b"kept")
    (path.parent / name).symlink_to(victim)
    await refusal(path, UsageError)
    assert victim.read_bytes() == b"kept"


async def test_a_file_with_a_second_name_is_refused(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_bytes(b"kept")
    victim.chmod(0o644)
    path.hardlink_to(victim)
    assert "another name" in await refusal(path, UsageError)
    assert victim.stat().st_mode & 0o777 == 0o644


async def test_a_folder_in_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    path.parent.chmod(0o700)
    assert "is a link, a folder or a device" in await refusal(path, UsageError)


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    junk = b"these are no pages of a database\n" * 1000
    path.write_bytes(junk)
    path.chmod(0o600)
    said = await refusal(path, RejectedError)
    assert said == (
        "the database 'inn.db' is damaged: put back a copy of it, or move it away together with 'inn.db-wal' and a new "
        "one will be made"
    )
    assert path.read_bytes() == junk


async def test_a_page_that_was_overwritten_is_found_when_it_is_read(path: Path) -> None:
    async with open_database(path) as db:
        await add(db, 200)
    data = bytearray(path.read_bytes())
    # The first three pages hold what is read when it is opened; all that comes after is thrown over.
    size = int.from_bytes(data[16:18], "big")
    assert len(data) > 20 * size
    data[12 * size :] = b"\xff" * (len(data) - 12 * size)
    path.write_bytes(data)
    with pytest.raises(RejectedError, match=r"'inn\.db' is damaged"):
        async with open_database(path) as db:
            await db.read(lambda connection: connection.execute(text("SELECT sum(length(details)) FROM audit")).all())


async def test_a_file_cut_short_is_refused_when_it_is_opened_or_read(path: Path) -> None:
    async with open_database(path) as db:
        await add(db, 200)
    with path.open("r+b") as cut:
        cut.truncate(len(path.read_bytes()) // 2)
    with pytest.raises(RejectedError, match=r"'inn\.db' is damaged"):
        async with open_database(path) as db:
            await db.read(lambda connection: connection.execute(text("SELECT sum(length(details)) FROM audit")).all())


async def test_a_newer_schema_is_refused_and_nothing_is_changed(path: Path) -> None:
    async with open_database(path) as db:
        await add(db)
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
        raw.execute("CREATE TABLE later (a)")
    raw.close()
    said = await refusal(path, RejectedError)
    assert "has schema '9999'" in said
    assert f"up to '{REVISIONS[-1]}'" in said
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT count(*) FROM audit").fetchall() == [(1,)]
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    raw.close()


@pytest.mark.parametrize("change", ["DELETE FROM alembic_version", "INSERT INTO alembic_version VALUES ('0000')"])
async def test_a_schema_that_is_not_said_in_one_word_is_refused(path: Path, change: str) -> None:
    async with open_database(path):
        pass
    with sqlite3.connect(path) as raw:
        raw.execute(change)
    raw.close()
    await refusal(path, RejectedError)


async def test_another_programs_database_is_refused_and_left_as_it_is(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE theirs (a)")
    raw.close()
    path.chmod(0o600)
    assert "is another program's" in await refusal(path, RejectedError)
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    raw.close()


async def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    async with open_database(path) as db:
        assert await kept(db) == 0


async def test_a_path_with_signs_that_mean_something_elsewhere_is_just_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a%20b ?mode=ro#%(x)s" / "inn ?&%.db"
    async with open_database(path) as db:
        await add(db)
    assert path.is_file()
    async with open_database(path) as db:
        assert await kept(db) == 1


async def test_who_holds_the_lock_too_long_is_named_as_the_reason(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_database(path):
        pass
    monkeypatch.setattr(file, "PATIENCE", 0.05)
    holder = os.open(path.parent / "inn.db.lock", os.O_RDWR)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert "is being opened by another process" in await refusal(path, BusyError)
    finally:
        os.close(holder)
    async with open_database(path):
        pass


async def test_another_programs_transaction_is_waited_for_and_then_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_EVERY", ("PRAGMA busy_timeout=50",))
    async with open_database(path) as db:
        raw = sqlite3.connect(path, isolation_level=None)
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError, match="another process holds it"):
            await add(db)
        raw.execute("COMMIT")
        raw.close()
        await add(db)
        assert await kept(db) == 1


async def test_those_who_wait_for_another_program_fail_together_and_can_be_cancelled_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_EVERY", ("PRAGMA busy_timeout=1",))
    waiting = threading.Event()
    begun: list[object] = []
    ended: list[str] = []

    def before(*arguments: object) -> None:
        if arguments[2] == "BEGIN IMMEDIATE":
            begun.append(arguments)
            assert waiting.wait(PATIENCE)

    async def write(scope: trio.CancelScope) -> None:
        with scope:
            try:
                await add(db)
            except BusyError:
                ended.append("busy")
        if scope.cancelled_caught:
            ended.append("cancelled")

    async with open_database(path) as db:
        event.listen(db._writer._engine, "before_cursor_execute", before)
        raw = sqlite3.connect(path, isolation_level=None)
        raw.execute("BEGIN IMMEDIATE")
        scopes = [trio.CancelScope() for _ in range(200)]
        async with trio.open_nursery() as nursery:
            for scope in scopes:
                nursery.start_soon(write, scope)
            await trio.testing.wait_all_tasks_blocked()
            # The writer waits for the other program; none of these has begun.
            for scope in scopes[::2]:
                scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert ended == ["cancelled"] * 100
            waiting.set()
        assert ended == ["cancelled"] * 100 + ["busy"] * 100
        # One attempt for all.
        assert len(begun) == 1
        raw.execute("ROLLBACK")
        raw.close()
        await add(db)
        assert await kept(db) == 1


async def test_a_full_disk_is_said_and_the_database_goes_on(path: Path) -> None:
    async with open_database(path) as db:
        pages = await db.write(lambda connection: connection.execute(text("PRAGMA page_count")).scalar_one())
        await db.write(lambda connection: connection.execute(text(f"PRAGMA max_page_count={pages + 2}")) and None)
        with pytest.raises(BusyError, match="the disk is full"):
            await add(db, 100)
        await db.write(lambda connection: connection.execute(text("PRAGMA max_page_count=1000000")) and None)
        before = await kept(db)
        await add(db, 100)
        assert await kept(db) == before + 100


OPENS = """
import sys, trio
from pathlib import Path
from innkeeper.storage.audit import AuditKind, AuditLog
from innkeeper.storage.database import open_database

async def main():
    sys.stdin.readline()
    async with open_database(Path(sys.argv[1])) as db:
        log = AuditLog(db)
        for number in range(20):
            await log.append(AuditKind.GRANT, plugin="p", details={"of": sys.argv[2], "number": number})

trio.run(main)
"""


async def test_processes_that_open_a_new_database_at_once_all_write_to_it(path: Path) -> None:
    command = [sys.executable, "-c", OPENS, str(path)]
    started = [subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE, stderr=subprocess.PIPE) for n in range(4)]
    try:
        for each in started:
            assert each.stdin is not None
            each.stdin.write(b"\n")
            each.stdin.flush()
        said = [each.communicate(timeout=PATIENCE)[1] for each in started]
    finally:
        for each in started:
            each.kill()
            each.wait()
    assert said == [b""] * 4
    async with open_database(path) as db:
        assert await kept(db) == 80
        check = await db.read(lambda connection: connection.execute(text("PRAGMA integrity_check")).all())
    assert [tuple(row) for row in check] == [("ok",)]
