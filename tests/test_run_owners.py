"""What a run's guests reach belongs to the run's owner: two users of one plugin know nothing of each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from bridge_guests import ask, asks, depends, guest, home, opened, refused, relay, write
from commands import Commands
from event_homes import House, Recorder, publish, subscribe
from guests import text_block
from innkeeper.bridge.bridge import Bridge
from innkeeper.bridge.journal.shelf import open_shelf
from innkeeper.bridge.runner import Job
from innkeeper.plugins import home as home_module
from innkeeper.plugins.home import open_home
from innkeeper.plugins.owner import acting_for, present_owner
from innkeeper.plugins.runs import Run, RunContext
from innkeeper.storage.kv import KvStore
from innkeeper.storage.names import MOST_BYTES, new_id
from innkeeper.storage.owners import OwnerStore
from innkeeper.storage.run_model import USER, Account, NewRun, StoredRun
from innkeeper.workflow.scheduling.host_scheduler import HostScheduler

__all__ = ["home"]

LONG = 60
USERS = ("ada", "bob", USER)

MARKS = asks("mark", "kv_put", key="mark", value=b"here")
"""Writes down for whom it worked."""

ANSWER = msgpack.packb({"outputs": {}})
NODE = f"""(func (export "go") (local $b i64)
  {text_block("what it asks", msgpack.packb({"key": "mark", "value": b"here"}), "b")}
  (drop (call $innkeeper_kv_put (local.get $b)))
  {text_block("answer", ANSWER, "b")}
  (call $output_set (local.get $b) (i64.const {len(ANSWER)})))"""
FLOW = {"nodes": [{"id": "it", "fullType": "marker:Go"}], "edges": []}


def of(owner: str) -> RunContext:
    """A run of a user."""
    return RunContext(Run(new_id(), owner=owner))


def marker(home: Path) -> None:
    """A node that writes down for whom it worked."""
    wasm = guest(MARKS + NODE, "kv")
    write(home, "marker", wasm, has=("kv",), manifest='[[nodes]]\ntype = "Go"\nfunction = "go"\n')


async def marked(bridge: Bridge) -> set[str]:
    """For whom `marker` worked."""
    store = KvStore(await bridge.database())
    names = await OwnerStore(await bridge.database()).owners()
    return {name for name in names if await store.get(name, "marker", "default", "mark") is not None}


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    """Whatever a test did: who asks next works for the local user."""
    yield
    assert present_owner() == USER


# --- for whom a call works ------------------------------------------------------------------------------------------


def test_whoever_says_nothing_works_for_the_local_user() -> None:
    assert (present_owner(), Run("r").owner) == (USER, USER)
    with acting_for("ada"):
        assert (present_owner(), Run("r").owner, Run("r", owner="bob").owner) == ("ada", "ada", "bob")
        with acting_for("bob"):
            assert present_owner() == "bob"
        assert present_owner() == "ada"


@pytest.mark.parametrize("name", ["", "x" * (MOST_BYTES + 1), "a\x1b[2J", "\ud800"])
def test_what_cannot_be_a_users_id_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="owner"), acting_for(name):
        raise AssertionError("it must not begin")


@pytest.mark.parametrize("instance", ["", 'instance = "shared"\n'])
async def test_two_users_keep_values_under_one_key_at_the_same_time(home: Path, instance: str) -> None:
    write(home, "notes", relay("kv"), has=("kv",), grant=instance, manifest=instance)
    async with opened(home) as (host, bridge):

        async def lives(owner: str) -> None:
            for number in range(20):
                value = f"{owner}{number}".encode()
                await ask(host, "notes", "kv_put", run=of(owner), key="k", value=value)
                found = await ask(host, "notes", "kv_get", run=of(owner), key="k")
                assert (found["ok"]["value"], found["ok"]["version"]) == (value, number + 1)

        async with trio.open_nursery() as nursery:
            for owner in USERS:
                nursery.start_soon(lives, owner)
        await ask(host, "notes", "kv_delete", run=of("ada"), key="k")
        assert await ask(host, "notes", "kv_list", run=of("ada")) == {"ok": {"keys": []}}
        assert await ask(host, "notes", "kv_list", run=of("bob")) == {"ok": {"keys": ["k"]}}
        assert await ask(host, "notes", "kv_list") == {"ok": {"keys": ["k"]}}
        store = KvStore(await bridge.database())
        assert [(await store.usage(owner, "notes"))[0] for owner in USERS] == [0, 1, 1]


async def test_a_call_inside_of_a_call_works_for_the_same_user(home: Path) -> None:
    write(home, "a", relay("call"), has=("call:marker",))
    marker(home)
    async with opened(home) as (host, bridge):
        depends(host, "a", marker=">=1, <2")
        inner = {"plugin": "marker", "function": "mark", "data": b""}
        assert "ok" in await ask(host, "a", "call_invoke", run=of("ada"), **inner)
        assert await marked(bridge) == {"ada"}
        with acting_for("bob"):
            assert "ok" in await ask(host, "a", "call_invoke", **inner)
        assert await marked(bridge) == {"ada", "bob"}


async def test_a_run_s_owner_comes_before_whoever_calls(home: Path) -> None:
    marker(home)
    async with opened(home) as (host, bridge):
        with acting_for("bob"):
            await host.plugins["marker"].call("mark", b"", run=of("ada"))
            assert present_owner() == "bob"
        assert await marked(bridge) == {"ada"}


# --- what is kept for it --------------------------------------------------------------------------------------------


async def test_a_variable_is_the_runs_own_also_where_two_users_runs_have_one_id(home: Path) -> None:
    write(home, "notes", relay("vars"), has=("vars",))
    async with opened(home) as (host, _):
        runs = {owner: RunContext(Run("same", owner=owner)) for owner in USERS}
        for owner, run in runs.items():
            await ask(host, "notes", "vars_set", run=run, key="k", value=owner)
        found = [(await ask(host, "notes", "vars_get", run=run, key="k"))["ok"]["value"] for run in runs.values()]
        assert found == list(USERS)


async def test_nobody_reads_another_users_knowledge_bases(home: Path) -> None:
    write(home, "lore", relay("kb"), has=("kb.read:*", "kb.write:*"))
    folder = home / "knowledge/houses"
    folder.mkdir(parents=True)
    (folder / "knowledge.json").write_text(
        '{"kb_id": "houses", "entries": [{"id": "inn", "content": {"value": "the inn"}}]}'
    )
    async with opened(home) as (host, _):
        put = {"base": "world", "id": "a", "content": "a dragon"}
        assert "ok" in await ask(host, "lore", "kb_put", run=of("ada"), **put)
        for other in ("bob", USER):
            refused(await ask(host, "lore", "kb_get", run=of(other), base="world", id="a"), "not_found")
            refused(await ask(host, "lore", "kb_info", run=of(other), base="world"), "not_found")
        assert "ok" in await ask(host, "lore", "kb_put", run=of("bob"), **{**put, "content": "a mouse"})
        found = await ask(host, "lore", "kb_search", run=of("bob"), base="world", query="dragon mouse")
        assert [each["id"] for each in found["ok"]["hits"]] == ["a"]
        assert (await ask(host, "lore", "kb_get", run=of("ada"), base="world", id="a"))["ok"]["content"] == "a dragon"
        # What lies in the home's folder is the local user's, and another's guest writes beside it.
        assert (await ask(host, "lore", "kb_get", base="houses", id="inn"))["ok"]["content"] == "the inn"
        refused(await ask(host, "lore", "kb_get", run=of("ada"), base="houses", id="inn"), "not_found")
        assert "ok" in await ask(host, "lore", "kb_put", run=of("ada"), base="houses", id="inn", content="burnt down")
        assert (await ask(host, "lore", "kb_get", base="houses", id="inn"))["ok"]["content"] == "the inn"
    assert "burnt down" not in (folder / "knowledge.json").read_text()


async def test_an_event_reaches_its_owners_subscriptions_alone_and_their_handlers_work_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    house = House(tmp_path / "home")
    worked: list[tuple[str, Any]] = []

    async def notes(_: Any, message: Any) -> None:
        worked.append((present_owner(), message["data"]))

    recorder = Recorder(notes)
    house.put("p", {"on_event": recorder})
    async with house.host() as host:
        for owner in USERS:
            with acting_for(owner):
                await subscribe(host, "p", "t")
        for owner in ("bob", "ada", USER):
            with acting_for(owner):
                assert (await publish(host, "p", "t", f"of {owner}"))["subscribers"] == 1
        with acting_for("nobody"):
            assert (await publish(host, "p", "t", "of nobody"))["subscribers"] == 0
        await recorder.until(3)
    assert sorted(worked) == sorted((owner, f"of {owner}") for owner in USERS)


async def test_what_a_handler_publishes_is_of_its_subscriptions_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    house = House(tmp_path / "home")

    async def passes_on(guest: Any, message: Any) -> None:
        await guest.host("innkeeper_events_publish", msgpack.packb({"topic": "second", "data": message["data"]}))

    heard: list[str] = []

    async def hears(_: Any, message: Any) -> None:
        heard.append(present_owner())

    recorder = Recorder(hears)
    house.put("first", {"on_event": Recorder(passes_on)})
    house.put("second", {"on_event": recorder})
    async with house.host() as host:
        for owner in ("ada", "bob"):
            with acting_for(owner):
                await subscribe(host, "second", "second")
        with acting_for("ada"):
            await subscribe(host, "first", "t")
            await publish(host, "first", "t", 1)
            await recorder.until(1)
            await publish(host, "first", "t", 2)
            await recorder.until(2)
    assert heard == ["ada", "ada"]


async def test_the_journal_of_a_call_is_of_whom_it_worked_for(home: Path) -> None:
    (home / "innkeeper.toml").write_text('[journal]\nkeep = "all"\n')
    marker(home)
    async with opened(home) as (host, _):
        for owner, times in zip(USERS, (3, 2, 1), strict=True):
            for _ in range(times):
                await host.plugins["marker"].call("mark", b"", run=of(owner))
    for owner, times in zip(USERS, (3, 2, 1), strict=True):
        async with open_shelf(open_home(home), owner) as shelf:
            heads = await shelf.list(100)
            assert len(heads) == times
        if owner == "ada":
            ours = heads[0].id
        else:
            async with open_shelf(open_home(home), owner) as shelf:
                assert await shelf.get(ours) is None
                assert not await shelf.delete(ours)


async def test_commands_show_and_delete_what_is_kept_of_the_user_that_they_name(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (home / "innkeeper.toml").write_text('[journal]\nkeep = "all"\n')
    marker(home)
    async with opened(home) as (host, _):
        for owner in ("ada", "bob"):
            await host.plugins["marker"].call("mark", b"", run=of(owner))
    commands = Commands(capfd)

    def look() -> None:
        at_home = ("--home", str(home))
        numbers = {}
        for owner in ("ada", "bob"):
            (journal,) = commands.json(*at_home, "journals", "--owner", owner)["journals"]
            numbers[owner] = str(journal["id"])
        assert commands.json(*at_home, "journals")["journals"] == []
        assert commands.json(*at_home, "replay", numbers["ada"], "--owner", "ada")["same"] is True
        for strangers in ((), ("--owner", "bob")):
            commands.run(*at_home, "replay", numbers["ada"], *strangers, code=2)
            commands.run(*at_home, "journals", "delete", numbers["ada"], *strangers, code=2)
        assert commands.json(*at_home, "journals", "delete", "--all", "--owner", "ada") == {"deleted": 1}
        assert commands.json(*at_home, "journals", "--owner", "bob")["count"] == 1
        assert commands.json(*at_home, "memo", "--owner", "bob")["entries"] == 0
        for name in ("", "a\x1b[2J", "x" * (MOST_BYTES + 1)):
            said = commands.run(*at_home, "journals", "--owner", name, code=2)
            assert said.isprintable() or said.rstrip("\n").isprintable()

    # Commands have a loop of trio of their own.
    await trio.to_thread.run_sync(look)


# --- runs -----------------------------------------------------------------------------------------------------------


async def ended(scheduler: HostScheduler, run: str) -> StoredRun:
    with trio.fail_after(LONG):
        while True:
            (found,) = [each for each in await scheduler.store.list(1.0) if each.id == run]
            if found.ended is not None:
                return found
            await trio.sleep(0.02)


async def scheduler_of(bridge: Bridge) -> HostScheduler:
    assert bridge.scheduler is not None
    made = await bridge.scheduler.get()
    assert isinstance(made, HostScheduler)
    return made


async def test_nodes_of_a_queued_run_work_for_whom_the_run_is(home: Path) -> None:
    marker(home)
    async with opened(home) as (_, bridge):
        # Whoever needs the scheduler first is nobody to the runs that it executes from then on.
        with acting_for("bob"):
            scheduler = await scheduler_of(bridge)
            run = NewRun(new_id(), Account("ada"), Job(FLOW, {}).packed())
            assert await scheduler.submit(run) == "accepted"
            assert (await ended(scheduler, run.id)).status == "complete"
        assert await marked(bridge) == {"ada"}


async def test_nobody_sees_what_another_users_plugin_started(home: Path) -> None:
    write(home, "starter", relay("scheduler"), has=("scheduler.submit", "scheduler.read"))
    marker(home)
    async with opened(home) as (host, bridge):
        started = await ask(host, "starter", "scheduler_submit", run=of("ada"), workflow=FLOW)
        run = started["ok"]["run"]
        for other in ("bob", USER):
            for function in ("scheduler_status", "scheduler_result", "scheduler_cancel"):
                answer = await host.plugins["starter"].call(function, msgpack.packb({"run": run}), run=of(other))
                refused(msgpack.unpackb(answer.output), "not_found")
            assert await ask(host, "starter", "scheduler_runs", run=of(other)) == {"ok": {"runs": []}}
        await ended(await scheduler_of(bridge), run)
        assert await marked(bridge) == {"ada"}


async def test_a_schedules_runs_keep_its_owner(home: Path) -> None:
    write(home, "starter", relay("scheduler"), has=("scheduler.submit", "scheduler.read"))
    marker(home)
    async with opened(home) as (host, bridge):
        made = await ask(host, "starter", "scheduler_later", run=of("bob"), workflow=FLOW, seconds=0.0)
        assert "ok" in made, made
        assert await ask(host, "starter", "scheduler_unschedule", run=of("ada"), schedule=made["ok"]["schedule"]) == {
            "ok": {"removed": False}
        }
        with trio.fail_after(LONG):
            while await marked(bridge) != {"bob"}:
                assert await marked(bridge) <= {"bob"}
                await trio.sleep(0.02)
        (run,) = await (await scheduler_of(bridge)).store.list(1.0)
        assert run.account == Account("bob", "starter")


async def test_what_a_queued_run_starts_is_its_owners_too(home: Path) -> None:
    body = f"""(func (export "go") (local $b i64)
      {text_block("what it asks", msgpack.packb({"workflow": FLOW}), "b")}
      (drop (call $innkeeper_scheduler_submit (local.get $b)))
      {text_block("answer", ANSWER, "b")}
      (call $output_set (local.get $b) (i64.const {len(ANSWER)})))"""
    node = '[[nodes]]\ntype = "Go"\nfunction = "go"\n'
    has = ("scheduler.submit", "scheduler.read")
    write(home, "starter", guest(body, "scheduler"), has=has, manifest=node)
    marker(home)
    async with opened(home) as (_, bridge):
        scheduler = await scheduler_of(bridge)
        flow = {"nodes": [{"id": "it", "fullType": "starter:Go"}], "edges": []}
        await scheduler.submit(NewRun(new_id(), Account("ada"), Job(flow, {}).packed()))
        with trio.fail_after(LONG):
            while not await marked(bridge):  # noqa: ASYNC110 (another host could do it)
                await trio.sleep(0.02)
        assert await marked(bridge) == {"ada"}
        assert {run.account for run in await scheduler.store.list(1.0)} == {Account("ada"), Account("ada", "starter")}
