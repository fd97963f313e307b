"""Each grant, revocation, refusal and pause is in the audit log: without a flood, without a secret, in nobody's way."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from innkeeper.bridge import auditing
from innkeeper.bridge.auditing import DIFFERENT, MOST_USE, WINDOW, AuditWriter, shown_use
from innkeeper.bridge.bridge import FILE
from innkeeper.bridge.host import open_host
from innkeeper.cli.main import invoke
from innkeeper.errors import UsageError
from innkeeper.plugins import home as home_module
from innkeeper.plugins.home import STATE
from innkeeper.storage.audit import AuditLog, Record
from innkeeper.storage.database import Database, open_database
from relays import ask, get, install, relay

SECRET = "s3cr3t-0123456789"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    (folder / "plugins").mkdir(parents=True)
    return folder


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: its exit code, what it printed, its errors."""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = invoke(arguments)
        return (code, *capfd.readouterr())

    return command


async def records(home: Path) -> list[Record]:
    """All records, oldest first."""
    async with open_database(home / STATE / FILE) as database:
        return (await AuditLog(database).read(limit=1000))[::-1]


# --- refusals -------------------------------------------------------------------------------------------------------


async def test_each_refusal_by_the_gate_is_recorded_once_with_a_count(home: Path) -> None:
    install(home, "notes", relay("kv"), ["kv", "kv:own"], ["kv:own"])
    install(home, "web", relay("http"), ["http:*"], [])
    async with open_host(home, watch=False) as host:
        digest = host.plugins["notes"].digest
        for _ in range(5):
            assert "error" in await ask(host, "notes", "get", space="other", key="k")
        await get(host, "notes", "get", space="own", key="k")
        assert "error" in await ask(host, "web", "request", url=f"https://u:{SECRET}@example.com/a?key={SECRET}")
    found = [(each.plugin, each.details) for each in await records(home)]
    other = {"capability": "kv", "use": "other"}
    assert found == [
        ("notes", {**other, "count": 1}),
        ("web", {"capability": "http", "use": "", "count": 1}),
        ("notes", {**other, "count": 4, "again": True}),
    ]
    assert {each.digest for each in await records(home) if each.plugin == "notes"} == {digest}
    assert SECRET.encode() not in (home / STATE / FILE).read_bytes()


async def test_what_a_guest_wanted_to_reach_is_recorded_without_its_query_and_user(home: Path) -> None:
    install(home, "web", relay("http"), ["http:*"], ["http:https://example.com/v1/*"])
    async with open_host(home, watch=False) as host:
        url = f"https://other.example/path?key={SECRET}#{SECRET}"
        assert (await ask(host, "web", "request", url=url))["error"]["kind"] == "denied"
    (record,) = await records(home)
    assert record.details["use"] == "https://other.example/path"


@pytest.mark.parametrize(
    ("use", "shown"),
    [
        ("notes/2026?a", "notes/2026"),
        (f"https://me:{SECRET}@h.example:8080/p?q={SECRET}", "https://h.example:8080/p"),
        (f"https://h.example/p#{SECRET}", "https://h.example/p"),
        (f"https:me:{SECRET}@h.example/p@2?{SECRET}", "https:h.example/p@2"),
        (f"me:{SECRET}@h.example", "h.example"),
        (f"https:\\\\{SECRET}@h.example/", "https:h.example/"),
        (f"https://{SECRET * 500}@h.example/", "https://h.example/"),
        (f"{SECRET}:x@h.example/", "h.example/"),
        (f"https:///{SECRET}@h.example/", "https:///h.example/"),
        ("x" * 1000, "x" * MOST_USE),
        (f"https://a@{SECRET}@h.example/", "https://h.example/"),
        (f" https://me:{SECRET}@h.example/", "https://h.example/"),
        (f"ftp://me:{SECRET}@h.example/x", "h.example/x"),
        (f"x:https://me:{SECRET}@h.example/", "h.example/"),
    ],
)
def test_a_use_is_shown_without_what_may_be_secret(use: str, shown: str) -> None:
    assert shown_use("http", use) == shown
    assert shown_use("kv", "a@b?c") == "a@b?c"


async def test_a_guest_that_is_refused_ten_thousand_different_things_makes_a_few_records(home: Path) -> None:
    install(home, "notes", relay("kv"), ["kv:own"])
    async with open_host(home, watch=False) as host:
        # The gate's own bound on calls is another matter.
        for number in range(150):
            assert (await ask(host, "notes", "get", space=f"s{number}", key="k"))["error"]["kind"] == "denied"
    found = await records(home)
    assert len(found) == DIFFERENT + 1
    assert found[-1].details == {"capability": "", "use": "", "count": 150 - DIFFERENT}


class Closed:
    async def __call__(self) -> Database:
        raise UsageError("the disk is gone")


async def test_records_that_cannot_be_kept_are_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    writer = AuditWriter(Closed(), 90.0)
    with caplog.at_level(logging.WARNING, "innkeeper.bridge"):
        for number in range(100):
            writer.record("grant", f"p{number}", "", {})
        await writer.aclose()
    assert writer.lost == 100
    assert len(caplog.records) == 1
    assert "the disk is gone" in caplog.text


async def test_more_records_than_may_wait_are_counted_and_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "_QUEUE", 10)
    writer = AuditWriter(Closed(), 90.0)
    for number in range(1000):
        writer.record("grant", f"p{number}", "", {})
    assert writer.lost == 990
    await writer.aclose()
    assert writer.lost == 1000


async def test_what_came_after_the_first_refusal_is_told_as_its_minute_ends(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[dict[str, Any]] = []
    writer = AuditWriter(Closed(), 90.0)
    monkeypatch.setattr(writer, "record", lambda kind, plugin, digest, details, once=False: said.append(dict(details)))
    for _ in range(3):
        writer.refused("p", "", "kv", "a")
    assert [each["count"] for each in said] == [1]
    await trio.sleep(WINDOW + 1)
    assert [each["count"] for each in said] == [1, 2]
    writer.refused("p", "", "kv", "a")
    assert [each["count"] for each in said] == [1, 2, 1]
    await trio.sleep(WINDOW + 1)
    await writer.aclose()
    assert [each["count"] for each in said] == [1, 2, 1]


async def test_a_record_is_in_nobodys_way(home: Path) -> None:
    install(home, "notes", relay("kv"), ["kv:own"])
    (home / STATE).write_text("no folder, so nothing can be kept")
    async with open_host(home, watch=False) as host:
        with trio.fail_after(5):
            assert (await ask(host, "notes", "get", space="s", key="k"))["error"]["kind"] == "denied"


# --- grants ---------------------------------------------------------------------------------------------------------


async def test_a_grant_that_was_carried_over_is_recorded_once_however_often_a_host_opens(home: Path) -> None:
    install(home, "notes", relay("kv"), ["kv:own"])
    file, grant = home / "plugins" / "notes.wasm", home / "manifests" / "notes.toml"
    (home / "innkeeper.toml").write_text('[policy]\nnew_bytes = "same"\n')
    before = f'{grant.read_text()}[consent]\nversion = "1.0.0"\nasked = ["kv:own"]\n'
    file.write_bytes(file.read_bytes() + b"\0\x05\4salt")
    grant.write_text(before)
    for _ in range(3):
        async with open_host(home, watch=False) as host:
            assert host.plugins["notes"].grant_state == "carried", host.problems
            digest = host.plugins["notes"].digest
    (record,) = await records(home)
    assert (record.kind.value, record.plugin, record.digest) == ("grant", "notes", digest)
    assert record.details == {"capabilities": ["kv:own"], "carried": True}


def test_grants_and_revocations_are_recorded_while_a_host_runs(home: Path, run: Run) -> None:
    install(home, "notes", relay("kv"), ["kv:own"], [])

    async def main() -> None:
        async with open_host(home, watch=False) as host:
            await ask(host, "notes", "get", space="own", key="k")
            await trio.to_thread.run_sync(lambda: codes.append(run("--home", str(home), "grant", "notes", "--yes")))
            await host.reload()
            await get(host, "notes", "put", space="own", key="k", value=b"v")
            await trio.to_thread.run_sync(lambda: codes.append(run("--home", str(home), "revoke", "notes")))

    codes: list[tuple[int, str, str]] = []
    trio.run(main)
    assert [code for code, _, _ in codes] == [0, 0], codes
    code, out, _ = run("--home", str(home), "audit", "--plugin", "notes", "--json")
    assert code == 0
    found = [(each["kind"], each["details"].get("capabilities")) for each in json.loads(out)["records"]]
    # The refusal is written while nobody waits for it.
    assert [each for each in found if each[0] != "refusal"] == [("revoke", ["kv:own"]), ("grant", ["kv:own"])]
    assert len(found) == 3
    code, out, _ = run("--home", str(home), "audit", "--kind", "grant")
    assert (code, len(out.splitlines())) == (0, 2)


def test_a_home_that_keeps_no_records_is_granted_to_all_the_same_and_says_so(home: Path, run: Run) -> None:
    install(home, "notes", relay("kv"), ["kv:own"], [])
    (home / STATE).write_text("no folder")
    code, out, err = run("--home", str(home), "grant", "notes", "--yes")
    assert code == 0
    assert "written" in out
    assert "the audit log has no record of it" in err
    assert '"kv:own"' in (home / "manifests" / "notes.toml").read_text()


def test_the_log_of_a_home_in_which_nothing_happened_is_empty_and_makes_nothing(home: Path, run: Run) -> None:
    assert run("--home", str(home), "audit") == (0, "no records\n", "")
    assert json.loads(run("--home", str(home), "audit", "--json")[1]) == {"records": []}
    assert not os.path.lexists(home / STATE)


async def test_a_log_shows_nothing_that_steers_a_terminal(home: Path, run: Run) -> None:
    async with open_database(home / STATE / FILE) as database:
        from innkeeper.storage.audit import AuditKind

        details = {"use": "\x1b[2J\u202e", "capability": "kv\n"}
        await AuditLog(database).append(AuditKind.REFUSAL, plugin="p", details=details)
    code, out, _ = await trio.to_thread.run_sync(partial(run, "--home", str(home), "audit"))
    assert code == 0
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert len(out.splitlines()) == 2
