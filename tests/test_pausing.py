"""A plugin whose calls end in traps or limits again and again is paused, says so, and is resumed by its operator."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from event_homes import House, Recorder, publish, subscribe
from guests import assemble, wat
from innkeeper import BusyError, Change, GuestError, Host, LimitError, Limits, Plugin, RejectedError
from innkeeper.bridge import delivery, pausing
from innkeeper.bridge.bridge import bridge_of
from innkeeper.bridge.host import open_host
from innkeeper.bridge.pausing import WINDOW, _Failures
from innkeeper.cli.main import invoke
from innkeeper.plugins import home as home_module
from innkeeper.plugins import paused as paused_module
from innkeeper.plugins.paused import FOLDER, Paused, is_paused, read_paused, resume, write_paused

MOST = 3

Run = Callable[..., tuple[int, str, str]]

BODY = """(func (export "works"))
  (func (export "traps") unreachable)
  (func (export "spins") (loop $more (br $more)))
  (func (export "fails") (result i32) (i32.const 1))
  (func (export "waits") (local $b i64)
    (local.set $b (call $innkeeper_kv_get (call $input_offset)))
    unreachable)"""


def guest(mark: str = "") -> bytes:
    mark = f'(global (export "mark{mark}") i32 (i32.const 0))' if mark else ""
    return assemble(wat(BODY.partition('(func (export "waits")')[0] + mark))


STARTS_WITH_A_TRAP = assemble('(module (func $s unreachable) (start $s) (func (export "works")))')


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    (folder / "plugins").mkdir(parents=True)
    (folder / "innkeeper.toml").write_text(f"[policy]\nfailures = {MOST}\n")
    (folder / "plugins" / "bad.wasm").write_bytes(guest())
    return folder


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: its exit code, what it printed, its errors."""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = invoke(arguments)
        return (code, *capfd.readouterr())

    return command


@asynccontextmanager
async def opened(home: Path, **more: Any) -> AsyncIterator[tuple[Host, Plugin]]:
    async with open_host(home, watch=False, **more) as host:
        yield host, host.plugins["bad"]


async def traps(plugin: Plugin, times: int) -> None:
    for _ in range(times):
        with pytest.raises(GuestError, match="trapped"):
            await plugin.call("traps")


async def until(what: Callable[[], object]) -> None:
    with trio.fail_after(20):
        while not what():  # noqa: ASYNC110 (nobody says when)
            await trio.sleep(0.01)


async def test_more_failures_than_the_policy_allows_pause_a_plugin_and_every_call_says_what_to_do(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Change] = []
    caplog.set_level(logging.INFO, "innkeeper")
    async with opened(home, on_change=told.append) as (_, plugin):
        await traps(plugin, MOST)
        await plugin.call("works")
        await traps(plugin, 1)
        for function in ("works", "traps"):
            with pytest.raises(BusyError, match="innkeeper plugins resume bad") as caught:
                await plugin.call(function)
            assert (caught.value.plugin, caught.value.function) == ("bad", function)
            assert caught.value.bound == "failures"
            assert caught.value.usage is None, "the call began"
            assert "unreachable" in caught.value.message
    assert [(each.kind, each.plugin) for each in told] == [("paused", "bad")]
    lines = [record for record in caplog.records if "is paused" in record.getMessage()]
    assert [record.levelno for record in lines] == [logging.WARNING]


@pytest.mark.parametrize("what", ["limits", "a start that traps"])
async def test_limits_and_starts_that_trap_count_as_traps_do(home: Path, what: str) -> None:
    tight = '[policy]\nfailures = 3\n[defaults]\ncpu = "20ms"\n'
    (home / "innkeeper.toml").write_text(tight)
    if what != "limits":
        (home / "plugins" / "bad.wasm").write_bytes(STARTS_WITH_A_TRAP)
    async with opened(home) as (_, plugin):
        for _ in range(MOST + 1):
            with pytest.raises(LimitError if what == "limits" else RejectedError):
                await plugin.call("spins" if what == "limits" else "works")
        with pytest.raises(BusyError, match="is paused"):
            await plugin.call("works")


async def test_what_the_caller_did_never_counts(home: Path) -> None:
    async with opened(home) as (_, plugin):
        for _ in range(MOST + 2):
            with pytest.raises(GuestError, match="code 1"):
                await plugin.call("fails")
            with pytest.raises(LimitError):
                await plugin.call("spins", limits=Limits(cpu=0.005))
            with pytest.raises(LimitError, match="input"):
                await plugin.call("works", bytes(100), limits=Limits(input=10))
            with pytest.raises(LimitError, match="input"):
                await plugin.call("works", bytes((16 << 20) + 1))
            with pytest.raises(Exception, match="exports no function"):
                await plugin.call("nothing")
            with trio.move_on_after(0.005):
                await plugin.call("spins")
        await plugin.call("works")


async def test_zero_failures_means_that_nothing_is_ever_paused(home: Path) -> None:
    (home / "innkeeper.toml").write_text("[policy]\nfailures = 0\n")
    async with opened(home) as (host, plugin):
        await traps(plugin, 70)
        assert bridge_of(host).overseer().paused == {}


async def test_calls_that_run_go_on_while_others_pause_the_plugin(home: Path) -> None:
    (home / "plugins" / "bad.wasm").write_bytes(guest("spinner"))
    done = trio.Event()
    async with opened(home) as (_, plugin), trio.open_nursery() as nursery:

        async def long() -> None:
            with pytest.raises(LimitError, match="cpu"):
                await plugin.call("spins")
            done.set()

        nursery.start_soon(long)
        await trio.sleep(0.02)
        await traps(plugin, MOST + 1)
        with pytest.raises(BusyError):
            await plugin.call("works")
        assert not done.is_set()
        with trio.fail_after(30):
            await done.wait()


async def test_a_pause_survives_a_restart_and_is_over_a_second_after_somebody_resumed_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(home) as (_, plugin):
        await traps(plugin, MOST + 1)
    told: list[Change] = []
    now = [100.0]
    async with opened(home, on_change=told.append) as (host, plugin):
        overseer = bridge_of(host).overseer()
        assert isinstance(overseer, pausing.Pausing)
        overseer._now = lambda: now[0]
        with pytest.raises(BusyError, match="is paused"):
            await plugin.call("works")
        assert [each.plugin for each in resume(home / "state", "bad")] == ["bad"]
        # A look is due each second.
        with pytest.raises(BusyError, match="is paused"):
            await plugin.call("works")
        now[0] += 1.0
        await plugin.call("works")
        await traps(plugin, MOST)
        await plugin.call("works")
    assert [each.kind for each in told] == ["resumed"]


async def test_other_bytes_of_the_plugin_run_and_the_paused_ones_stay_paused(home: Path) -> None:
    file = home / "plugins" / "bad.wasm"
    async with opened(home) as (host, plugin):
        await traps(plugin, MOST + 1)
        file.write_bytes(guest("mended"))
        await host.reload()
        await plugin.call("works")
        await traps(plugin, MOST)
        file.write_bytes(guest())
        await host.reload()
        with pytest.raises(BusyError, match="is paused"):
            await plugin.call("works")


async def test_one_plugin_that_is_paused_leaves_the_others_alone(home: Path) -> None:
    (home / "plugins" / "good.wasm").write_bytes(guest("good"))
    async with opened(home) as (host, plugin):
        await traps(plugin, MOST + 1)
        await traps(host.plugins["good"], MOST)
        await host.plugins["good"].call("works")


async def test_a_home_that_cannot_be_written_pauses_until_the_host_ends(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "state").write_text("not a folder")
    async with opened(home) as (_, plugin):
        await traps(plugin, MOST + 1)
        await until(lambda: "until the host ends" in caplog.text)
        monkeypatch.setattr(pausing, "LOOK", 0.0)
        for _ in range(3):
            with pytest.raises(BusyError, match="is paused"):
                await plugin.call("works")
    async with opened(home) as (_, plugin):
        await plugin.call("works")


async def test_a_shared_guest_is_paused_as_well(home: Path) -> None:
    (home / "plugins" / "bad.toml").write_text('id = "bad"\nversion = "1.0.0"\ninstance = "shared"\n')
    digest = hashlib.sha256(guest()).hexdigest()
    (home / "manifests").mkdir()
    (home / "manifests" / "bad.toml").write_text(f'sha256 = "{digest}"\ninstance = "shared"\n')
    async with opened(home) as (_, plugin):
        assert plugin.instance == "shared"
        for _ in range(MOST + 1):
            await plugin.restart()
            await traps(plugin, 1)
        await plugin.restart()
        with pytest.raises(BusyError, match="is paused"):
            await plugin.call("works")


async def test_a_subscriber_hears_of_it_and_what_waits_for_the_paused_plugin_is_delivered_when_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    monkeypatch.setattr(delivery, "NOT_NOW", 0.05)
    monkeypatch.setattr(pausing, "LOOK", 0.0)

    async def traps(guest: Any, data: bytes) -> bytes:
        error = GuestError("the guest trapped")
        error.trap = True
        raise error

    house, hears, bad = House(tmp_path / "home"), Recorder(), Recorder()
    (house.path / "innkeeper.toml").write_text(f"[policy]\nfailures = {MOST}\n")
    house.put("hears", {"on_event": hears})
    house.put("bad", {"on_event": bad, "traps": traps})
    async with house.host() as host:
        await subscribe(host, "hears", "innkeeper.plugin.*")
        await subscribe(host, "bad", "work")
        for _ in range(MOST + 1):
            with pytest.raises(GuestError):
                await host.plugins["bad"].call("traps")
        await hears.until(1)
        await publish(host, "hears", "work", 7)
        await until(lambda: read_paused(house.path / "state"))
        await trio.sleep(0.2)
        assert bad.got == []
        assert [each.plugin for each in resume(house.path / "state", "bad")] == ["bad"]
        assert await bad.until(1) == [7]
        await hears.until(2)
    topics = [(each["topic"], each["data"]) for each in hears.got]
    assert topics == [(f"innkeeper.plugin.{kind}", {"plugin": "bad", "parts": []}) for kind in ("paused", "resumed")]


# --- the count ------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), max_size=300))
def test_what_is_counted_is_what_failed_within_the_window(steps: list[int]) -> None:
    failures = _Failures()
    second, all_seconds = 0, []
    for step in steps:
        second += step
        all_seconds.append(second)
        assert failures.add(second) == sum(second - each < WINDOW for each in all_seconds)
        assert len(failures.seconds) <= WINDOW


def test_a_million_failures_take_no_more_room_than_a_minute_has_seconds() -> None:
    failures = _Failures()
    for number in range(1_000_000):
        failures.add(number // 10_000)
    assert len(failures.seconds) <= WINDOW


# --- the records ----------------------------------------------------------------------------------------------------

PAUSED = Paused("bad", "ab" * 32, 1767225600.0, "it failed")


def test_a_record_is_read_as_it_was_written_and_is_nobody_elses(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert read_paused(state) == {}
    write_paused(state, PAUSED)
    assert read_paused(state) == {("bad", PAUSED.digest): PAUSED}
    assert is_paused(state, "bad", PAUSED.digest)
    assert not is_paused(state, "bad", "cd" * 32)
    for folder in (state, state / FOLDER):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert resume(state, "other") == []
    assert resume(state, "bad") == [PAUSED]
    assert read_paused(state) == {}


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b'{"since": "x", "reason": 1}', b"x" * 5000, b"[" * 4000])
def test_a_record_that_says_nonsense_pauses_all_the_same(tmp_path: Path, text: bytes) -> None:
    write_paused(tmp_path / "state", PAUSED)
    (file,) = (tmp_path / "state" / FOLDER).iterdir()
    file.write_bytes(text)
    (found,) = read_paused(tmp_path / "state").values()
    assert (found.plugin, found.digest, found.since, found.reason) == ("bad", PAUSED.digest, 0.0, "")
    assert resume(tmp_path / "state", "bad") == [found]


def test_bytes_that_come_again_and_again_leave_a_bounded_number_of_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paused_module, "_MOST", 5)
    for number in range(9):
        write_paused(tmp_path / "state", Paused("bad", f"{number:064x}", float(number), ""))
    assert len(list((tmp_path / "state" / FOLDER).iterdir())) == 5
    assert ("bad", f"{8:064x}") in read_paused(tmp_path / "state")


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_line_says_who_is_paused_and_resumes(home: Path, run: Run) -> None:
    digest = hashlib.sha256(guest()).hexdigest()
    write_paused(home / "state", Paused("bad", digest, 1.0, "61 calls failed \x1b[2J"))
    code, out, _ = run("--home", str(home), "plugins")
    assert code == 0
    assert "bad is paused: 61 calls failed" in out
    assert "\x1b" not in out
    (item,) = json.loads(run("--home", str(home), "plugins", "--json")[1])["plugins"]
    assert item["paused"]["since"] == 1.0
    assert json.loads(run("--home", str(home), "inspect", "bad", "--json")[1])["paused"]["sha256"] == digest
    code, _, err = run("--home", str(home), "call", "bad", "works")
    assert code == 7
    assert "innkeeper plugins resume bad" in err
    assert run("--home", str(home), "plugins", "resume", "bad")[0] == 0
    assert run("--home", str(home), "call", "bad", "works")[0] == 0
    code, _, err = run("--home", str(home), "plugins", "resume", "bad")
    assert (code, "is not paused" in err) == (2, True)
    code, out, _ = run("--home", str(home), "audit", "--json")
    (record,) = json.loads(out)["records"]
    assert (record["kind"], record["plugin"], record["sha256"]) == ("resume", "bad", digest)


@pytest.mark.parametrize("odd", ["../../x", "", "A B", "x\x1b", "bad@1"])
def test_an_id_that_is_none_reaches_no_file(home: Path, run: Run, odd: str) -> None:
    code, _, err = run("--home", str(home), "plugins", "resume", odd)
    assert code == 2
    assert "\x1b" not in err
