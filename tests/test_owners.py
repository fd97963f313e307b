"""All that is kept of an owner can be counted and erased, whatever tables there are, and nobody else's is touched."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from sqlalchemy import Boolean, Column, Float, Integer, LargeBinary, Table, insert, select

from innkeeper.bridge.bridge import FILE
from innkeeper.cli.main import invoke
from innkeeper.plugins import home as home_module
from innkeeper.plugins.home import STATE
from innkeeper.storage import owners as owners_module
from innkeeper.storage.audit import AuditKind, AuditLog
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.events import EventStore
from innkeeper.storage.journals import JournalStore, NewJournal
from innkeeper.storage.kv import KvStore
from innkeeper.storage.kv_model import Quota
from innkeeper.storage.location import Location
from innkeeper.storage.owners import NOBODYS, THROUGH, OwnerStore, clean, owned_tables
from innkeeper.storage.retention import RunRetention
from innkeeper.storage.run_journal import RunRecord
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import USER, Account, Fence, NewRun, StaleError
from innkeeper.storage.run_store import RunStore
from innkeeper.storage.schedules import ScheduleStore
from innkeeper.storage.schedules_model import Schedule
from innkeeper.storage.schema import metadata
from innkeeper.workflow.engine.events import COMPLETE, RunEvent
from kept import rows
from run_fakes import chunk, event

Run = Callable[..., tuple[int, str, str]]
QUOTA = Quota(100_000, 1 << 30)
YOURS, PLUGINS = Account("default_user"), Account("ada", "somebody")
WORD = b"a word that nobody else writes"


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as made:
        yield made


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: its exit code, what it printed, its errors."""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = invoke(arguments)
        return (code, *capfd.readouterr())

    return command


def row(table: Table, owner: str, number: int) -> dict[str, Any]:
    """A row of any table, with some value in each column."""
    values: dict[str, Any] = {}
    for column in table.columns:
        values[column.name] = owner if column.name == "owner" else _value(column, owner, number)
    return values


def _value(column: Column[Any], owner: str, number: int) -> Any:
    kind = column.type.as_generic()
    if isinstance(kind, Boolean):
        return True
    if isinstance(kind, Float):
        return float(number)
    if isinstance(kind, Integer):
        return number + 1000 * len(owner)
    return f"{owner}{number}".encode() if isinstance(kind, LargeBinary) else f"{owner}{number}"


async def fill(db: Database, owner: str, each: int) -> None:
    """Rows in every table that holds something of owners."""

    def write(connection: Any) -> None:
        for table in owned_tables():
            for number in range(each if "owner" not in table.primary_key.columns or len(table.primary_key) > 1 else 1):
                connection.execute(insert(table).values(**row(table, owner, number)))

    await db.write(write)


def test_every_table_is_somebodys_or_said_to_be_nobodys() -> None:
    """A new table must have a column `owner`, or stand in `THROUGH` or, if it holds nothing of a user, in `NOBODYS`."""
    erased = {table.name for table in owned_tables()}
    assert erased | NOBODYS == {table.name for table in metadata.sorted_tables}
    assert not erased & NOBODYS
    for table, (column, other, key) in THROUGH.items():
        assert column in table.c
        assert key in other.c
        assert "owner" in other.c


async def test_erasing_an_owner_leaves_no_row_of_it_in_any_table_and_all_of_the_others(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners_module, "_ROWS", 4)
    for owner in ("gone", "other one"):
        await fill(db, owner, 9)
    await AuditLog(db).append(AuditKind.GRANT, plugin="p")
    store = OwnerStore(db)
    assert await store.owners() == ["gone", "other one"]
    shown, other = await store.show("gone"), await store.show("other one")
    assert shown.keys() == {table.name for table in owned_tables()}
    erased = await store.erase("gone")
    assert erased == {name: count for name, (count, _) in shown.items()}
    assert await store.show("gone") == {}
    assert await store.show("other one") == other
    assert await store.erase("gone") == {}
    assert len(await AuditLog(db).read()) == 1


async def test_each_transaction_is_bounded_in_rows_and_in_bytes(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners_module, "_BYTES", 1000)
    kv = KvStore(db)
    for number in range(10):
        await kv.put(USER, "p", "", f"k{number}", bytes(400), quota=QUOTA)
    done: list[Any] = []
    write = db.write

    async def watched(function: Any) -> Any:
        done.append(await write(function))
        return done[-1]

    monkeypatch.setattr(db, "write", watched)
    assert await OwnerStore(db).erase(USER) == {"kv": 10, "kv_usage": 1}
    assert max(each for each in done if isinstance(each, int)) == 3


async def test_counts_are_right_for_a_plugin_that_goes_on_while_its_owner_is_erased(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners_module, "_ROWS", 5)
    kv = KvStore(db)
    for number in range(100):
        await kv.put(USER, "p", "", f"k{number}", b"x", quota=QUOTA)
    over = trio.Event()

    async def goes_on() -> None:
        number = 0
        while not over.is_set():
            await kv.put(USER, "p", "", f"new{number % 3}", b"y", quota=QUOTA)
            await kv.delete(USER, "p", "", f"new{(number + 1) % 3}")
            number += 1
            await trio.sleep(0.002)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(goes_on)
            await OwnerStore(db).erase(USER)
            over.set()
    count = len(await kv.list(USER, "p", ""))
    assert count <= 3
    assert (await kv.usage(USER, "p"))[0] == count


async def test_what_waits_for_a_subscription_goes_with_it(db: Database) -> None:
    events = EventStore(db)
    await events.subscribe(USER, "p", "t", "h")
    await events.subscribe("other", "p", "t", "h")
    for owner in (USER, "other"):
        await events.publish(owner, None, "t", b"\xc0", matches=lambda pattern: True)
    await OwnerStore(db).erase(USER)
    (left,) = await events.pending()
    assert (left.owner, left.waiting) == ("other", 1)
    waiting = next(iter(THROUGH))
    assert len(await db.read(lambda connection: connection.execute(select(waiting)).all())) == 1


async def test_nothing_of_it_can_be_read_in_the_file_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "state" / FILE
    async with open_database(path) as db:
        kv = KvStore(db)
        for number in range(50):
            await kv.put(USER, "p", "", f"k{number}", WORD * 100, quota=QUOTA)
        # Deleted as plugins do, which overwrites nothing.
        for number in range(25):
            await kv.delete(USER, "p", "", f"k{number}")
        journals = JournalStore(db)
        await journals.append(USER, [NewJournal(1e12, "p", "d", "f", "output", WORD * 1000)])
        await OwnerStore(db).erase(USER)
    await trio.to_thread.run_sync(clean, path)
    for file in path.parent.iterdir():
        assert WORD not in file.read_bytes(), file.name


async def lived(db: Database, account: Account, now: float) -> Fence:
    """A schedule that fired, a run that ended, and one that runs; each with what it said and gave."""
    store, leases, name = RunStore(db), RunLeases(db), f"{account.owner}-{account.plugin}"
    schedules = ScheduleStore(db)
    schedule = Schedule(f"s-{name}", account, "", "0 0 * * *", "UTC", 1, now, now, None)
    await schedules.add(schedule, b"job")
    assert await schedules.fire(schedule, f"fired-{name}", now, now + 86400.0) == "fired"
    await store.submit(NewRun(f"r-{name}", account, b"job"), now)
    first, second = await leases.claim(f"host-{name}", 2, 1000.0, now)
    for taken in (first, second):
        given = RunEvent(2, COMPLETE, {"nodeId": "n"}, {"out": b"\x01"}, at=now)
        await RunRecord(db, taken.fence).append([event(1), given, chunk(3)])
    await RunRecord(db, first.fence).end(first.run, "complete", now, events=[], outputs=b"\x80")
    return second.fence


async def test_runs_of_users_and_of_plugins_go_with_their_owner_also_while_they_run(db: Database) -> None:
    fences = {account: await lived(db, account, 1000.0) for account in (YOURS, PLUGINS)}
    store = OwnerStore(db)
    shown = {account: await store.show(account.owner) for account in fences}
    counts = {name: count for name, (count, _) in shown[YOURS].items()}
    assert counts == {"runs": 2, "run_events": 5, "node_results": 2, "schedules": 1, "firings": 1}
    assert {name: count for name, (count, _) in shown[PLUGINS].items()} == counts
    assert await store.owners() == ["ada", "default_user"]
    assert await store.erase("default_user") == counts
    assert await store.show("default_user") == {}
    assert await store.show("ada") == shown[PLUGINS]
    # The host that executes it learns that nothing it writes is kept.
    with pytest.raises(StaleError):
        await RunRecord(db, fences[YOURS]).append([event(4)])
    assert await store.show("default_user") == {}
    await RunRecord(db, fences[PLUGINS]).append([event(4)])


async def test_retention_knows_the_runs_of_every_owner(db: Database) -> None:
    for account in (YOURS, PLUGINS):
        await lived(db, account, 1000.0)
    day = 86400.0
    retention = RunRetention(db, days=30.0)
    # Those of plugins are kept for a day; what runs is kept in any case.
    assert await retention.sweep(1000.0 + 2 * day) == 1
    ended = [run.account for run in await RunStore(db).list(1000.0) if run.ended is not None]
    assert ended == [YOURS]
    assert await retention.sweep(1000.0 + 31 * day) == 1
    left = {account: await OwnerStore(db).show(account.owner) for account in (YOURS, PLUGINS)}
    assert [left[account]["runs"][0] for account in left] == [1, 1]
    assert [left[account]["node_results"][0] for account in left] == [1, 1]
    assert await ScheduleStore(db).sweep(1000.0 + 2 * day) == 2


@pytest.mark.parametrize("name", ["", "x" * 300, "a\0b", "\ud800"])
async def test_a_name_that_is_none_is_refused(db: Database, name: str) -> None:
    with pytest.raises(ValueError, match="owner"):
        await OwnerStore(db).erase(name)
    with pytest.raises(ValueError, match="owner"):
        await OwnerStore(db).show(name)


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    folder.mkdir()

    async def main() -> None:
        async with open_database(folder / STATE / FILE) as db:
            await KvStore(db).put(USER, "p", "", "k", WORD, quota=QUOTA)

    trio.run(main)
    return folder


def test_the_command_shows_and_erases_only_when_it_is_told_twice(home: Path, run: Run) -> None:
    code, out, _ = run("--home", str(home), "owner", "show", "default_user", "--json")
    found = json.loads(out)
    assert (code, found["tables"]["kv"]["rows"]) == (0, 1)
    code, _, err = run("--home", str(home), "owner", "erase", "default_user")
    assert (code, "repeat with --yes" in err) == (2, True)
    assert rows(home / STATE)["kv"] == 1
    code, out, err = run("--home", str(home), "owner", "erase", "default_user", "--yes")
    assert (code, err) == (0, "")
    assert "1 of kv" in out
    assert rows(home / STATE) == {}
    nothing = (0, "nothing is kept of 'default_user'\n")
    assert run("--home", str(home), "owner", "erase", "default_user", "--yes")[:2] == nothing
    assert run("--home", str(home), "owner", "show", "default_user")[:2] == nothing
    assert WORD not in (home / STATE / FILE).read_bytes()


def test_a_home_in_which_nothing_is_kept_stays_empty(tmp_path: Path, run: Run) -> None:
    assert run("--home", str(tmp_path), "owner", "erase", "default_user", "--yes")[0] == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [("show", "x" * 300), ("erase", "a\x1bb", "--yes"), ("show", "somebody", "--yes")]
)
def test_a_slip_is_one_line_and_erases_nothing(home: Path, run: Run, arguments: tuple[str, ...]) -> None:
    code, _, err = run("--home", str(home), "owner", *arguments)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "\x1b" not in err
    assert rows(home / STATE)["kv"] == 1
