"""An upgrade keeps every row of every older version, and makes a copy first to which one can go back."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from commands import Commands
from databases import Server
from innkeeper.bridge.bridge import FILE
from innkeeper.errors import BusyError, InnkeeperError, RejectedError, UsageError
from innkeeper.plugins.home import STATE
from innkeeper.storage import copies as copies_module
from innkeeper.storage import upgrade as upgrade_module
from innkeeper.storage.copies import FOLDER, KEPT
from innkeeper.storage.database import open_database
from innkeeper.storage.kv import KvStore
from innkeeper.storage.location import Location
from innkeeper.storage.owners import OwnerStore
from innkeeper.storage.run_model import USER
from innkeeper.storage.schema import REVISIONS
from old_databases import allowed, dumped, expected, make, opened, revision_of, rows_of

OLDER = REVISIONS[:-1]
NEWEST = REVISIONS[-1]


@pytest.fixture
def commands(capfd: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capfd)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a home has its database."""
    return tmp_path / "home" / STATE / FILE


def copies(path: Path) -> list[Path]:
    folder = path.parent / FOLDER
    return sorted(folder.iterdir()) if folder.is_dir() else []


def open_once(place: Location | Path) -> None:
    """Opens a database, which upgrades it."""

    async def main() -> None:
        async with open_database(place, readers=1):
            pass

    trio.run(main)


# --- every row is kept ----------------------------------------------------------------------------------------------


@contextmanager
def fresh(server: Server | None, folder: Path) -> Iterator[Location]:
    """A place with nothing in it, for the time of the block."""
    if server is None:
        shutil.rmtree(folder, ignore_errors=True)
        yield Location.of(folder / "innkeeper.db")
        return
    with server.database("template1") as url:
        yield allowed(Location.of(url, folder))


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server | None:
    """The server of a database, or None: it is a file."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_server")


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(revision=st.sampled_from(OLDER), seed=st.integers(0, 1 << 30))
def test_rows_of_any_version_are_there_after_the_upgrade(
    server: Server | None, tmp_path: Path, revision: str, seed: int
) -> None:
    with fresh(server, tmp_path / "data") as place:
        make(place, revision, seed=seed)
        before = rows_of(place)
        open_once(place)
        now = rows_of(place)
        wanted, there = expected(before, now)
        assert sum(map(len, wanted.values())) >= 10
        assert there == wanted
        # Once more is nothing more.
        open_once(place)
        assert rows_of(place) == now


def test_what_plugins_kept_for_the_local_user_is_its_own_afterwards(server: Server | None, tmp_path: Path) -> None:
    async def main(place: Location) -> None:
        async with open_database(place, readers=1) as db:
            store, kv = OwnerStore(db), KvStore(db)
            assert await store.owners() == sorted({USER, "ada", "localhost", "\U0001f9d9 owner"})
            assert set(await store.show(USER)) >= set(await store.show("ada")) > {"kv", "memo", "journals", "kb_bases"}
            assert await store.show("local") == {}
            entry = await kv.get(USER, "notes", "default", "k")
            assert entry is not None
            assert entry.value == b"kept before"

    with fresh(server, tmp_path / "data") as place:
        make(place, "0010", seed=3)
        engine = opened(place)
        with engine.begin() as connection:
            row = {"value": b"kept before"}
            connection.execute(
                text("INSERT INTO kv VALUES ('local', 'notes', 'default', 'k', :value, 1, NULL, 1)"), row
            )
        engine.dispose()
        trio.run(main, place)


def test_where_somebody_wrote_both_owners_nothing_is_lost(server: Server | None, tmp_path: Path) -> None:
    with fresh(server, tmp_path / "data") as place:
        make(place, "0010", each=0)
        rows = [("local", "k", b"of plugins"), (USER, "k", b"of somebody"), ("local", "other", b"x")]

        async def main() -> None:
            async with open_database(place, readers=1) as db:
                found = await db.read(
                    lambda connection: connection.execute(text("SELECT owner, key, value FROM kv")).all()
                )
                assert sorted((owner, key, bytes(value)) for owner, key, value in found) == sorted(rows)
                runs = await db.read(lambda connection: connection.execute(text("SELECT owner FROM firings")).all())
                assert [tuple(row) for row in runs] == [(USER,)]

        engine = opened(place)
        with engine.begin() as connection:
            for owner, key, value in rows:
                connection.execute(
                    text("INSERT INTO kv VALUES (:owner, 'p', '', :key, :value, 1, NULL, 1)"),
                    {"owner": owner, "key": key, "value": value},
                )
            connection.execute(text("INSERT INTO firings VALUES ('s', 1.0, 'local', 1.0)"))
        engine.dispose()
        trio.run(main)


# --- the copy -------------------------------------------------------------------------------------------------------


def test_the_upgrade_copies_first_and_says_so_in_one_line(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(Location.of(path), "0009", seed=2)
    before = dumped(path)
    with caplog.at_level(logging.WARNING, "innkeeper.storage"):
        open_once(path)
    (copy,) = copies(path)
    assert copy.name.startswith("innkeeper-0009-")
    assert dumped(copy) == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    (record,) = caplog.records
    line = record.getMessage()
    assert "\n" not in line
    assert f"from schema 0009 to {NEWEST}" in line
    assert f"backup/{copy.name}" in line
    caplog.clear()
    open_once(path)
    assert (caplog.records, copies(path)) == ([], [copy])


def test_what_others_wrote_last_is_in_the_copy(path: Path) -> None:
    make(Location.of(path), "0010", each=1)
    place = path.parent.parent / "died" / FILE
    place.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        # It is in the log beside the file alone, as a process leaves it that dies.
        other.execute("INSERT INTO kv_usage VALUES ('late', 'p', 1, 1, 1)")
        for ending in ("", "-wal"):
            shutil.copyfile(f"{path}{ending}", f"{place}{ending}")
            Path(f"{place}{ending}").chmod(0o600)
    open_once(place)
    (copy,) = copies(place)
    assert any("'late'" in line for line in dumped(copy))


def test_while_somebody_has_it_open_nothing_is_upgraded(path: Path) -> None:
    make(Location.of(path), "0010", each=1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        # A host of the version before, which would go on writing as the older schema has it.
        other.execute("SELECT count(*) FROM kv").fetchone()
        message = refused(path, BusyError)
        assert "another process has the database 'innkeeper.db' open: end the host" in message
        other.execute("INSERT INTO kv_usage VALUES ('late', 'p', 1, 1, 1)")
    open_once(path)
    assert any("'late'" in line for line in dumped(path))


def test_a_database_with_nothing_in_it_is_not_copied(path: Path) -> None:
    make(Location.of(path), "0004", each=0)
    open_once(path)
    assert (revision_of(path), copies(path)) == (NEWEST, [])


def test_only_the_newest_copies_are_kept(path: Path) -> None:
    folder = path.parent / FOLDER
    make(Location.of(path), "0008", each=1)
    folder.mkdir(mode=0o700)
    for number in range(1, 7):
        (folder / f"innkeeper-000{number}-2020010{number}-000000.db").write_bytes(b"older")
    (folder / "innkeeper-mine.db").write_bytes(b"somebody put it there")
    (folder / ".making-innkeeper-0008-20200101-000000.db").write_bytes(b"half of one")
    open_once(path)
    names = [each.name for each in copies(path)]
    assert names.pop() == "innkeeper-mine.db"
    assert len(names) == KEPT == 3
    assert [name[:25] for name in names[:2]] == ["innkeeper-0005-20200105-0", "innkeeper-0006-20200106-0"]
    assert names[2].startswith("innkeeper-0008-")


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def refused(path: Path, kind: type[InnkeeperError]) -> str:
    """What is said where an upgrade is refused, which leaves all as it is."""
    before = dumped(path)
    with pytest.raises(kind) as caught:
        open_once(path)
    assert dumped(path) == before
    assert [each for each in copies(path) if each.name.endswith(".db") and each.is_file()] == []
    message = caught.value.message
    assert "\n" not in message
    return message


def test_without_room_for_a_copy_nothing_is_upgraded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(Location.of(path), "0008", each=1)
    with monkeypatch.context() as patch:
        patch.setattr(copies_module.shutil, "disk_usage", lambda _: Usage(1 << 40, 1 << 40, 16 << 20))
        message = refused(path, BusyError)
    assert message.startswith("the database 'innkeeper.db' was not upgraded, since it could not be copied before: ")
    assert "make room" in message
    open_once(path)
    assert revision_of(path) == NEWEST


def test_a_copy_that_fails_is_no_upgrade(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(Location.of(path), "0008", each=1)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(copies_module.os, "rename", full)
        assert "disk is full" in refused(path, BusyError)
    (path.parent / FOLDER).rmdir()
    (path.parent / FOLDER).write_bytes(b"no folder")
    assert "is not a folder" in refused(path, UsageError)
    (path.parent / FOLDER).unlink()
    (path.parent / FOLDER).symlink_to(path.parent.parent)
    assert "is a link" in refused(path, UsageError)
    (path.parent / FOLDER).unlink()
    (path.parent / FOLDER).mkdir()
    (path.parent / FOLDER).chmod(0o777)
    assert "others may write" in refused(path, UsageError)


def test_a_migration_that_fails_changes_nothing_and_leaves_no_copy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(Location.of(path), "0009", each=2)
    folder = path.parent / FOLDER
    folder.mkdir(mode=0o700)
    mine = folder / "innkeeper-0008-20200101-000000.db"
    mine.write_bytes(b"older")
    from alembic import command

    def fails(*_: Any) -> None:
        raise RejectedError("a row that nobody understands")

    before = dumped(path)
    monkeypatch.setattr(command, "upgrade", fails)
    with pytest.raises(RejectedError, match="nobody understands"):
        open_once(path)
    assert (dumped(path), copies(path)) == (before, [mine])


# --- newer data -----------------------------------------------------------------------------------------------------


def test_data_of_a_newer_version_is_refused_in_one_sentence(server: Server | None, tmp_path: Path) -> None:
    with fresh(server, tmp_path / "data") as place:
        make(place, NEWEST, seed=4)

        engine = opened(place)
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
        engine.dispose()
        before = rows_of(place)
        with pytest.raises(RejectedError) as caught:
            open_once(place)
        message = caught.value.message
        for part in (place.name, "'0999'", f"'{NEWEST}'", "innkeeper restore FILE", "use that version again"):
            assert part in message
        assert upgrade_module.packages.version("innkeeper") in message
        assert "\n" not in message
        assert rows_of(place) == before


# --- a server's database --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowing", ["no", "0009"])
def test_a_servers_database_is_upgraded_only_where_its_operator_says_so(
    empty_postgres_url: str, tmp_path: Path, allowing: str, caplog: pytest.LogCaptureFixture
) -> None:
    make(Location.of(empty_postgres_url), "0010", seed=5)
    place = Location.of(empty_postgres_url, tmp_path, allowing)
    before = rows_of(place)
    with pytest.raises(UsageError) as caught:
        open_once(place)
    message = caught.value.message
    for part in ("'0010'", f"'{NEWEST}'", "pg_dump", f'[database] upgrade = "{NEWEST}"'):
        assert part in message
    assert rows_of(place) == before
    with caplog.at_level(logging.WARNING, "innkeeper.storage"):
        open_once(Location.of(empty_postgres_url, tmp_path, NEWEST))
    assert [f"from schema 0010 to {NEWEST}" in record.getMessage() for record in caplog.records] == [True]
    # Nobody has to say it again.
    open_once(place)


def test_a_servers_database_without_rows_needs_no_word(empty_postgres_url: str) -> None:
    make(Location.of(empty_postgres_url), "0010", each=0)
    open_once(Location.of(empty_postgres_url))


@pytest.mark.parametrize(
    ("said", "right"),
    [('"yes"', True), ('"no"', True), ('"0012"', True), ('"12"', False), ("true", False), ('"maybe"', False)],
)
def test_the_setting_says_to_which_schema(commands: Commands, tmp_path: Path, said: str, right: bool) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "innkeeper.toml").write_text(f"[database]\nupgrade = {said}\n")
    commands.run("--home", str(home), "owner", "show", USER, code=0 if right else 2)


# --- going back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", OLDER)
def test_every_version_is_upgraded_and_one_can_go_back_and_finds_everything_as_it_was(
    commands: Commands, path: Path, revision: str
) -> None:
    home = path.parent.parent
    make(Location.of(path), revision, seed=6)
    before, rows = dumped(path), rows_of(Location.of(path))
    (home / "knowledge").mkdir()
    (home / "knowledge/mine.txt").write_text("stays")
    open_once(path)
    upgraded = rows_of(Location.of(path))
    wanted, there = expected(rows, upgraded)
    assert there == wanted
    (copy,) = copies(path)
    said = commands.json("--home", str(home), "restore", str(copy), "--force")
    assert (said["schema"], said["bytes"]) == (revision, copy.stat().st_size)
    # As the version before finds it: its schema, its rows, and no other file beside it.
    assert (revision_of(path), dumped(path)) == (revision, before)
    assert rows_of(Location.of(path)) == rows
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_nlink == 1
    assert (home / "knowledge/mine.txt").read_text() == "stays"
    assert copy.exists()
    # What was there is aside, whole, and the way forward is open again.
    aside = Path(said["aside"])
    assert revision_of(aside / FILE) == NEWEST
    open_once(path)
    assert rows_of(Location.of(path)) == upgraded


def test_a_copy_is_put_back_only_where_nothing_is_or_is_moved_aside(
    commands: Commands, path: Path, tmp_path: Path
) -> None:
    make(Location.of(path), "0010", seed=7)
    open_once(path)
    (copy,) = copies(path)
    now = dumped(path)
    err = commands.run("--home", str(path.parent.parent), "restore", str(copy), code=2)
    assert ("--force" in err, dumped(path)) == (True, now)
    other = tmp_path / "other"
    said = commands.json("--home", str(other), "restore", str(copy))
    assert said["aside"] is None
    assert dumped(other / STATE / FILE) == dumped(copy)


@pytest.mark.parametrize(
    "harm", [lambda data: b"garbage" * 1000, lambda data: data[:100] + b"\xff" * (len(data) - 100)]
)
def test_a_damaged_database_goes_aside_for_a_copy(
    commands: Commands, path: Path, harm: Callable[[bytes], bytes]
) -> None:
    make(Location.of(path), "0010", seed=7)
    before = dumped(path)
    open_once(path)
    (copy,) = copies(path)
    damaged = harm(path.read_bytes())
    path.write_bytes(damaged)
    wal = Path(f"{path}-wal")
    wal.write_bytes(b"what a process left")
    wal.chmod(0o600)
    said = commands.json("--home", str(path.parent.parent), "restore", str(copy), "--force")
    assert dumped(path) == before
    assert (Path(said["aside"]) / FILE).read_bytes()[:50] == damaged[:50]
    assert not wal.exists()
    open_once(path)


def test_a_home_in_use_keeps_its_database(commands: Commands, path: Path) -> None:
    make(Location.of(path), "0010", seed=8)
    open_once(path)
    (copy,) = copies(path)

    async def main() -> None:
        async with open_database(path) as db:
            await db.read(lambda connection: connection.execute(text("SELECT 1")).all())
            arguments = ("--home", str(path.parent.parent), "restore", str(copy), "--force")
            await trio.to_thread.run_sync(lambda: commands.run(*arguments, code=7))

    trio.run(main)
    assert revision_of(path) == NEWEST
    assert [each.name for each in path.parent.parent.iterdir()] == [STATE]


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _another(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")


def _acting(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TRIGGER t AFTER INSERT ON kv BEGIN DELETE FROM audit; END")


@pytest.mark.parametrize("harm", [_cut, _another, _newer, _acting])
def test_a_copy_that_somebody_changed_is_refused(
    commands: Commands, path: Path, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    make(Location.of(path), "0010", seed=9)
    now = dumped(path)
    bad = tmp_path / "bad.db"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(bad)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE").fetchone()
    harm(bad)
    err = commands.run("--home", str(path.parent.parent), "restore", str(bad), "--force", code=3)
    assert len(err.splitlines()) == 1
    assert dumped(path) == now
    assert [each.name for each in path.parent.parent.iterdir()] == [STATE]


def test_a_database_that_others_have_open_is_no_copy(commands: Commands, path: Path, tmp_path: Path) -> None:
    make(Location.of(path), "0010", seed=9)
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT count(*) FROM kv").fetchone()
        assert os.path.lexists(f"{path}-wal")
        err = commands.run("--home", str(tmp_path / "new"), "restore", str(path), code=2)
    assert "in use" in err


def test_a_backup_has_no_copies_from_before_upgrades_in_it(commands: Commands, path: Path, tmp_path: Path) -> None:
    make(Location.of(path), "0010", seed=10)
    open_once(path)
    assert copies(path)
    home, file = path.parent.parent, tmp_path / "home.tar.gz"
    commands.json("--home", str(home), "backup", str(file))
    commands.json("restore", str(file), "--home", str(tmp_path / "new"))
    assert [each.name for each in (tmp_path / "new" / STATE).iterdir()] == [FILE]


def test_an_old_backup_is_its_own_copy(commands: Commands, path: Path, tmp_path: Path) -> None:
    make(Location.of(path), "0010", seed=11)
    home, file = path.parent.parent, tmp_path / "home.tar.gz"
    commands.json("--home", str(home), "backup", str(file))
    commands.json("restore", str(file), "--home", str(tmp_path / "new"))
    assert [each.name for each in (tmp_path / "new" / STATE).iterdir()] == [FILE]
    assert revision_of(tmp_path / "new" / STATE / FILE) == NEWEST
