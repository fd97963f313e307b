"""A base and its file stay in step, whoever changes which, and whatever dies in between."""

# Nothing else runs on this loop of trio that short calls of the system could hold up.
# ruff: noqa: ASYNC240

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.knowledge.library import Library
from innkeeper.knowledge.live import files as live_files
from innkeeper.knowledge.store import binding, sync, undoing
from innkeeper.knowledge.store.legs import dump
from innkeeper.knowledge.store.limits import StoreQuota
from innkeeper.knowledge.store.merging import Ours, Row, Theirs, merge
from innkeeper.knowledge.store.values import EDIT, Origin
from innkeeper.knowledge.store.writing import ReadOnlyError
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.location import Location
from kb_bases import WORLD, JsonFiles, change, document, library

MINE = Origin(EDIT)
INFO = {"kb_id": "world", "schema_version": "1.1"}


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "knowledge.json"
    save(path, {"a": "1", "b": "1", "c": "1"})
    return path


def save(path: Path, entries: Mapping[str, str], **info: Any) -> None:
    path.write_text(json.dumps({**INFO, **info, "entries": [document(id, value) for id, value in entries.items()]}))


def saved(path: Path) -> dict[str, str]:
    return {each["id"]: each["content"]["value"] for each in json.loads(path.read_text())["entries"]}


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    # Everybody looks at once.
    monkeypatch.setattr(live_files, "FILES_EVERY", 0.0)


async def opened(db: Database, file: Path, files: JsonFiles | None = None) -> Library:
    made = library(db, files=files or JsonFiles())
    await made.create(WORLD, INFO, file=str(file))
    return made


async def values(made: Library) -> dict[str, str]:
    live = await made.base(WORLD)
    return {id: item.entry.text for id in live.order() if (item := live.item(id)) is not None}


async def test_a_file_is_read_and_edits_by_hand_are_picked_up(db: Database, file: Path) -> None:
    made = await opened(db, file)
    assert await values(made) == {"a": "1", "b": "1", "c": "1"}
    save(file, {"c": "1", "new": "1", "b": "2"}, kb_displayName="Name")
    assert list((await values(made)).items()) == [("c", "1"), ("new", "1"), ("b", "2")]
    assert (await made.base(WORLD)).state.info["kb_displayName"] == "Name"
    assert (await made.verify(WORLD)).problems == []
    # One edit of the file is one step.
    await made.undo(WORLD)
    assert list((await values(made)).items()) == [("a", "1"), ("b", "1"), ("c", "1")]


async def test_what_is_changed_here_is_in_the_file_when_the_library_closes(db: Database, file: Path) -> None:
    files = JsonFiles()
    made = await opened(db, file, files)
    await made.base(WORLD)
    for number in range(5):
        await made.change(WORLD, [change("a", f"{number}")], MINE)
    await made.aclose()
    assert saved(file) == {"a": "4", "b": "1", "c": "1"}
    assert files.writes == 1
    other = await opened(db, file, files)
    assert await values(other) == {"a": "4", "b": "1", "c": "1"}
    await other.aclose()
    assert files.writes == 1


async def test_while_the_host_runs_changes_reach_the_file_by_themselves(db: Database, file: Path) -> None:
    made = await opened(db, file)
    await made.base(WORLD)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.serve)
        await made.change(WORLD, [change("a", "2")], MINE)
        with trio.fail_after(20):
            while saved(file)["a"] != "2":  # noqa: ASYNC110 (a file tells nobody)
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_a_broken_file_is_refused_with_its_line_and_the_last_good_state_stays(db: Database, file: Path) -> None:
    made = await opened(db, file)
    await made.base(WORLD)
    broken = '{"kb_id": "world",\n "entries": [oops]}'
    file.write_text(broken)
    assert await values(made) == {"a": "1", "b": "1", "c": "1"}
    notes = " ".join(made.notes(WORLD))
    assert "line 2" in notes
    assert "last good state" in notes
    # What is changed here meanwhile waits: nobody's typing is overwritten.
    await made.change(WORLD, [change("b", "2")], MINE)
    await made.aclose()
    assert file.read_text() == broken
    again = await opened(db, file)
    await again.base(WORLD)
    assert again.notes(WORLD)
    save(file, {"a": "2", "b": "1", "c": "1"})
    assert await values(again) == {"a": "2", "b": "2", "c": "1"}
    assert again.notes(WORLD) == []
    assert saved(file) == {"a": "2", "b": "2", "c": "1"}


async def test_a_file_that_was_put_back_is_no_problem_any_more(db: Database, file: Path) -> None:
    made = await opened(db, file)
    await made.base(WORLD)
    good = file.read_text()
    file.write_text("{")
    await made.base(WORLD)
    assert made.notes(WORLD)
    file.write_text(good)
    await made.base(WORLD)
    assert made.notes(WORLD) == []
    file.unlink()
    assert await values(made) == {"a": "1", "b": "1", "c": "1"}
    assert "gone" in made.notes(WORLD)[0]
    file.write_text(good)
    await made.base(WORLD)
    assert made.notes(WORLD) == []


async def test_both_changed_is_merged_and_the_file_wins_where_it_must_and_nothing_is_lost(
    db: Database, file: Path
) -> None:
    made = await opened(db, file)
    await made.base(WORLD)
    await made.change(WORLD, [change("a", "here"), change("b", "here"), change("mine", "here")], MINE)
    save(file, {"a": "1", "b": "there", "c": "there", "theirs": "there"})
    expected = {"a": "here", "b": "there", "c": "there", "theirs": "there", "mine": "here"}
    assert await values(made) == expected
    assert saved(file) == expected
    assert any("'b'" in note and "history" in note for note in made.notes(WORLD))
    await undoing.undo_entry(made.store, WORLD, "b")
    live = await made.base(WORLD)
    await made.aclose()
    assert live.revision
    assert saved(file)["b"] == "here"


async def test_deleting_on_one_side_and_changing_on_the_other_is_said(db: Database, file: Path) -> None:
    made = await opened(db, file)
    await made.base(WORLD)
    await made.change(WORLD, [change("a", None), change("b", "here"), change("c", None)], MINE)
    save(file, {"a": "there", "c": "1"})
    assert await values(made) == {"a": "there"}
    notes = " ".join(made.notes(WORLD))
    assert "'a'" in notes
    assert "'b'" in notes
    assert "'c'" not in notes
    assert saved(file) == {"a": "there"}


async def test_a_file_of_a_newer_version_is_read_and_never_written(db: Database, file: Path) -> None:
    save(file, {"a": "1"}, schema_version="9.0")
    before = file.read_bytes()
    made = await opened(db, file)
    assert await values(made) == {"a": "1"}
    with pytest.raises(ReadOnlyError, match="newer version"):
        await made.change(WORLD, [change("a", "2")], MINE)
    await made.aclose()
    assert file.read_bytes() == before
    save(file, {"a": "2"}, schema_version="9.0")
    again = await opened(db, file)
    assert await values(again) == {"a": "2"}
    save(file, {"a": "3"})
    assert await values(again) == {"a": "3"}
    await again.change(WORLD, [change("a", "4")], MINE)


class DyingError(Exception):
    """A process that ends here."""


@pytest.mark.parametrize("at", ["before it is written", "after it is written", "before both are said to be in step"])
async def test_killed_anywhere_the_next_open_finds_either_state_and_finishes(
    db: Database, file: Path, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dies(JsonFiles):
        def write(self, path: Path, info: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> str:
            if at == "before it is written":
                raise DyingError
            digest = super().write(path, info, documents)
            if at == "after it is written":
                raise DyingError
            return digest

    async def dies(*_: object) -> None:
        raise DyingError

    made = await opened(db, file)
    await made.base(WORLD)
    # Both changed: the base takes a step, and then the file is written.
    await made.change(WORLD, [change("a", "here")], MINE)
    save(file, {"a": "1", "b": "there", "c": "1"})
    with monkeypatch.context() as patch:
        patch.setattr(binding, "written", dies)
        broken = sync.FileSync(made.store, Dies())
        with pytest.raises(DyingError):
            await broken.step(WORLD)
    again = await opened(db, file)
    expected = {"a": "here", "b": "there", "c": "1"}
    assert await values(again) == expected
    await again.aclose()
    assert saved(file) == expected
    assert again.notes(WORLD) == []
    state = await again.store.state(WORLD)
    assert state.synced == state.revision
    assert (await again.verify(WORLD)).problems == []


async def test_a_file_that_is_saved_just_before_it_would_be_written_is_not_overwritten(
    db: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await opened(db, file)
    await made.base(WORLD)
    await made.change(WORLD, [change("a", "here")], MINE)
    digest_of = sync._digest_of
    left = [1]

    def meanwhile(path: Path) -> str | None:
        # The second look, right before writing.
        if left and (file.stat().st_size, left.pop()):
            save(file, {"a": "1", "b": "1", "c": "there"})
        return digest_of(path)

    monkeypatch.setattr(sync, "_digest_of", meanwhile)
    await made.base(WORLD)
    await made.aclose()
    assert saved(file) == {"a": "here", "b": "1", "c": "there"}


async def test_a_read_waits_for_no_file_while_somebody_looks_in_the_background(db: Database, file: Path) -> None:
    free, begun = threading.Event(), threading.Event()
    free.set()

    class Slow(JsonFiles):
        def read(self, path: Path) -> Any:
            begun.set()
            free.wait(60)
            return super().read(path)

    made = await opened(db, file, Slow())
    await made.base(WORLD)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.serve)
        await trio.testing.wait_all_tasks_blocked()
        free.clear()
        begun.clear()
        save(file, {"a": "2"})
        with trio.fail_after(30):
            while not begun.is_set():
                assert await values(made) == {"a": "1", "b": "1", "c": "1"}
                await trio.lowlevel.checkpoint()
            # It is being read, for as long as it takes.
            for _ in range(10):
                assert await values(made) == {"a": "1", "b": "1", "c": "1"}
            free.set()
            while await values(made) != {"a": "2"}:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


async def test_a_file_that_does_not_fit_keeps_nobody_from_what_is_there(db: Database, file: Path) -> None:
    made = library(db, files=JsonFiles(), quota=StoreQuota(entries=3))
    await made.create(WORLD, INFO, file=str(file))
    await made.base(WORLD)
    save(file, {"a": "2", "b": "2", "c": "2", "d": "2"})
    assert await values(made) == {"a": "1", "b": "1", "c": "1"}
    assert "3 entries" in made.notes(WORLD)[0]
    save(file, {"a": "2"})
    assert await values(made) == {"a": "2"}
    assert made.notes(WORLD) == []


async def test_a_file_that_is_none_any_more_holds_nobody_up(db: Database, file: Path) -> None:
    made = await opened(db, file)
    await made.base(WORLD)
    file.unlink()
    os.mkfifo(file)
    with trio.fail_after(20):
        await made.change(WORLD, [change("a", "2")], MINE)
        assert (await values(made))["a"] == "2"
        await made.aclose()
    assert stat.S_ISFIFO(file.stat().st_mode)
    assert made.notes(WORLD) or made._files is not None
    with pytest.raises(ValueError, match="whole path"):
        await binding.bind(made.store, WORLD, "knowledge.json")


# --- merging --------------------------------------------------------------------------------------------------------

_IDS = st.sampled_from("abcdefgh")
_BASES = st.dictionaries(_IDS, st.sampled_from("123"), max_size=8)


def ours_of(then: Mapping[str, str], now: Mapping[str, str], order: Sequence[str]) -> Ours:
    rows = {}
    before: dict[str, str | None] = {}
    for position, id in enumerate(order):
        if id in now:
            changed = then.get(id) != now[id]
            rows[id] = Row(dump(document(id, now[id])), 9 if changed else 1, float(position))
        if then.get(id) != now.get(id):
            before[id] = dump(document(id, then[id])) if id in then else None
    return Ours(rows, 5, before, INFO)


@given(_BASES, _BASES, _BASES, st.permutations("abcdefgh"), st.permutations("abcdefgh"))
@settings(deadline=None)
def test_a_merge_has_what_either_side_changed_and_the_files_order(
    then: dict[str, str], here: dict[str, str], there: dict[str, str], order: list[str], theirs: list[str]
) -> None:
    ours = ours_of(then, here, order)
    documents = [document(id, there[id]) for id in theirs if id in there]
    plan = merge(ours, Theirs(INFO, documents))
    found = dict(here)
    positions = {id: row.position for id, row in ours.rows.items()}
    for each in plan.changes:
        assert each.expect == (ours.rows[each.id].version if each.id in ours.rows else 0)
        if each.document is None:
            del found[each.id]
        else:
            found[each.id] = each.document["content"]["value"]
            if each.position is not None:
                positions[each.id] = each.position
    expected = {}
    for id in {*then, *here, *there}:
        # The file's where it changed, and where both did.
        value = there.get(id) if there.get(id) != then.get(id) else here.get(id)
        if value is not None:
            expected[id] = value
    assert found == expected
    assert plan.write or found == there
    kept = [each["id"] for each in documents if each["id"] in found]
    assert sorted(kept, key=lambda id: (positions[id], id)) == kept
    # Nothing is changed that need not be.
    again = merge(ours_of(there, there, theirs), Theirs(INFO, documents))
    assert (again.changes, again.write, again.notes) == ([], False, [])
