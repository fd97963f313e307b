"""Many guests at one base at once, some of whom give up: nothing is half done, and nobody holds trio's thread."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
import trio.testing

from innkeeper import Host
from innkeeper.errors import BusyError
from innkeeper.knowledge.joined import jobs
from innkeeper.knowledge.joined.bases import Bases
from innkeeper.knowledge.store.sync import FileSync
from innkeeper.storage.knowledge_model import Place
from kb_homes import base_file, entry, guest_bases, home, opened
from relays import ask, get

__all__ = ["home"]

WORLD = {"base": "world"}
CHAT = [{"content": "Who guards the bridge, and who sleeps at the inn?"}]


def many(count: int) -> list[dict[str, Any]]:
    words = ("bridge", "inn", "dragon", "river", "market", "tower")
    return [
        entry(
            f"e{n:05}",
            f"The {words[n % 6]} number {n} is guarded by {words[n % 5]} folk. " * 3,
            keywords=[f"{words[n % 6]} {n}", f"guard{n}"],
        )
        for n in range(count)
    ]


async def test_many_guests_search_write_and_activate_at_once_and_everything_agrees_afterwards(home: Path) -> None:
    base_file(home, "world", [*many(200), entry("count", "", metadata={})])
    done: list[Any] = []
    async with opened(home) as host:

        async def one(number: int) -> None:
            chance = random.Random(number)
            for turn in range(6):
                kind = chance.choice(["search", "activate", "put", "append", "delete", "session", "list"])
                match kind:
                    case "search":
                        answer = await ask(host, "lore", "search", query=f"bridge {turn}", **WORLD)
                    case "activate":
                        answer = await ask(
                            host, "lore", "activate", bases=["world"], messages=CHAT, session=f"{number}"
                        )
                    case "put":
                        answer = await ask(host, "lore", "put", id=f"n{number}", content=f"new {turn}", **WORLD)
                    case "append":
                        answer = await ask(host, "lore", "append", id="count", text=f"{number} {turn}", **WORLD)
                        assert "ok" in answer, answer
                        done.append((number, turn))
                    case "delete":
                        answer = await ask(host, "lore", "delete", id=f"e{chance.randrange(200):05}", **WORLD)
                    case "session":
                        answer = await ask(
                            host, "lore", "put", id="count", content=f"{turn}", session=f"{number % 3}", **WORLD
                        )
                    case _:
                        answer = await ask(host, "lore", "list", contents=True, session=f"{number % 3}", **WORLD)
                assert "ok" in answer or answer["error"]["kind"] in ("not_found", "busy", "conflict"), answer

        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for number in range(24):
                    nursery.start_soon(one, number)
        # Not one paragraph is lost, though all of them went to one entry.
        found = (await get(host, "lore", "get", id="count", **WORLD))["content"].split("\n\n")
        assert sorted(found) == sorted(f"{number} {turn}" for number, turn in done)
        bases = (await guest_bases(host))._bases
        report = await bases.library.verify(Place("default_user", "world"))
        assert report.problems == []
        listed = 0
        after = ""
        while page := (await get(host, "lore", "list", after=after, limit=100, **WORLD))["entries"]:
            listed, after = listed + len(page), page[-1]["id"]
        assert listed == (await get(host, "lore", "info", **WORLD))["entries"] == report.entries


async def test_a_call_that_is_cancelled_leaves_nothing_half_done(home: Path) -> None:
    base_file(home, "world", many(60))
    base_file(home, "large", many(400))
    chance = random.Random(5)
    async with opened(home) as host:
        calls: list[Callable[[int], tuple[str, dict[str, Any]]]] = [
            lambda n: ("put", {"id": f"n{n}", "content": "x", **WORLD}),
            lambda n: ("append", {"id": "e00001", "text": f"paragraph {n}", **WORLD}),
            lambda n: ("undo", {"id": "e00001", **WORLD}),
            lambda n: ("delete", {"id": f"n{n - 4}", **WORLD}),
            lambda n: ("put", {"id": "e00002", "content": f"{n}", "session": "s", **WORLD}),
            lambda n: ("activate", {"bases": ["world", "large"], "messages": CHAT * (n + 1), "session": "s"}),
            lambda n: ("search", {"query": f"bridge {n}", "base": "large"}),
        ]
        for number in range(60):
            operation, arguments = calls[number % len(calls)](number)
            with trio.move_on_after(chance.random() ** 3 * 0.03):
                await ask(host, "lore", operation, **arguments)
        bases = (await guest_bases(host))._bases
        with trio.fail_after(60):
            for base in ("world", "large"):
                await get(host, "lore", "search", query="bridge", base=base)
                report = await bases.library.verify(Place("default_user", base))
                assert report.problems == []
            # And everybody can go on.
            await get(host, "lore", "put", id="last", content="x", **WORLD)
            await get(host, "lore", "activate", bases=["world"], messages=CHAT, session="s")
            paragraphs = (await get(host, "lore", "get", id="e00001", **WORLD))["content"].split("\n\n")
            assert len(paragraphs) == len(set(paragraphs))


async def test_a_base_that_takes_long_to_be_read_goes_on_being_read_and_who_waits_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base_file(home, "world", many(20))
    monkeypatch.setattr(jobs, "PATIENCE", 0.05)
    taken_up, times = Bases._taken_up, []

    async def slow(self: Bases, place: Place) -> bool:
        times.append(place)
        await trio.sleep(0.5)
        return await taken_up(self, place)

    monkeypatch.setattr(Bases, "_taken_up", slow)
    async with opened(home) as host:
        busy = 0
        with trio.fail_after(20):
            while True:
                with trio.move_on_after(0.2 if busy % 2 else 20):
                    answer = await ask(host, "lore", "info", **WORLD)
                    if "ok" in answer:
                        break
                    assert answer["error"]["kind"] == "busy"
                    assert "again" in answer["error"]["message"]
                    busy += 1
        assert busy > 1
        assert len(times) == 1


class Steps(trio.abc.Instrument):
    """The longest time that one step of a task kept the processor on trio's thread, in milliseconds."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._begun = time.thread_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._begun = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.longest = max(self.longest, 1000 * (time.thread_time() - self._begun))


async def test_nothing_that_a_guest_asks_keeps_trios_thread_however_large_the_base_is(home: Path) -> None:
    base_file(home, "world", many(4000))
    long = [{"content": "word " * 200}] * 900
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        "search": ("search", {"query": "who guards the bridge", "k": 50, **WORLD}),
        "list": ("list", {"tags": ["none"], **WORLD}),
        "contents": ("list", {"contents": True, "limit": 100, **WORLD}),
        "put": ("put", {"id": "new", "content": "some words", **WORLD}),
        "activate": ("activate", {"bases": ["world"], "messages": CHAT, "session": "s"}),
        "trace": ("activate", {"bases": ["world"], "messages": CHAT, "trace": "all"}),
        "st": ("activate", {"bases": ["world"], "messages": CHAT, "trace": "all", "profile": "st-1.15"}),
        "chat": ("activate", {"bases": ["world"], "messages": long, "scan_depth": 1000}),
        "session": ("put", {"id": "e00001", "content": "x", "session": "s", **WORLD}),
        "overlay": ("search", {"query": "bridge", "session": "s", **WORLD}),
    }
    longest: dict[str, float] = {}
    async with opened(home) as host:
        for name, (operation, arguments) in asked.items():
            longest[name] = min([await longest_of(host, operation, arguments) for _ in range(3)])
    # They take less than a millisecond; a machine that is busy makes them no longer, but its collector of garbage may.
    assert max(longest.values()) < 8, longest


async def longest_of(host: Host, operation: str, arguments: dict[str, Any]) -> float:
    data = msgpack.packb(arguments)
    steps = Steps()
    with trio.fail_after(120):
        while True:
            await trio.lowlevel.checkpoint()
            trio.lowlevel.add_instrument(steps)
            try:
                output = (await host.plugins["lore"].call(operation, data)).output
                await trio.lowlevel.checkpoint()
            finally:
                trio.lowlevel.remove_instrument(steps)
            answer = msgpack.unpackb(output)
            if "ok" in answer:
                return steps.longest
            assert answer["error"]["kind"] == "busy"


_QUIET = """
import sys, trio
from innkeeper.composition import open_host

async def main():
    async with open_host({home!r}, watch=False) as host:
        await host.plugins["notes"].call("get", {data!r})
        await trio.sleep(0.2)

trio.run(main)
names = [name for name in sys.modules if name.startswith("innkeeper.knowledge") or name in {{"numpy", "wordllama"}}]
assert not names, names
"""


def test_a_host_whose_plugins_ask_no_base_imports_nothing_of_knowledge(home: Path) -> None:
    from relays import install, relay

    install(home, "notes", relay("kv"), ("kv",))
    base_file(home, "world", many(3))
    code = _QUIET.format(home=str(home), data=msgpack.packb({"key": "a"}))
    environment = {**os.environ, "PYTHONPATH": ""}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, env=environment)
    assert ended.returncode == 0, ended.stderr.decode()[-2000:]


async def test_nobody_sees_a_base_that_is_being_taken_up_as_an_empty_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base_file(home, "world", many(20))
    step = FileSync.step

    async def slow(self: FileSync, place: Place) -> bool:
        await trio.sleep(0.3)
        return await step(self, place)

    monkeypatch.setattr(FileSync, "step", slow)
    answers: list[Any] = []
    async with opened(home) as host:

        async def one(delay: float) -> None:
            await trio.sleep(delay)
            answers.append(await ask(host, "lore", "get", id="e00001", **WORLD))

        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(one, number / 30)
    assert all("ok" in answer for answer in answers), answers


async def test_work_that_is_cancelled_with_its_host_gives_nobody_a_wrong_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    work = jobs.Jobs(served=True)

    async def wait() -> None:
        with pytest.raises(BusyError, match="a base is being made ready"):
            await work.done("key", trio.sleep_forever, "a base")

    async with trio.open_nursery() as waiting, trio.open_nursery() as host:
        waiting.start_soon(wait)
        host.start_soon(work.serve)
        await trio.testing.wait_all_tasks_blocked()
        host.cancel_scope.cancel()
