"""Knowledge bases against people who publish files and projects, and who write plugins."""

from __future__ import annotations

import json
import threading
import time
import unicodedata
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from commands import Commands
from innkeeper.cli.main import invoke
from innkeeper.errors import UsageError
from innkeeper.knowledge.activation.session import Session
from innkeeper.knowledge.files.known import read_head
from innkeeper.knowledge.files.names import slug
from innkeeper.knowledge.files.registry import Registry
from innkeeper.knowledge.keywords.folding import MOST_MARKS, composed
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.opening import open_library
from innkeeper.knowledge.store.limits import StoreQuota
from innkeeper.knowledge.store.values import Origin, Stored
from innkeeper.plugins import home as home_module
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.knowledge_model import Draft, Filters, FullError, Place, Query, VersionError
from innkeeper.storage.location import Location
from kb_hostile_bases import PLUGIN, WORLD, document, lay, opened, put, request


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as database:
        yield database


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home" / "knowledge").mkdir(parents=True)
    return tmp_path / "home"


# --- what somebody publishes ------------------------------------------------------------------------------------------


def test_a_pile_of_marks_is_composed_in_time_that_is_linear_in_its_length() -> None:
    def cost(marks: int) -> float:
        best = 9.0
        for _ in range(3):
            since = time.thread_time()
            composed("a" + "\u0301\u0316" * marks)
            best = min(best, time.thread_time() - since)
        return best

    composed("\u0301")
    # As the square it would be a hundred times as much, and two seconds.
    assert cost(20_000) < 30 * max(cost(2000), 1e-4)


def test_no_character_has_a_combining_class_that_piles_do_not_know() -> None:
    pile = [chr(code) for code in range(0x110000) if unicodedata.combining(chr(code))]
    for mark in pile:
        assert len(composed("a" + mark * (3 * MOST_MARKS))) >= 3 * MOST_MARKS - 1
    assert composed("e\u0301") == "\u00e9"
    assert composed("a" + "\u0301" * MOST_MARKS) == unicodedata.normalize("NFC", "a" + "\u0301" * MOST_MARKS)


def test_a_name_of_marks_becomes_an_id_at_once() -> None:
    since = time.thread_time()
    assert slug("a" + "\u0301\u0316" * 200_000).startswith("a-")
    assert time.thread_time() - since < 1


@pytest.mark.parametrize("id", ["w\x1b[2J", "龙" * 128, "w\n", "\ud800", "w\0"])
def test_a_base_with_an_id_that_no_store_can_have_is_refused_as_a_file(tmp_path: Path, id: str) -> None:
    file = tmp_path / "knowledge.json"
    file.write_text(json.dumps({"kb_id": id, "entries": []}))
    with pytest.raises(KnowledgeError, match="kb_id"):
        read_head(tmp_path, file)
    with pytest.raises(KnowledgeError, match="kb_id"):
        Registry(tmp_path / "home").add(file)


@pytest.mark.parametrize("id", ["w\x1b[2J", "龙" * 128, "\ud800"])
def test_commands_say_what_is_wrong_with_such_a_base_and_go_on_with_others(
    home: Path, capsys: pytest.CaptureFixture[str], id: str
) -> None:
    commands = Commands(capsys)
    lay(home, "bad", id)
    lay(home, "good", "good")
    shown = commands.run("kb", "list")
    assert "kb_id" in shown
    assert "\x1b" not in shown
    for command in (["search", "PATH", "dragon"], ["explain", "PATH", "--message", "dragon"], ["edit", "PATH", "e"]):
        # A file that is named by its path need not be kept.
        assert invoke(["kb", *(str(home / "knowledge" / "bad") if each == "PATH" else each for each in command)]) in (
            0,
            2,
        )
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "\x1b" not in out + err
    assert "dragon" in commands.run("kb", "search", "good", "dragon")


def test_a_home_with_more_bases_than_are_kept_ends_in_a_sentence(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = Commands(capsys)
    monkeypatch.setattr(StoreQuota.__init__, "__defaults__", (1, *(StoreQuota.__init__.__defaults__ or ())[1:]))
    for name in ("one", "two"):
        lay(home, name, name)
    assert "dragon" in commands.run("kb", "search", "one", "dragon")
    for command in (["search", "two", "dragon"], ["explain", "two", "--message", "dragon"], ["check", "two"],
                    ["export", "two", "--out", "two.ctkbz"]):  # fmt: skip
        assert "quota of 1 bases" in commands.run("kb", *command, code=2)


@pytest.mark.parametrize("profile", ["native", "st-1.15"])
async def test_entries_with_long_ids_never_keep_a_session_from_being_activated(tmp_path: Path, profile: str) -> None:
    async with opened(tmp_path) as knowledge:
        entries = [put("龙" * 100 + str(number), extensions={"sillytavern": {"sticky": 100}}) for number in range(1500)]
        await knowledge.bases.change(WORLD, entries, Origin())
        for _ in range(2):
            found = await knowledge.guests.activate("default_user", ["world"], request(session="chat", profile=profile))
            assert len(found["active"]) == 1500


def test_a_session_remembers_the_newest_entries_in_what_a_store_keeps_of_it() -> None:
    plain = {"version": 1, "active": {"b": {f"{number:05}" + "x" * 400: number for number in range(2000)}}}
    kept = Session(plain, 5000).plain()["active"]["b"]
    assert 300 < len(kept) < 600
    assert min(kept.values()) == 2000 - len(kept)


# --- a plugin with a right on one base --------------------------------------------------------------------------------


async def test_whoever_only_activates_takes_no_overlay_away_however_many_sessions_it_names(db: Database) -> None:
    library = open_library(db, quota=StoreQuota(sessions=5))
    await library.change(WORLD, [put("e")], Origin())
    await library.sessions.put(WORLD, "playthrough", "e", document("e", "the bridge is gone"))
    for number in range(20):
        await library.sessions.keep_state(WORLD, f"made-up {number}", b"x", expect=0)
    assert len(await library.sessions.overlay(WORLD, "playthrough")) == 1
    for number in range(4):
        await library.sessions.put(WORLD, f"other {number}", "e", document("e", "."))
    # All have an overlay now: another state is refused, another overlay takes the place of the oldest.
    with pytest.raises(FullError, match="sessions"):
        await library.sessions.keep_state(WORLD, "one more", b"x", expect=0)
    await library.sessions.put(WORLD, "newest", "e", document("e", "."))
    assert await library.sessions.overlay(WORLD, "playthrough") == []
    await library.aclose()


async def test_overlays_of_all_sessions_together_are_bounded(db: Database) -> None:
    library = open_library(db, quota=StoreQuota(overlays_bytes=20_000))
    await library.change(WORLD, [put("e")], Origin())
    for number in range(12):
        await library.sessions.put(WORLD, f"s{number}", "e", document("e", "x" * 1000))
    with pytest.raises(FullError, match="20000 bytes"):
        await library.sessions.put(WORLD, "large", "e", document("e", "x" * 10_000))
    # What makes it smaller is taken.
    await library.sessions.put(WORLD, "s0", "e", document("e", "x"))
    await library.aclose()


async def test_proposals_are_bounded_in_bytes_as_well(db: Database) -> None:
    library = open_library(db, quota=StoreQuota(proposals_bytes=50_000))
    await library.change(WORLD, [put("e")], Origin())
    for number in range(9):
        await library.proposals.propose(WORLD, put(f"n{number}", "x" * 5000), PLUGIN)
    with pytest.raises(FullError, match="50000 bytes"):
        await library.proposals.propose(WORLD, put("n9", "x" * 5000), PLUGIN)
    assert len(await library.proposals.list(WORLD)) == 9
    await library.aclose()


async def test_a_plugin_takes_back_nothing_that_somebody_else_changed_a_moment_before(tmp_path: Path) -> None:
    async with opened(tmp_path) as knowledge:
        library = knowledge.bases.library
        await library.change(WORLD, [put("e", "first")], Origin())
        await library.change(WORLD, [put("e", "the plugin's")], Origin(author=PLUGIN))
        real, asked = library.store.history, []

        async def history(*args: Any, **kwargs: Any) -> Any:
            past = await real(*args, **kwargs)
            if not asked:
                # In between a person writes.
                asked.append(True)
                await library.change(WORLD, [put("e", "a person's")], Origin())
            return past

        library.store.history = history  # type: ignore[method-assign]
        with pytest.raises((ValueError, VersionError)):
            await knowledge.guests.undo(WORLD, "e", author=PLUGIN)
        assert (await knowledge.guests.get(WORLD, "e")).content == "a person's"


async def test_the_history_of_an_entry_can_be_read_to_its_beginning_and_never_all_at_once(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from innkeeper.knowledge.store import store

    monkeypatch.setattr(store, "MOST_REMEMBERED", 10_000)
    library = open_library(db)
    for number in range(30):
        await library.change(WORLD, [put("e", f"{number} " + "x" * 1000)], Origin())
    seen: list[int] = []
    while page := await library.store.history(WORLD, "e", below=seen[-1] if seen else 1 << 62, most=1000):
        assert sum(len(past.before or "") for past in page) <= 10_000
        seen += [past.revision for past in page]
    assert seen == list(range(30, 0, -1))
    await library.aclose()


@pytest.mark.parametrize("fields", [
    {"content": {"value": "x" * 200_000}}, {"displayName": "\x1b[2J"}, {"displayName": "x" * 900},
    {"activation_criteria": {"keywords": [f"k{number}" for number in range(900)]}}, {"content": {"value": "a\0b"}},
])  # fmt: skip
async def test_no_field_of_a_document_is_a_way_around_the_bounds_of_guests(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    async with opened(tmp_path) as knowledge:
        draft = Draft(content="x", fields=fields)
        with pytest.raises(ValueError, match=r"at most|leave it out|control|NUL"):
            await knowledge.guests.put(WORLD, "e", draft, source="agent_generated", author=PLUGIN)


async def test_no_large_document_is_taken_apart_on_trios_thread_for_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as knowledge:
        await knowledge.bases.change(WORLD, [put("e", extensions={"x": "y" * 500_000})], Origin())
        place, filters = WORLD, Filters()
        await knowledge.guests.search(place, Query("dragon", mode="keyword"), filters=filters)
        here, seen, real = threading.get_ident(), set(), Stored.plain

        def plain(self: Stored) -> dict[str, Any]:
            seen.add(threading.get_ident())
            return real(self)

        monkeypatch.setattr(Stored, "plain", plain)
        found = await knowledge.guests.search(place, Query("dragon", mode="keyword"), filters=filters)
        assert len(found.hits) == 1
        assert here not in seen


# --- projects ---------------------------------------------------------------------------------------------------------


def project(folder: Path, references: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "project.json").write_text(json.dumps({"knowledgeBaseReferences": references}))
    return folder


async def test_a_project_cannot_take_up_all_bases_that_an_owner_may_have(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    references = []
    for number in range(300):
        place = folder / "knowledgebases" / f"b{number}"
        place.mkdir(parents=True)
        (place / "knowledge.json").write_text(json.dumps({"kb_id": f"b{number}", "entries": []}))
        references.append({"id": f"r{number}", "type": "local", "path": f"knowledgebases/b{number}"})
    async with opened(tmp_path / "home") as knowledge:
        with trio.move_on_after(60):
            with suppress(FullError, UsageError):
                await knowledge.guests.project("default_user", project(folder, references))
        await knowledge.bases.library.create(Place("default_user", "my-own"), {"kb_id": "my-own"})


async def test_a_project_that_names_one_base_many_times_has_it_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from innkeeper.knowledge.joined import projects

    folder = tmp_path / "p"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "knowledge.json").write_text(json.dumps({"kb_id": "b", "entries": []}))
    project(folder, [{"id": f"r{number}", "type": "local", "path": "b"} for number in range(50)])
    reads: list[Any] = []
    real = projects.read_base

    def counted(*args: Any, **kwargs: Any) -> Any:
        reads.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(projects, "read_base", counted)
    async with opened(tmp_path / "home") as knowledge:
        assert len(await knowledge.guests.project("default_user", folder)) == 50
    assert len(reads) <= 2
