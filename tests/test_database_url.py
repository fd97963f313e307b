"""The setting `database.url`: a host keeps what it keeps where it says, and nobody is shown what is secret in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from commands import Commands
from innkeeper.bridge.bridge import FILE, location_of
from innkeeper.bridge.journal.shelf import open_shelf
from innkeeper.bridge.memo.stored import open_stored
from innkeeper.cli.main import invoke
from innkeeper.cli.security.finding import Finding
from innkeeper.cli.security.server import check_server
from innkeeper.composition import open_host
from innkeeper.errors import UsageError
from innkeeper.plugins import home as home_module
from innkeeper.plugins.home import STATE, open_home
from innkeeper.storage.database import open_database
from innkeeper.storage.journals import JournalStore, NewJournal
from innkeeper.storage.kv import KvStore
from innkeeper.storage.kv_model import Quota
from innkeeper.storage.location import Location
from innkeeper.storage.memo import MemoStore
from innkeeper.storage.run_model import USER
from kept import rows_of

SECRET = "hunter2secret"
VARIABLE = "INNKEEPER_DATABASE_URL"
QUOTA = Quota(1000, 1 << 20)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    monkeypatch.delenv(VARIABLE, raising=False)
    folder = tmp_path / "home"
    (folder / "plugins").mkdir(parents=True)
    monkeypatch.setenv("INNKEEPER_HOME", str(folder))
    return folder


@pytest.fixture
def commands(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


def settings(home: Path, url: str) -> None:
    (home / "innkeeper.toml").write_text(f'[database]\nurl = "{url}"\n')


def test_without_a_word_it_is_a_file_of_the_home(home: Path) -> None:
    opened = open_home()
    assert location_of(opened.state, opened.configuration) == Location.of(home / STATE / FILE)


def test_no_command_and_no_object_shows_the_password(
    home: Path, commands: Commands, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql://me:{SECRET}@db.example.com:5433/inn?sslmode=verify-full&password={SECRET}"
    shown = "postgresql://db.example.com:5433/inn"
    settings(home, url)
    opened = open_home()
    assert location_of(opened.state, opened.configuration).url == url
    assert SECRET not in repr(opened)
    for arguments in (("config",), ("config", "get", "database.url"), ("config", "--json")):
        said = commands.run(*arguments)
        assert shown in said
        assert SECRET not in said
    assert invoke(["doctor", "--security", "--json"]) == 1
    said = capsys.readouterr().out
    assert shown in said
    assert SECRET not in said
    monkeypatch.setenv(VARIABLE, f"postgresql://me:{SECRET}@other/inn")
    row = next(row for row in commands.json("config")["settings"] if row["key"] == "database.url")
    assert row == {"key": "database.url", "value": "postgresql://other/inn", "from": VARIABLE}


@pytest.mark.parametrize("url", [f"mysql://me:{SECRET}@h/d", f"me:{SECRET}@h/d", f"postgresql://me:{SECRET}/@h", "x"])
@pytest.mark.parametrize("source", ["file", "variable", "option"])
def test_a_url_that_is_none_is_a_slip_that_nobody_repeats(
    home: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch, url: str, source: str
) -> None:
    if source == "file":
        settings(home, url)
    elif source == "variable":
        monkeypatch.setenv(VARIABLE, url)
    said = commands.run(*(("--set", f"database.url={url}") if source == "option" else ()), "config", code=2)
    assert "the URL of a PostgreSQL database" in said
    assert SECRET not in said


def found(home: Path, url: str) -> list[Finding]:
    settings(home, url)
    return check_server(open_home())


def test_a_password_that_others_may_read_is_bad_and_one_in_the_file_is_said(home: Path) -> None:
    url = f"postgresql://me:{SECRET}@/inn"
    settings(home, url)
    (home / "innkeeper.toml").chmod(0o640)
    (finding,) = check_server(open_home())
    assert (finding.check, finding.state) == ("database", "bad")
    assert SECRET not in finding.what + finding.advice
    (home / "innkeeper.toml").chmod(0o600)
    (finding,) = check_server(open_home())
    assert finding.state == "warn"
    (finding,) = found(home, "postgresql:///inn?user=me")
    assert finding.state == "ok"


@pytest.mark.parametrize(
    ("url", "state"),
    [
        ("postgresql://db.example.com/inn", "warn"),
        ("postgresql://10.0.0.1:5432/inn?sslmode=require", "warn"),
        ("postgresql://[2001:db8::1]:5432/inn?sslmode=disable", "bad"),
        ("postgresql:///inn?host=db.example.com", "warn"),
        ("postgresql://localhost,db.example.com/inn", "warn"),
        ("postgresql://db.example.com/inn?sslmode=verify-full", "ok"),
        ("postgresql://localhost/inn", "ok"),
        ("postgresql://[::1]:5432/inn", "ok"),
        ("postgresql://127.0.0.1:5432/inn?sslmode=disable", "ok"),
        ("postgresql://%2Frun%2Fpostgresql/inn", "ok"),
        ("postgresql:///inn?host=/run/postgresql", "ok"),
    ],
)
def test_a_way_on_which_others_may_listen_is_said(home: Path, url: str, state: str) -> None:
    assert [each.state for each in found(home, url)] == [state]


def test_a_url_without_the_driver_says_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)

    async def main() -> None:
        with pytest.raises(UsageError, match=r"pip install 'innkeeper\[postgres\]'"):
            async with open_database("postgresql:///inn"):
                pass

    trio.run(main)


async def test_a_host_keeps_things_in_the_database_and_nothing_in_the_home(home: Path, postgres_url: str) -> None:
    settings(home, postgres_url)
    opened = open_home()
    async with open_host(home) as host:
        host.services.audit.record("pause", "p", "", {})
        assert (await host.services._database.open()).path is None
    assert not (home / STATE / FILE).exists()
    assert rows_of(Location.of(postgres_url)) == {"audit": 1}
    async with open_database(postgres_url) as db:
        await JournalStore(db).append(USER, [NewJournal(1e12, "p", "d", "f", "output", b"body")])
        await MemoStore(db).put(USER, {"0" * 64: b"result"})
    async with open_shelf(opened) as shelf:
        assert await shelf.usage() == (1, 4)
    async with open_stored(opened) as stored:
        assert (await stored.usage())[0] == 1


def test_commands_work_on_the_database(home: Path, postgres_url: str, commands: Commands) -> None:
    settings(home, postgres_url)

    async def main() -> None:
        async with open_database(postgres_url) as db:
            await KvStore(db).put(USER, "p", "", "k", b"v", quota=QUOTA)

    trio.run(main)
    assert commands.json("owner", "show", USER)["tables"]["kv"]["rows"] == 1
    assert commands.json("audit") is not None
    assert commands.run("journals").strip()
    erased = json.loads(commands.run("owner", "erase", USER, "--yes", "--json"))
    assert (erased["erased"]["kv"], erased["problem"]) == (1, None)
    assert rows_of(Location.of(postgres_url)) == {}
    assert not (home / STATE).exists()
