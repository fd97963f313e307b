"""Results on disk: found by the next host, looked for only where that pays, and of no use to whoever damages them."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import trio

from fakes import FakeEngine, FakeGuest
from innkeeper import GuestError, Host, Plugin
from innkeeper.bridge.bridge import FILE, bridge_of
from innkeeper.bridge.host import STATE, open_host
from innkeeper.bridge.memo import key as key_module
from innkeeper.bridge.memo import memory as memory_module
from innkeeper.bridge.memo.entry import NUMBERS
from innkeeper.bridge.memo.memory import Memory
from innkeeper.bridge.memo.shelf import MemoShelf
from innkeeper.plugins import home as home_module
from innkeeper.sandbox.usage import Usage
from innkeeper.storage.run_model import USER

LONG = 60


class Steady(FakeEngine):
    """An engine of Python functions whose calls can be remembered.

    Attributes:
        fingerprint: as `Deterministic`.
    """

    fingerprint = "steady"


class Kitchen:
    """A home with a plugin that counts how often it really runs.

    Attributes:
        runs: how often.
        wall: seconds that a run says it took.
        seconds: that it really takes.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.engine = Steady()
        self.runs = 0
        self.wall = 0.0
        self.seconds = 0.0
        self.wasm = self.engine.program({"cook": self._cook, "fails": self._fails})

    async def _cook(self, guest: FakeGuest, data: bytes) -> bytes:
        self.runs += 1
        guest.usage.wall = self.wall
        guest.usage.log.append(("info", "done"))
        if self.seconds:
            await trio.sleep(self.seconds)
        return b"cooked " + data

    async def _fails(self, guest: FakeGuest, data: bytes) -> bytes:
        self.runs += 1
        await trio.sleep(self.seconds)
        raise GuestError("burnt")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Host, Plugin]]:
        async with open_host(self.home, engine=self.engine, watch=False) as host:
            yield host, await host.load(self.wasm, plugin_id="cook")


@pytest.fixture
def kitchen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kitchen:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    (tmp_path / "home").mkdir()
    return Kitchen(tmp_path / "home")


def memory(host: Host) -> Memory:
    found = bridge_of(host).remembered
    assert found is not None
    return found


def shelf(host: Host) -> MemoShelf:
    found = memory(host)._shelf
    assert found is not None
    return found


def database(kitchen: Kitchen) -> Path:
    return kitchen.home / STATE / FILE


def change(kitchen: Kitchen, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(database(kitchen))) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


async def called(plugin: Plugin, data: bytes = b"in", memo: Any = True) -> bool:
    result = await plugin.call("cook", data, memo=memo)
    assert result.output == b"cooked " + data
    assert result.usage.log == [("info", "done")]
    return result.usage.remembered


async def test_the_next_host_finds_what_the_one_before_remembered(kitchen: Kitchen) -> None:
    large = bytes(500_000)
    async with kitchen.open() as (host, plugin):
        assert not await called(plugin)
        assert not await called(plugin, large)
    async with kitchen.open() as (host, plugin):
        assert await called(plugin)
        assert await called(plugin, large)
        assert await called(plugin)
        assert not await called(plugin, b"other")
        assert (memory(host).hits, memory(host).disk_hits, memory(host).misses) == (3, 2, 1)
    assert kitchen.runs == 3


async def test_a_hit_on_disk_compiles_nothing(kitchen: Kitchen) -> None:
    async with kitchen.open() as (_, plugin):
        await called(plugin)
    (kitchen.home / "plugins").mkdir()
    (kitchen.home / "plugins" / "cook.wasm").write_bytes(kitchen.wasm)
    loads = len(kitchen.engine.loads)
    async with open_host(kitchen.home, engine=kitchen.engine, watch=False) as host:
        assert await called(host.plugins["cook"])
    assert len(kitchen.engine.loads) == loads


async def test_a_failure_is_not_on_disk(kitchen: Kitchen) -> None:
    for _ in range(2):
        async with kitchen.open() as (_, plugin):
            with pytest.raises(GuestError):
                await plugin.call("fails", memo=True)
    assert kitchen.runs == 2


async def test_another_host_version_engine_or_machine_computes_anew(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kitchen.open() as (_, plugin):
        await called(plugin)
    monkeypatch.setattr(Steady, "fingerprint", "another")
    async with kitchen.open() as (_, plugin):
        assert not await called(plugin)
    real = key_module.implementation()
    monkeypatch.setattr("innkeeper.bridge.memo.shelf.implementation", lambda: real + "x")
    async with kitchen.open() as (_, plugin):
        assert not await called(plugin)
    assert kitchen.runs == 3


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("UPDATE memo SET body = ?", [b""]),
        ("UPDATE memo SET body = ?", [b"\xff" * 100]),
        ("UPDATE memo SET body = substr(body, 1, length(body) - 1)", []),
        ("UPDATE memo SET body = zeroblob(10000000)", []),
        ("UPDATE memo SET body = ?", ["text"]),
        ("UPDATE memo SET body = ?", [7]),
        ("UPDATE memo SET at = ?", ["never"]),
        ("UPDATE memo SET used = ?", ["never"]),
        ("UPDATE memo SET owner = ?", ["ada"]),
    ],
)
async def test_a_damaged_row_is_no_result_and_is_replaced(statement: str, values: list[Any], kitchen: Kitchen) -> None:
    async with kitchen.open() as (_, plugin):
        await called(plugin)
    change(kitchen, statement, *values)
    async with kitchen.open() as (_, plugin):
        assert not await called(plugin)
    async with kitchen.open() as (_, plugin):
        assert await called(plugin)


async def test_a_row_under_the_key_of_another_call_is_no_result(kitchen: Kitchen) -> None:
    async with kitchen.open() as (_, plugin):
        await called(plugin, b"mine")
        await called(plugin, b"yours")
    # Their bodies change places.
    with closing(sqlite3.connect(database(kitchen))) as connection, connection:
        (a, first), (b, second) = connection.execute("SELECT key, body FROM memo").fetchall()
        connection.execute("UPDATE memo SET body = ? WHERE key = ?", (second, a))
        connection.execute("UPDATE memo SET body = ? WHERE key = ?", (first, b))
    async with kitchen.open() as (_, plugin):
        assert not await called(plugin, b"mine")
        assert not await called(plugin, b"yours")


async def test_what_was_erased_is_not_found_by_any_host(kitchen: Kitchen) -> None:
    async with kitchen.open() as (host, plugin):
        await called(plugin, b"one")
    async with kitchen.open() as (host, plugin):
        await called(plugin, b"two")
        assert await memory(host).erase(USER) >= 1
        assert not await called(plugin, b"one")
        await memory(host).erase(USER)
    async with kitchen.open() as (host, plugin):
        assert not await called(plugin, b"one")
        assert not await called(plugin, b"two")


async def test_what_is_brief_neither_opens_a_database_nor_goes_there(kitchen: Kitchen) -> None:
    (kitchen.home / "innkeeper.toml").write_text('[memo]\ndisk_after = "60s"\n')
    kitchen.wall = 59.9
    async with kitchen.open() as (_, plugin):
        assert [await called(plugin, memo="costly") for _ in range(2)] == [False, True]
        assert not await called(plugin, b"more", memo="costly")
    assert not database(kitchen).exists()


async def test_what_took_long_is_on_disk_and_is_looked_for_there(kitchen: Kitchen) -> None:
    kitchen.wall = 0.02
    async with kitchen.open() as (host, plugin):
        assert not await called(plugin, memo="costly")
        assert not await called(plugin, b"more", memo="costly")
    assert kitchen.runs == 2
    # Nobody knows in another host how long it takes; while it does, the disk is asked.
    kitchen.seconds = LONG
    async with kitchen.open() as (host, plugin):
        with trio.fail_after(LONG / 2):
            assert await called(plugin, memo="costly")
            assert await called(plugin, b"more", memo="costly")
        assert memory(host).disk_hits == 2


async def test_an_error_beside_a_look_on_disk_is_raised_as_it_is(kitchen: Kitchen) -> None:
    kitchen.seconds = 0.05
    async with kitchen.open() as (_, plugin):
        with pytest.raises(GuestError, match="burnt"):
            await plugin.call("fails", memo="costly")


async def test_who_is_cancelled_beside_a_look_on_disk_is_cancelled_and_nothing_else(kitchen: Kitchen) -> None:
    kitchen.seconds = LONG
    caught: list[BaseException] = []
    async with kitchen.open() as (_, plugin):
        with trio.move_on_after(0.05) as scope:
            try:
                await plugin.call("cook", b"in", memo="costly")
            except BaseException as error:
                caught.append(error)
                raise
        assert scope.cancelled_caught
        assert [type(each) for each in caught] == [trio.Cancelled]


async def test_every_call_is_on_disk_where_the_operator_wants_it(kitchen: Kitchen) -> None:
    (kitchen.home / "innkeeper.toml").write_text('[memo]\ndisk_after = "0s"\n')
    for expected in (False, True):
        async with kitchen.open() as (_, plugin):
            assert await called(plugin, memo="costly") == expected


async def test_results_on_disk_are_bounded(kitchen: Kitchen) -> None:
    (kitchen.home / "innkeeper.toml").write_text("[memo]\ndisk = 20000\n")
    async with kitchen.open() as (_, plugin):
        for number in range(40):
            await called(plugin, number.to_bytes(2, "big") + bytes(1000))
    with closing(sqlite3.connect(database(kitchen))) as connection:
        ((count, size),) = connection.execute("SELECT count(*), sum(length(body)) FROM memo").fetchall()
    assert 5 < count < 20
    assert size < 20_000


async def test_a_home_that_cannot_be_written_to_costs_one_line_and_no_call(
    kitchen: Kitchen, caplog: pytest.LogCaptureFixture
) -> None:
    (kitchen.home / STATE).write_text("no folder")
    with caplog.at_level(logging.WARNING):
        async with kitchen.open() as (_, plugin):
            for data in (b"a", b"b", b"c"):
                assert [await called(plugin, data) for _ in range(2)] == [False, True]
    lines = [each.getMessage() for each in caplog.records if "pure calls" in each.getMessage()]
    assert len(lines) == 1


async def test_a_disk_that_does_not_answer_holds_up_one_call_and_only_for_a_while(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "PATIENCE", 0.05)
    async with kitchen.open() as (host, plugin):

        async def never() -> Any:
            await trio.sleep_forever()

        shelf(host)._database = never
        shelf(host)._start = lambda: None  # type: ignore[method-assign]
        for data in (b"a", b"b"):
            assert [await called(plugin, data) for _ in range(2)] == [False, True]
        assert await shelf(host).get(None) is None  # type: ignore[arg-type]


async def test_results_that_wait_for_a_slow_disk_are_bounded(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("innkeeper.bridge.memo.shelf.WAITING", 10_000)
    async with kitchen.open() as (host, plugin):
        real: Callable[[], Awaitable[Any]] = shelf(host)._database
        go_on = trio.Event()

        async def slow() -> Any:
            await go_on.wait()
            return await real()

        monkeypatch.setattr(shelf(host), "get", _nothing)
        shelf(host)._database = slow
        for number in range(20):
            await called(plugin, bytes(1000 + number))
        assert shelf(host)._waiting <= 10_000
        assert shelf(host).lost > 0
        go_on.set()
    assert shelf(host)._waiting == 0
    assert shelf(host).kept + shelf(host).lost == 20


async def _nothing(key: object) -> None:
    return None


async def test_a_use_is_written_down_so_that_what_is_used_stays(kitchen: Kitchen) -> None:
    async with kitchen.open() as (_, plugin):
        await called(plugin)
    change(kitchen, "UPDATE memo SET used = used - 7200, at = at - 7200")
    async with kitchen.open() as (_, plugin):
        assert await called(plugin)
    with closing(sqlite3.connect(database(kitchen))) as connection:
        ((gap,),) = connection.execute("SELECT used - at FROM memo").fetchall()
    assert gap > 7000


async def test_an_engine_that_promises_nothing_is_not_remembered(kitchen: Kitchen) -> None:
    engine = FakeEngine()
    wasm = engine.program({"cook": kitchen._cook})
    async with open_host(kitchen.home, engine=engine, watch=False) as host:
        plugin = await host.load(wasm)
        assert not plugin.pure
        assert [await called(plugin) for _ in range(2)] == [False, False]


def test_names_of_what_is_kept_are_all_that_usage_has() -> None:
    assert {each.name for each in fields(Usage)} == {*NUMBERS, "log", "remembered"}
    numbers = {each.name: each.type for each in fields(Usage) if each.name in NUMBERS}
    assert list(numbers) == list(NUMBERS)
    assert list(numbers.values()) == ["float", "float", *["int"] * (len(NUMBERS) - 2)]
