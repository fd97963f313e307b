"""Chats of hosts that share a folder: what one writes the other reads, and of both who change a version one does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from chat_trees import raw
from innkeeper.server.answers import AnswerError
from innkeeper.server.cache.caches import Caches
from innkeeper.server.chats import bounds, edits
from innkeeper.server.chats.invariants import BrokenTreeError
from innkeeper.server.chats.local_folder import LocalFolders
from innkeeper.server.chats.model import ChatHistoryTree
from innkeeper.server.chats.places import Place
from innkeeper.server.chats.store import Chats

PLACE = Place("ann", "p", "s")


def planted(root: Path, **more: object) -> Path:
    """A project with one session."""
    folder = root / "ann" / "projects" / "p" / "chats"
    folder.mkdir(parents=True)
    (folder.parent / "project.json").write_text("{}")
    (folder / "s.json").write_text(json.dumps(raw({"a": None}, "a", **more)))
    return folder / "s.json"


def saying(word: str) -> Callable[[ChatHistoryTree], ChatHistoryTree]:
    return lambda tree: edits.change(tree, "a", {"content": tree.nodes["a"].content + word})


async def test_of_two_hosts_that_change_a_version_exactly_one_does(tmp_path: Path) -> None:
    planted(tmp_path)
    hosts = [Chats(LocalFolders(tmp_path), Caches()) for _ in range(2)]
    won: list[str] = []

    async def edit(host: Chats, name: str) -> None:
        for number in range(15):
            version = (await host.read(PLACE)).tree.version
            try:
                await host.change(PLACE, version, saying(f" {name}{number}"))
            except AnswerError as refused:
                # What it was told is the version of somebody else's change.
                assert refused.status == 409  # noqa: PT017
                assert refused.details["version"] > version  # noqa: PT017
            else:
                won.append(f"{name}{number}")

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for name, host in zip("abcd", hosts * 2, strict=True):
                nursery.start_soon(edit, host, name)
    for host in hosts:
        tree = (await host.read(PLACE)).tree
        assert tree.version == 1 + len(won)
        # No change that was answered well is lost, and none was done that was refused.
        assert sorted(tree.nodes["a"].content.split()[2:]) == sorted(won)


async def test_a_change_that_fails_leaves_what_there_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = planted(tmp_path)
    chats = Chats(LocalFolders(tmp_path), Caches())
    before = file.read_bytes()

    def fail(tree: ChatHistoryTree) -> ChatHistoryTree:
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        await chats.change(PLACE, 1, fail)
    with pytest.raises(BrokenTreeError):
        await chats.change(PLACE, 1, saying("x" * bounds.FILE.size))
    assert file.read_bytes() == before
    assert (await chats.read(PLACE)).tree.nodes["a"].content == "says a"


async def test_a_caller_that_is_cancelled_in_the_middle_leaves_no_half_of_a_change(tmp_path: Path) -> None:
    planted(tmp_path)
    chats = Chats(LocalFolders(tmp_path), Caches())
    begun, go = trio.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    def slow(tree: ChatHistoryTree) -> ChatHistoryTree:
        trio.from_thread.run_sync(begun.set, trio_token=token)
        trio.from_thread.run(go.wait, trio_token=token)
        return saying("!")(tree)

    async with trio.open_nursery() as nursery:

        async def change() -> None:
            await chats.change(PLACE, 1, slow)

        nursery.start_soon(change)
        await begun.wait()
        nursery.cancel_scope.cancel()
        go.set()
    kept = await chats.read(PLACE)
    assert (kept.tree.version, kept.tree.nodes["a"].content) in ((1, "says a"), (2, "says a!"))
    again = await chats.change(PLACE, kept.tree.version, saying("?"))
    assert again.tree.version == kept.tree.version + 1


async def test_the_largest_chat_is_still_kept_in_memory(tmp_path: Path) -> None:
    file = planted(tmp_path)
    names = [f"n{at}" for at in range(bounds.MOST_NODES)]
    value = raw({}) | {"rootNodeIds": names}
    text = "x" * (bounds.FILE.size // bounds.MOST_NODES - 150)
    value["nodes"] = {name: {"id": name, "parentId": None, "role": "user", "content": text} for name in names}
    file.write_text(json.dumps(value, separators=(",", ":")))
    caches = Caches()
    chats = Chats(LocalFolders(tmp_path), caches)
    assert (await chats.read(PLACE)).tree.version == 1
    assert (await chats.read(PLACE)).tree.version == 1
    assert caches.statistics()["chats"].hits == 1


async def test_a_list_of_sessions_reads_only_what_changed(tmp_path: Path) -> None:
    file = planted(tmp_path)
    for number in range(5):
        (file.parent / f"t{number}.json").write_text(json.dumps(raw({"a": None})))
    caches = Caches()
    chats = Chats(LocalFolders(tmp_path), caches)
    found, total = await chats.sessions("ann", "p", 0, 100)
    assert (len(found), total) == (6, 6)
    await chats.change(PLACE, 1, saying("!"))
    found, _ = await chats.sessions("ann", "p", 0, 100)
    assert (found[0].id, found[0].version) == ("s", 2)
    statistics = caches.statistics()["chat-sessions"]
    assert statistics.hits == 6
    # A list drives no tree out that somebody works with.
    assert caches.statistics()["chats"].entries == 1
