"""`innkeeper backup` and `innkeeper restore`: what was kept is there again, also if it was written to meanwhile."""

from __future__ import annotations

import io
import os
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import trio

from commands import Commands
from innkeeper.bridge.bridge import FILE
from innkeeper.composition import backing_up
from innkeeper.composition.databases import database_server
from innkeeper.composition.staging import staged
from innkeeper.errors import BusyError
from innkeeper.plugins.home import Home, open_home
from innkeeper.storage.backup.snapshot import alone, snapshot, sound
from innkeeper.storage.database import open_database
from innkeeper.storage.kv import KvStore
from innkeeper.storage.kv_model import Quota
from innkeeper.storage.process_lock import ProcessLock
from innkeeper.storage.schema import REVISIONS

OWNER = "default_user"


@pytest.fixture
def commands(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with something of each kind."""
    folder = tmp_path / "home"
    for name, text in {
        "innkeeper.toml": "",
        "plugins/more/shout.wasm": "wasm",
        "plugins/shout.toml": 'id = "shout"',
        "manifests/trust/shout.toml": "trust",
        "knowledge/整理/knowledge.json": "{}",
        "files/notes/deep/note.md": "a note",
        "work/own.json": "not the home's",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "state").mkdir(mode=0o700)
    (folder / "state/paused").mkdir()
    (folder / "state/paused/x@y.json").write_text("{}")
    (folder / "state/scheduler.lock").touch()
    keep(folder, a=b"1")
    monkeypatch.setenv("INNKEEPER_HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def keep(folder: Path, **values: bytes) -> None:
    async def write() -> None:
        async with open_database(folder / "state" / FILE) as database:
            store = KvStore(database)
            for key, value in values.items():
                await store.put(OWNER, "shout", "", key, value, quota=Quota(100, 1 << 20))

    trio.run(write)


def kept(folder: Path, key: str) -> bytes | None:
    async def read() -> bytes | None:
        async with open_database(folder / "state" / FILE) as database:
            found = await KvStore(database).get(OWNER, "shout", "", key)
            return None if found is None else found.value

    return trio.run(read)


def files(folder: Path) -> set[str]:
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}


OWN = {
    "innkeeper.toml",
    "plugins/more/shout.wasm",
    "plugins/shout.toml",
    "manifests/trust/shout.toml",
    "knowledge/整理/knowledge.json",
    "files/notes/deep/note.md",
    "state/paused/x@y.json",
    "state/innkeeper.db",
}


def test_what_a_home_keeps_is_there_again(commands: Commands, home: Path, tmp_path: Path) -> None:
    commands.run("backup", "b.tar.gz")
    assert stat.S_IMODE(os.stat("b.tar.gz").st_mode) == 0o600
    commands.run("restore", "b.tar.gz", "--home", "new")
    new = tmp_path / "new"
    assert files(new) == OWN
    for name in OWN - {"state/innkeeper.db"}:
        assert (new / name).read_bytes() == (home / name).read_bytes()
    assert kept(new, "a") == b"1"
    assert stat.S_IMODE(os.stat(new / "state").st_mode) == 0o700


def test_a_backup_can_be_read_and_checked_by_hand(commands: Commands, home: Path, tmp_path: Path) -> None:
    long = "plugins/" + "d" * 150 + "/" + "f" * 200
    (home / long).parent.mkdir()
    (home / long).write_text("a long name")
    commands.run("backup", "b.tar.gz")
    with tarfile.open("b.tar.gz") as archive:
        assert set(archive.getnames()) == OWN | {long, "innkeeper-backup.json", "SHA256SUMS"}
        archive.extractall(tmp_path / "by-hand", filter="data")
    checked = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=tmp_path / "by-hand", check=False)
    assert checked.returncode == 0
    commands.run("restore", "b.tar.gz", "--home", "new")
    assert (tmp_path / "new" / long).read_text() == "a long name"


def test_a_backup_has_one_state_of_a_database_that_others_write(home: Path, tmp_path: Path) -> None:
    """Two rows are always changed together: in no copy do they differ."""
    source = home / "state" / FILE
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("CREATE TABLE pair (id INTEGER PRIMARY KEY, value INTEGER, filler BLOB)")
        # Many pages between the two, so that a copy in steps passes them at different times.
        connection.executemany("INSERT INTO pair VALUES (?, 0, zeroblob(40000))", [(at,) for at in range(1200)])
        connection.commit()
    ending = threading.Event()
    written = []

    def write() -> None:
        with closing(sqlite3.connect(source, timeout=30)) as connection:
            number = 0
            while not ending.is_set():
                number += 1
                connection.execute("UPDATE pair SET value = ? WHERE id IN (0, 1199)", (number,))
                connection.commit()
                written.append(number)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        steps = []
        for turn in range(5):
            before = len(written)
            copy = tmp_path / f"copy{turn}"
            snapshot(source, copy, lambda done, whole: steps.append((done, whole)))
            assert len(written) > before, "nothing was written meanwhile"
            with closing(sqlite3.connect(copy)) as connection:
                values = connection.execute("SELECT DISTINCT value FROM pair WHERE id IN (0, 1199)").fetchall()
            assert len(values) == 1
    finally:
        ending.set()
        thread.join()
    assert max(done for done, _ in steps) == steps[-1][1]


def test_a_home_in_which_nothing_was_kept_yet_makes_a_backup(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "bare" / "plugins").mkdir(parents=True)
    file = str(tmp_path / "b.tar.gz")
    found = commands.json("backup", file, "--home", str(tmp_path / "bare"))
    assert (found["files"], found["database"]) == (0, None)
    assert not (tmp_path / "bare" / "state").exists()
    commands.run("restore", file, "--home", str(tmp_path / "new"))


def test_links_and_what_is_no_file_are_left_out_and_said(commands: Commands, home: Path, tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text("private")
    (home / "files/link").symlink_to(tmp_path / "private.txt")
    (home / "files/folder").symlink_to(tmp_path)
    os.mkfifo(home / "files/pipe")
    (home / "files/odd\nname").touch()
    found = commands.json("backup", "b.tar.gz")
    assert found["left_out"] == [
        "files/folder: is a link",
        "files/link: is a link",
        "files/odd\nname: has a control character",
        "files/pipe: is no regular file",
    ]
    assert b"private" not in Path("b.tar.gz").read_bytes()
    with tarfile.open("b.tar.gz") as archive:
        assert set(archive.getnames()) == OWN | {"innkeeper-backup.json", "SHA256SUMS"}


@pytest.fixture
def secrets(home: Path) -> Path:
    file = home / "files" / "secrets.toml"
    file.write_text('TOKEN = "sesame"')
    file.chmod(0o600)
    (home / "innkeeper.toml").write_text(f'[secrets]\nfile = "{file}"\n')
    return file


@pytest.mark.usefixtures("secrets")
def test_secrets_are_in_a_backup_only_if_it_is_said(commands: Commands, home: Path, tmp_path: Path) -> None:
    commands.run("backup", "without.tar.gz")
    with tarfile.open("without.tar.gz") as archive:
        assert not [name for name in archive.getnames() if "secrets" in name]
    assert commands.json("backup", "with.tar.gz", "--with-secrets")["secrets"]
    commands.run("restore", "with.tar.gz", "--home", "not-wanted")
    assert not (tmp_path / "not-wanted/secrets.toml").exists()
    commands.run("restore", "with.tar.gz", "--home", "wanted", "--with-secrets")
    restored = tmp_path / "wanted/secrets.toml"
    assert restored.read_text() == 'TOKEN = "sesame"'
    assert stat.S_IMODE(restored.stat().st_mode) == 0o600


def test_the_master_key_is_in_a_backup_only_if_it_is_said(commands: Commands, home: Path, tmp_path: Path) -> None:
    key = home / "state/master.key"
    key.write_text("a key")
    key.chmod(0o600)
    (home / "state/master.key.0123").write_text("half of one")
    left = commands.json("backup", "without.tar.gz")["left_out"]
    assert left == ["state/master.key: without it no credential can be read; --with-secrets takes it"]
    with tarfile.open("without.tar.gz") as archive:
        assert not [name for name in archive.getnames() if "master" in name]
    # Without a file of secrets, too.
    assert commands.json("backup", "with.tar.gz", "--with-secrets")["secrets"]
    commands.run("restore", "with.tar.gz", "--home", "not-wanted")
    assert not (tmp_path / "not-wanted/state/master.key").exists()
    commands.run("restore", "with.tar.gz", "--home", "wanted", "--with-secrets")
    restored = tmp_path / "wanted/state/master.key"
    assert (restored.read_text(), stat.S_IMODE(restored.stat().st_mode)) == ("a key", 0o600)
    lock = ProcessLock(home / "state/master.lock")
    assert lock.take()
    assert "rotates the master key" in commands.run("backup", "b.tar.gz", "--with-secrets", code=7)
    lock.release()


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("postgresql://me:sesame@server/db", True),
        ("postgresql://server/db?user=me&password=sesame", True),
        ("postgresql://me@server/db", False),
        ("postgresql://[me:sesame/db", True),
    ],
)
def test_settings_that_hold_the_password_of_a_database_are_a_secret(
    home: Path, tmp_path: Path, url: str, holds: bool
) -> None:
    opened = open_home(home)
    (home / "innkeeper.toml").write_text(f'[database]\nurl = "{url}"\n')
    made = backing_up.back_up(opened, tmp_path / "b.tar.gz")
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        assert ("innkeeper.toml" in archive.getnames()) == (not holds)
    assert bool(made.left_out) == holds
    assert "sesame" not in "".join(made.left_out)


def test_secrets_that_are_not_there_cannot_be_backed_up(commands: Commands, home: Path) -> None:
    assert "names no file of secrets" in commands.run("backup", "b.tar.gz", "--with-secrets", code=2)
    (home / "innkeeper.toml").write_text('[secrets]\nfile = "/nowhere/secrets.toml"\n')
    assert "cannot be read" in commands.run("backup", "b.tar.gz", "--with-secrets", code=2)
    assert not Path("b.tar.gz").exists()


def test_a_backup_does_not_hold_itself_and_replaces_only_if_told(commands: Commands, home: Path) -> None:
    commands.run("backup", str(home / "files" / "b.tar.gz"))
    assert "is there already" in commands.run("backup", str(home / "files" / "b.tar.gz"), code=2)
    commands.run("backup", str(home / "files" / "c.tar.gz"))
    with tarfile.open(home / "files" / "c.tar.gz") as archive:
        names = archive.getnames()
    assert "files/b.tar.gz" in names
    assert not [name for name in names if "c.tar.gz" in name or ".innkeeper-backup" in name]
    commands.run("backup", str(home / "files" / "b.tar.gz"), "--force")
    assert sorted(os.listdir(home / "files")) == ["b.tar.gz", "c.tar.gz", "notes"]


@pytest.mark.parametrize(("file", "said"), [("b.zip", "must end with"), ("nowhere/b.tar.gz", "no folder")])
def test_a_backup_has_its_name_and_its_folder(commands: Commands, home: Path, file: str, said: str) -> None:
    assert said in commands.run("backup", file, code=2)


def test_a_damaged_database_is_not_backed_up_as_if_it_were_sound(commands: Commands, home: Path) -> None:
    with open(home / "state" / FILE, "r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096)
    assert "damaged" in commands.run("backup", "b.tar.gz", code=3)
    assert not list(Path().glob("*.tar.gz"))
    assert not list(Path().glob(".innkeeper-*"))


def test_a_backup_that_is_broken_off_leaves_nothing(home: Path, tmp_path: Path) -> None:
    def broken_off(done: int, whole: int) -> None:
        raise KeyboardInterrupt

    before = sorted(os.listdir(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        backing_up.back_up(open_home(home), tmp_path / "b.tar.gz", progress=broken_off)
    assert sorted(os.listdir(tmp_path)) == before
    keep(home, a=b"2")


def test_a_restore_that_is_broken_off_leaves_nothing(commands: Commands, home: Path, tmp_path: Path) -> None:
    commands.run("backup", "b.tar.gz")

    def broken_off(done: int) -> None:
        raise KeyboardInterrupt

    reading = staged(tmp_path / "b.tar.gz", tmp_path / "new", said=broken_off)
    with pytest.raises(KeyboardInterrupt), reading:
        pass
    assert list((tmp_path / "new").iterdir()) == []


def test_a_database_of_a_server_is_left_to_pg_dump(
    commands: Commands, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backing_up, "database_server", lambda home: True)
    assert commands.json("backup", "b.tar.gz")["database"] == "postgresql"
    with tarfile.open("b.tar.gz") as archive:
        assert set(archive.getnames()) == OWN - {"state/innkeeper.db"} | {"innkeeper-backup.json", "SHA256SUMS"}
    assert commands.json("restore", "b.tar.gz", "--home", "new")["database"] == "postgresql"


def test_which_database_a_home_has_is_in_its_settings(home: Path) -> None:
    opened = open_home(home)
    assert not database_server(opened)
    with_server = SimpleNamespace(configuration=SimpleNamespace(database=SimpleNamespace(url="postgresql://x")))
    assert database_server(cast(Home, with_server))


# --- restoring --------------------------------------------------------------------------------------------------------


def test_nothing_is_overwritten_without_being_told(commands: Commands, home: Path, tmp_path: Path) -> None:
    commands.run("backup", "b.tar.gz")
    keep(home, a=b"2")
    before = {name: (home / name).read_bytes() for name in files(home)}
    said = commands.run("restore", "b.tar.gz", "--home", str(home), code=2)
    assert "has files, innkeeper.toml, knowledge, manifests, plugins, state already" in said
    assert {name: (home / name).read_bytes() for name in files(home)} == before


def test_with_force_what_was_there_goes_aside(commands: Commands, home: Path) -> None:
    commands.run("backup", "b.tar.gz")
    keep(home, a=b"2")
    (home / "plugins/new.wasm").touch()
    aside = Path(commands.json("restore", "b.tar.gz", "--force")["aside"])
    assert kept(home, "a") == b"1"
    assert kept(aside, "a") == b"2"
    assert not (home / "plugins/new.wasm").exists()
    assert (aside / "plugins/new.wasm").exists()
    assert (home / "work/own.json").exists(), "what is not the home's own stays"


def test_locks_alone_do_not_make_a_home_full(commands: Commands, home: Path, tmp_path: Path) -> None:
    commands.run("backup", "b.tar.gz")
    (tmp_path / "new/state").mkdir(parents=True, mode=0o700)
    (tmp_path / "new/state/scheduler.lock").touch()
    commands.run("restore", "b.tar.gz", "--home", "new")
    assert kept(tmp_path / "new", "a") == b"1"


def test_a_home_that_a_host_uses_is_refused(commands: Commands, home: Path) -> None:
    commands.run("backup", "b.tar.gz")
    lock = ProcessLock(home / "state/scheduler.lock")
    assert lock.take()
    try:
        assert "scheduler.lock" in commands.run("restore", "b.tar.gz", "--force", code=7)
    finally:
        lock.release()
    commands.run("restore", "b.tar.gz", "--force")


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(home: Path) -> Iterator[None]:
    """Another process that has the database open, and does nothing with it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, home / "state" / FILE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    yield
    process.communicate()


@pytest.mark.usefixtures("holder")
def test_a_database_that_another_process_has_open_is_refused(commands: Commands, home: Path) -> None:
    commands.run("backup", "b.tar.gz")
    with pytest.raises(BusyError):
        alone(home / "state" / FILE)
    assert "another process has the database" in commands.run("restore", "b.tar.gz", "--force", code=7)
    assert not list(home.glob(".*"))


def test_an_older_database_gets_the_newest_schema(commands: Commands, home: Path, tmp_path: Path) -> None:
    older = home / "state" / FILE
    older.unlink()
    from alembic import command
    from alembic.config import Config

    from innkeeper.storage.engines import writing_engine
    from innkeeper.storage.upgrade import MIGRATIONS

    with writing_engine(older).begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, REVISIONS[0])
    commands.run("backup", "b.tar.gz")
    commands.run("restore", "b.tar.gz", "--home", "new")
    with closing(sqlite3.connect(tmp_path / "new/state" / FILE)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISIONS[-1],)]
    assert files(tmp_path / "new/state") == {"innkeeper.db", "paused/x@y.json"}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", "newer version"),
        ("CREATE TRIGGER t AFTER INSERT ON kv_entries BEGIN DELETE FROM kv_entries; END", "triggers"),
        ("DROP TABLE alembic_version", "another program"),
    ],
)
def test_a_database_that_is_not_ours_is_not_restored(
    commands: Commands, home: Path, tmp_path: Path, spoil: str, said: str
) -> None:
    with closing(sqlite3.connect(home / "state" / FILE)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        name = next(table for table in sorted(tables) if table.startswith("kv"))
        connection.execute(spoil.replace("kv_entries", name))
        connection.commit()
    copy = io.BytesIO((home / "state" / FILE).read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        # Somebody else made the archive.
        patch.setattr(backing_up, "snapshot", lambda source, target, progress: target.write_bytes(copy.getvalue()))
        commands.run("backup", "b.tar.gz")
    assert said in commands.run("restore", "b.tar.gz", "--home", "new", code=3)
    assert list((tmp_path / "new").iterdir()) == []


def test_what_fails_half_way_leaves_the_home_as_it_was(
    commands: Commands, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands.run("backup", "b.tar.gz")
    own = OWN - {"state/innkeeper.db"}
    before = {name: (home / name).read_bytes() for name in own}
    rename, count = os.rename, [0]

    def failing(source: Path, target: Path) -> None:
        count[0] += 1
        if count[0] == 9:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    assert "disk is full" in commands.run("restore", "b.tar.gz", "--force", code=7)
    assert count[0] > 9, "what was moved was not moved back"
    assert {name: (home / name).read_bytes() for name in own} == before
    assert kept(home, "a") == b"1"
    assert not [each for each in home.iterdir() if each.name.startswith(".innkeeper")]


def test_a_copy_is_looked_over_before_it_counts_as_one(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (a)")
    snapshot(tmp_path / "a.db", tmp_path / "b.db")
    sound(tmp_path / "b.db", "b")
