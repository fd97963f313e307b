"""`innkeeper serve` contains `innkeeper work`: it has its data alone, executes the queue, and lets itself be copied."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from commands import Commands
from innkeeper.bridge.bridge import FILE
from innkeeper.cli.kept_runs import LOCK
from innkeeper.cli.main import invoke
from innkeeper.plugins.home import STATE
from innkeeper.storage.copies import FOLDER
from innkeeper.storage.location import Location
from innkeeper.storage.process_lock import ProcessLock
from innkeeper.storage.schema import REVISIONS
from old_databases import make, revision_of
from work_homes import LONG, House, Working, eventually

Queue = Callable[..., str]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    house = House(tmp_path / "home")
    monkeypatch.setenv("INNKEEPER_HOME", str(house.path))
    monkeypatch.chdir(tmp_path)
    yield house
    house.close()


@pytest.fixture
def commands(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


@pytest.fixture
def queue(house: House, capsys: pytest.CaptureFixture[str]) -> Queue:
    """Queues a workflow of one node; gives the run's id."""

    def submit(type_: str = "Quick", *arguments: str) -> str:
        assert invoke(["run", house.workflow(type_), "--queue", "--json", *arguments]) == 0
        return str(json.loads(capsys.readouterr().out)["run"])

    return submit


def healthy(serving: Working) -> bool:
    """Whether a server answers."""
    url = next(said["url"] for said in serving.said if said["event"] == "ready")
    return httpx.get(f"{url}/healthz", trust_env=False, timeout=LONG).json() == {"status": "ok"}


@pytest.mark.parametrize(("first", "second"), [("serve", "serve"), ("serve", "work"), ("work", "serve")])
def test_a_second_process_on_the_same_data_says_so_and_ends(
    commands: Commands, house: House, first: str, second: str
) -> None:
    running = house.serve() if first == "serve" else house.work()
    # A server needs no second port to learn that.
    more = ("--data", str(house.path), "--port", "0") if second == "serve" else ()
    said = commands.run(second, *more, code=7)
    assert "runs already" in said
    assert str(house.path) in said
    assert len(said.splitlines()) == 1
    if first == "serve":
        assert healthy(running)
    assert running.end() == 0
    lock = ProcessLock(house.path / STATE / LOCK)
    assert lock.take(), "the lock outlived its process"
    lock.release()


def test_what_was_queued_before_and_while_it_serves_is_executed(commands: Commands, house: House, queue: Queue) -> None:
    before = queue("Quick")
    serving = house.serve()
    assert serving.run(before, "complete")["owner"] == "default_user"
    while_it_serves = queue("Quick")
    serving.run(while_it_serves, "complete")
    assert healthy(serving)
    assert serving.end() == 0


def test_a_schedule_fires_while_it_serves(commands: Commands, house: House) -> None:
    serving = house.serve()
    schedule = commands.json("schedule", "add", house.workflow(), "--in", "100ms", "--name", "soon")["schedule"]
    said = serving.until(lambda said: said.get("status") == "complete")
    assert (said["name"], said["owner"]) == ("soon", "default_user")
    assert commands.json("runs", "show", said["run"])["schedule"] == schedule
    assert commands.json("schedule", "list") == {"schedules": []}
    assert serving.end() == 0


def test_a_backup_is_made_while_it_serves_and_becomes_a_home_that_serves(
    commands: Commands, house: House, queue: Queue, tmp_path: Path
) -> None:
    done = queue("Quick")
    serving = house.serve()
    serving.run(done, "complete")
    under_way, waiting = queue("Sleep"), queue("Quick", "--deadline", "1h")
    serving.run(under_way, "running")
    serving.run(waiting, "complete")
    file = tmp_path / "b.tar.gz"
    made = commands.json("backup", str(file))
    assert (made["database"], made["left_out"]) == ("sqlite", [])
    assert healthy(serving)
    # A home that is served is not restored into.
    assert "a host uses this home" in commands.run("restore", str(file), "--force", code=7)
    serving.kill()
    copy = tmp_path / "copy"
    commands.json("restore", str(file), "--home", str(copy))
    shown = {run: commands.json("--home", str(copy), "runs", "show", run) for run in (done, under_way, waiting)}
    assert [each["status"] for each in shown.values()] == ["complete", "running", "complete"]
    assert shown[done]["outputs"] == {"out": "done"}
    other = House.there(copy)
    try:
        again = other.serve()
        assert healthy(again)
        # What ran in the host of which it is a copy runs nowhere now.
        eventually(lambda: commands.json("--home", str(copy), "runs", "show", under_way)["status"] == "interrupted")
        assert again.end() == 0
    finally:
        other.close()


def test_a_home_of_an_older_version_is_copied_upgraded_and_served(commands: Commands, house: House) -> None:
    path = house.path / STATE / FILE
    path.parent.mkdir(mode=0o700)
    make(Location.of(path), "0008", each=1)
    serving = house.serve()
    assert healthy(serving)
    assert serving.end() == 0
    assert revision_of(path) == REVISIONS[-1]
    (copy,) = (house.path / STATE / FOLDER).iterdir()
    assert revision_of(copy) == "0008"


def test_data_of_a_newer_version_is_not_served(commands: Commands, house: House) -> None:
    path = house.path / STATE / FILE
    path.parent.mkdir(mode=0o700)
    make(Location.of(path), REVISIONS[-1], each=1)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    said = commands.run("serve", "--port", "0", code=3)
    assert len(said.splitlines()) == 1
    assert "'0999'" in said
