"""Which calls are kept: by policy, whole or not at all, without a secret, and never at the expense of a call."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from guests import NOTHING, assemble, wat
from innkeeper import Host
from innkeeper.bridge.bridge import FILE
from innkeeper.bridge.host import STATE, open_host
from innkeeper.bridge.journal.format import read_journal
from innkeeper.bridge.journal.keeper import JournalKeeper
from innkeeper.bridge.journal.model import Given, Journal
from innkeeper.bridge.journal.replay import replay
from innkeeper.bridge.journal.shelf import open_shelf
from innkeeper.errors import BusyError, GuestError, LimitError, UsageError
from innkeeper.plugins import home as home_module
from innkeeper.plugins.attendant import Attendants, PluginCall, Proceed
from innkeeper.plugins.home import open_home
from innkeeper.plugins.plugin import Plugin
from innkeeper.plugins.runs import Run, RunContext
from innkeeper.plugins.settings import JournalSettings, Keep
from innkeeper.sandbox.engine import open_engine
from innkeeper.sandbox.interface import CallOptions, HostFunction, Value
from innkeeper.sandbox.usage import Result, Usage
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.journals import JournalStore
from innkeeper.storage.run_model import USER

SECRET = "hunter2-in-the-environment"


async def asks(data: bytes) -> bytes:
    return b"answer to " + data


async def breaks(data: bytes) -> bytes:
    raise OSError(f"{SECRET} {data!r}")


async def waits(data: bytes) -> bytes:
    await trio.sleep_forever()
    raise AssertionError


HOST = [HostFunction(each.__name__, each, (Value.BYTES,), Value.BYTES) for each in (asks, breaks, waits)]
GUEST = assemble(
    wat(
        "".join(
            f"""(func (export "{each.name}") (local $b i64)
              (local.set $b (call ${each.name} (call $input_offset)))
              (call $output_set (local.get $b) (call $length (local.get $b))))"""
            for each in HOST
        )
        + """(func (export "traps") (drop (call $asks (call $input_offset))) (unreachable))
        (func (export "spins") (loop (br 0)))""",
        "input_offset output_set length",
        functions=HOST,
    )
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@asynccontextmanager
async def opened(home: Path, keep: Keep = "all", **more: Any) -> AsyncIterator[tuple[Host, Plugin]]:
    async with open_host(home, watch=False, journal=keep) as host:
        yield host, await host.load(GUEST, plugin_id="notes", functions=HOST, **more)


async def kept(home: Path) -> list[Journal]:
    """The journals of a home, oldest first."""
    found = []
    async with open_shelf(open_home(home)) as shelf:
        for head in reversed(await shelf.list(1000)):
            got = await shelf.get(head.id)
            assert got is not None
            found.append(read_journal(got[1]))
            assert found[-1].ending.kind == head.outcome
    return found


async def test_a_call_that_failed_is_there_once_the_host_has_closed(home: Path) -> None:
    async with opened(home, "errors") as (_, plugin):
        await plugin.call("asks", b"well")
        with pytest.raises(GuestError):
            await plugin.call("traps", b"in", config={"key": "value"})
    (journal,) = await kept(home)
    assert (journal.plugin, journal.function, journal.input) == ("notes", "traps", b"in")
    assert (journal.ending.kind, journal.ending.message) == ("guest", "the guest trapped: unreachable code was reached")
    assert [call.answer for call in journal.calls] == [Given(b"answer to in")]
    assert journal.config == {"key": "value"}
    assert journal.usage["host_calls"] == 1
    assert journal.host.startswith("innkeeper ")
    async with open_engine() as engine:
        verdict = await replay(journal, GUEST, engine)
    assert verdict.same
    assert verdict.whole


async def test_where_everything_is_kept_what_went_well_is_too(home: Path) -> None:
    async with opened(home) as (_, plugin):
        for number in range(20):
            await plugin.call("asks", b"%d" % number, run=RunContext(Run("r7"), "n1"))
    journals = await kept(home)
    assert [each.ending.output for each in journals] == [b"answer to %d" % number for number in range(20)]
    assert {(each.run, each.node) for each in journals} == {("r7", "n1")}


async def test_a_host_that_keeps_nothing_makes_no_file_and_has_nobody_around_its_calls(home: Path) -> None:
    async with opened(home, "never") as (_, plugin):
        assert plugin._attendant is None
        with pytest.raises(GuestError):
            await plugin.call("traps")
    assert not (home / STATE).exists()
    async with opened(home, "errors") as (_, plugin):
        await plugin.call("asks")
    assert not (home / STATE).exists()


async def test_no_secret_of_a_host_function_is_in_a_journal(home: Path) -> None:
    async with opened(home) as (_, plugin):
        with pytest.raises(OSError, match=SECRET):
            await plugin.call("breaks", b"in")
    (journal,) = await kept(home)
    assert journal.ending.kind == "exception"
    assert journal.ending.message == "a host function failed with OSError"
    for file in (home / STATE).iterdir():
        assert SECRET.encode() not in file.read_bytes()


async def test_a_call_that_is_cancelled_did_not_fail(home: Path) -> None:
    for keep in ("errors", "all"):
        async with opened(home, keep) as (_, plugin):
            with trio.move_on_after(0.05) as scope:
                await plugin.call("waits", b"in")
            assert scope.cancelled_caught
    (journal,) = await kept(home)
    assert journal.ending.kind == "cancelled"
    assert journal.calls[-1].answer is None


async def test_a_shared_guests_calls_are_kept_and_cannot_be_run_again(home: Path) -> None:
    async with opened(home, instance="shared") as (_, plugin):
        assert (await plugin.call("asks", b"1")).output == b"answer to 1"
        assert (await plugin.call("asks", b"2")).output == b"answer to 2"
    journals = await kept(home)
    assert [each.ending.output for each in journals] == [b"answer to 1", b"answer to 2"]
    async with open_engine() as engine:
        with pytest.raises(UsageError, match="cannot be run again: its guest had served calls before"):
            await replay(journals[1], GUEST, engine)


async def test_a_journal_with_limits_above_the_hosts_is_not_run(home: Path) -> None:
    async with opened(home) as (_, plugin):
        await plugin.call("asks", b"1")
    (journal,) = await kept(home)
    async with open_engine() as engine:
        greedy = replace(journal, limits={**journal.limits, "memory": 1 << 40})
        with pytest.raises(UsageError, match="memory"):
            await replay(greedy, GUEST, engine)
        with pytest.raises(UsageError, match="exports no such function"):
            await replay(replace(journal, function="nothing"), GUEST, engine)
        # An answer that its function cannot give.
        wrong = replace(journal, calls=(replace(journal.calls[0], answer=Given(7)),))
        with pytest.raises(UsageError, match="fits no function"):
            await replay(wrong, GUEST, engine)


# --- never at the expense of a call ---------------------------------------------------------------------------------


async def test_a_call_neither_waits_for_its_journal_nor_is_it_lost_when_the_disk_is_slow(home: Path) -> None:
    (home / STATE).mkdir(mode=0o700)
    with (home / STATE / f"{FILE}.lock").open("wb") as lock:
        os.fchmod(lock.fileno(), 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with opened(home) as (_, plugin):
            for number in range(3):
                assert (await plugin.call("asks", b"%d" % number)).output == b"answer to %d" % number
            fcntl.flock(lock, fcntl.LOCK_UN)
    assert len(await kept(home)) == 3


async def test_where_nothing_can_be_written_calls_go_on_and_one_line_says_so(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / STATE).write_text("not a folder")
    with caplog.at_level(logging.WARNING, "innkeeper.bridge"):
        async with opened(home) as (_, plugin):
            for _ in range(5):
                assert (await plugin.call("asks", b"1")).output == b"answer to 1"
    (line,) = [record.getMessage() for record in caplog.records if record.name == "innkeeper.bridge"]
    assert line.startswith("a journal was not kept")


async def test_a_host_that_closes_does_not_wait_for_each_journal_to_fail(home: Path) -> None:
    tries = 0

    async def fails() -> Database:
        nonlocal tries
        tries += 1
        await trio.sleep(0.05)
        raise BusyError("another process holds it", bound="database")

    async with opened(home, "never") as (_, plugin):
        version = plugin._present
        keeper = JournalKeeper(JournalSettings("all"), fails)

        async def proceed(options: CallOptions) -> Result:
            return Result(b"", Usage())

        for _ in range(1000):
            await keeper.attend(PluginCall(version, "asks", b"", version.options, None, shared=False), proceed)
        await keeper.aclose()
    assert (keeper.lost, tries) == (1000, 1)
    assert keeper._room.taken == 0


async def never() -> Database:
    await trio.sleep_forever()
    raise AssertionError


async def test_journals_under_way_take_no_more_memory_than_they_may(home: Path) -> None:
    async with opened(home, "never") as (_, plugin):
        version = plugin._present
        keeper = JournalKeeper(JournalSettings("all", memory=1 << 20), never)

        async def proceed(options: CallOptions) -> Result:
            assert version.code.program is not None
            return await version.code.program.call("asks", b"x" * 10_000, options)

        for _ in range(200):
            call = PluginCall(version, "asks", b"x" * 10_000, version.options, None, shared=False)
            assert (await keeper.attend(call, proceed)).output.endswith(b"x")
            assert keeper._room.taken <= 1 << 20
        assert keeper.lost > 150
        assert len(keeper._queue) <= 30


async def test_no_plugin_keeps_out_the_journals_of_another(home: Path) -> None:
    async with opened(home, "never") as (host, plugin):
        other = await host.load(assemble(NOTHING), plugin_id="other")
        keeper = JournalKeeper(JournalSettings("all", memory=1 << 20), never)

        async def proceed(options: CallOptions) -> Result:
            return Result(b"x" * 9_000, Usage())

        for version, count in ((plugin._present, 200), (other._present, 1)):
            for _ in range(count):
                call = PluginCall(version, "asks", b"", version.options, None, shared=False)
                await keeper.attend(call, proceed)
        assert [each.journal.plugin for each in keeper._queue][-1] == "other"
        assert keeper._room.taken <= (1 << 19) + 20_000


async def test_a_flood_of_small_journals_is_bounded_too(home: Path) -> None:
    async with opened(home, "never") as (host, _):
        plugin = await host.load(assemble(NOTHING), plugin_id="nothing")
        version = plugin._present
        keeper = JournalKeeper(JournalSettings("all", memory=1 << 20), never)

        async def proceed(options: CallOptions) -> Result:
            assert version.code.program is not None
            return await version.code.program.call("run", b"", options)

        for _ in range(500):
            await keeper.attend(PluginCall(version, "run", b"", version.options, None, shared=False), proceed)
        assert len(keeper._queue) <= (1 << 20) // 4096


async def test_a_flood_of_those_that_are_too_long_is_bounded_too(home: Path) -> None:
    async with opened(home, "never") as (_, plugin):
        version = plugin._present
        keeper = JournalKeeper(JournalSettings("all", memory=1 << 20, most_bytes=5000), never)

        async def proceed(options: CallOptions) -> Result:
            return Result(b"x" * 5000, Usage())

        for _ in range(500):
            await keeper.attend(PluginCall(version, "asks", b"", version.options, None, shared=False), proceed)
        assert 0 < len(keeper._queue) <= (1 << 20) // 4096
        assert keeper.lost == 500


async def test_one_that_is_too_long_is_kept_as_that(home: Path, tmp_path: Path) -> None:
    async with opened(home, "never") as (_, plugin), open_database(tmp_path / "own" / "db") as database:
        version = plugin._present

        async def own() -> Database:
            return database

        keeper = JournalKeeper(JournalSettings("errors", most_bytes=20_000), own)

        async def proceed(options: CallOptions) -> Result:
            assert version.code.program is not None
            return await version.code.program.call("traps", b"x" * 9_000, options)

        call = PluginCall(version, "traps", b"x" * 9_000, version.options, None, shared=False)
        with pytest.raises(GuestError):
            await keeper.attend(call, proceed)
        await keeper.aclose()
        assert (keeper.kept, keeper.lost) == (1, 1)

        found = await JournalStore(database).get(USER, 1)
        assert found is not None
        journal = read_journal(found[1])
        assert "is not whole" in journal.why_not
        assert (journal.input, journal.calls, journal.ending.kind) == (b"", (), "guest")


# --- what stands around calls ---------------------------------------------------------------------------------------


class Watcher:
    """Notes what it sees; may answer instead of the guest."""

    def __init__(self, name: str, seen: list[str], answer: bytes | None = None) -> None:
        self.name, self.seen, self.answer = name, seen, answer

    async def attend(self, call: PluginCall, proceed: Proceed) -> Result:
        self.seen.append(f"{self.name} {call.function} {call.options.plugin}")
        if self.answer is not None:
            return Result(self.answer, Usage())
        return await proceed(replace(call.options, plugin=f"{call.options.plugin}+{self.name}"))


async def test_attendants_stand_around_a_call_in_order_and_may_answer_it(home: Path) -> None:
    async with opened(home, "never") as (_, plugin):
        seen: list[str] = []
        plugin._attendant = Attendants([Watcher("outer", seen), Watcher("inner", seen)])
        assert (await plugin.call("asks", b"1")).output == b"answer to 1"
        assert seen == ["outer asks notes", "inner asks notes+outer"]
        plugin._attendant = Attendants([Watcher("outer", seen, b"remembered"), Watcher("inner", seen)])
        assert (await plugin.call("spins", b"1")).output == b"remembered"
        assert seen[2:] == ["outer spins notes"]


async def test_an_attended_call_has_its_limits_its_errors_and_its_place_in_the_chain(home: Path) -> None:
    async with opened(home) as (_, plugin):
        with pytest.raises(LimitError) as caught:
            await plugin.call("spins", limits=replace(plugin.limits, cpu=0.02))
        assert (caught.value.plugin, caught.value.function, caught.value.limit) == ("notes", "spins", "cpu")
        with pytest.raises(UsageError, match="exports no function"):
            await plugin.call("nothing")
    (journal,) = await kept(home)
    assert (journal.ending.kind, journal.ending.limit) == ("limit", "cpu")


async def test_a_call_inside_of_a_call_has_a_journal_of_its_own(home: Path) -> None:
    plugins: list[Plugin] = []

    async def inner(data: bytes) -> bytes:
        return (await plugins[0].call("asks", data)).output

    functions = [HostFunction("inner", inner, (Value.BYTES,), Value.BYTES)]
    outer = assemble(
        wat(
            '(func (export "run") (local $b i64) (local.set $b (call $inner (call $input_offset)))'
            "(call $output_set (local.get $b) (call $length (local.get $b))))",
            "input_offset output_set length",
            functions=functions,
        )
    )
    async with opened(home) as (host, plugin):
        plugins.append(plugin)
        second = await host.load(outer, plugin_id="outer", functions=functions)
        assert (await second.call("run", b"x", run=RunContext(Run("r1"), "n"))).output == b"answer to x"
    journals = await kept(home)
    assert [(each.plugin, each.run) for each in journals] == [("notes", "r1"), ("outer", "r1")]
    async with open_engine() as engine:
        assert (await replay(journals[1], outer, engine)).same
