"""Knowledge bases against people who write to their folders, and who damage their database."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from innkeeper.errors import RejectedError, UsageError
from innkeeper.knowledge.files.reading import read_base
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.opening import open_library
from innkeeper.knowledge.store.limits import StoreQuota
from innkeeper.knowledge.store.values import Origin
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.knowledge_model import Draft, Filters, FullError, NoSuchError, Place, Query
from kb_hostile_bases import PLUGIN, WORLD, document, lay, opened, put, request


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "state" / "innkeeper.db") as database:
        yield database


# --- a folder that others write to ------------------------------------------------------------------------------------


async def test_a_link_in_the_place_of_a_bases_file_is_not_followed_after_it_was_opened(tmp_path: Path) -> None:
    home = tmp_path / "home"
    secret = tmp_path / "private" / "knowledge.json"
    secret.parent.mkdir()
    secret.write_text(json.dumps({"kb_id": "world", "entries": [document("secret", "the dragon's name")]}))
    file = lay(home, "world", "world")
    async with opened(home) as knowledge:
        assert await knowledge.guests.get(WORLD, "e")
        file.unlink()
        file.symlink_to(secret)
        await trio.sleep(1.1)
        assert await knowledge.guests.get(WORLD, "e")
        with pytest.raises(NoSuchError):
            await knowledge.guests.get(WORLD, "secret")
        notes = (await knowledge.guests.info(WORLD))["notes"]
        assert any("link" in note for note in notes), notes
        assert str(tmp_path) not in str(notes)
    assert json.loads(secret.read_text())["entries"][0]["id"] == "secret"


@pytest.mark.parametrize("what", ["folder", "pipe", "gone", "broken", "binary", "newline", "twice"])
async def test_what_a_guest_is_told_of_a_file_names_no_folder_of_the_machine(tmp_path: Path, what: str) -> None:
    home = tmp_path / "home"
    file = lay(home, "world", "world")
    async with opened(home) as knowledge:
        assert await knowledge.guests.get(WORLD, "e")
        file.unlink()
        match what:
            case "folder":
                file.mkdir()
            case "pipe":
                os.mkfifo(file)
            case "broken":
                file.write_text('{"kb_id": "world", "entries": [')
            case "binary":
                file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
            case "newline":
                file.write_text('{"kb_id": "wor\nld", "entries": []}')
            case "twice":
                file.write_text("{}")
                (file.parent / "entries.json").write_text("[]")
        knowledge.bases.library._files._looked.clear()  # type: ignore[union-attr]
        with trio.fail_after(10):
            assert await knowledge.guests.get(WORLD, "e")
            info = await knowledge.guests.info(WORLD)
        assert info["notes"]
        assert str(tmp_path) not in json.dumps(info)


async def test_a_file_whose_top_level_changes_all_the_time_does_not_fill_the_disk(db: Database) -> None:
    library = open_library(db, quota=StoreQuota(infos=4))
    await library.change(WORLD, [put("e")], Origin())
    for number in range(20):
        await library.change(WORLD, [], Origin(), info={"kb_id": "world", "kb_description": f"{number}" * 1000})
    steps = await library.store.steps(WORLD, most=1000)
    assert sum(step.info_before is not None for step in steps) == 4
    # The newest are taken back still, and the entry's own.
    await library.undo(WORLD)
    assert (await library.base(WORLD)).state.info["kb_description"] == "18" * 1000
    await library.undo(WORLD, "e")
    assert len(await library.base(WORLD)) == 0
    await library.aclose()


def nested(depth: int) -> Any:
    return json.loads("[" * depth + "]" * depth)


@pytest.mark.parametrize("odd", [nested(62), 1 << 64, -(1 << 63) - 1], ids=["deep", "large", "small"])
async def test_what_no_file_can_have_comes_into_no_base(db: Database, odd: Any) -> None:
    library = open_library(db)
    with pytest.raises(KnowledgeError, match=r"64 bits|inside of each other"):
        await library.change(WORLD, [put("e", extensions={"x": odd})], Origin())
    await library.aclose()


async def test_what_just_fits_into_a_base_can_be_read_from_its_file_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    file = lay(home, "world", "world")
    odd = {"deep": nested(60), "large": (1 << 64) - 1, "small": -(1 << 63), "text": "9" * 50}
    async with opened(home) as knowledge:
        await knowledge.guests.get(WORLD, "e")
        await knowledge.bases.change(WORLD, [put("e2", extensions=odd)], Origin())
    assert read_base(file).base.items[1].document["extensions"] == odd


async def test_a_base_of_more_than_a_file_can_have_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from innkeeper.knowledge.files import scanning

    monkeypatch.setattr(scanning, "MOST_CONTAINERS", 3000)
    home = tmp_path / "home"
    file = lay(home, "world", "world")
    before = file.read_bytes()
    async with opened(home) as knowledge:
        await knowledge.guests.get(WORLD, "e")
        for number in range(4):
            fields = {"extensions": {"x": [[]] * 950}}
            draft = Draft(content="x", fields=fields)
            await knowledge.guests.put(WORLD, f"p{number}", draft, source="agent_generated", author=PLUGIN)
        await knowledge.bases.library.flush()
        assert "more than 3,000 objects" in str((await knowledge.guests.info(WORLD))["notes"])
        assert file.read_bytes() == before
        # Once there is less of it, both are brought in step again.
        for number in range(3):
            await knowledge.guests.delete(WORLD, f"p{number}", author=PLUGIN)
    assert [item.entry.id for item in read_base(file).base.items] == ["e", "p3"]


async def test_a_step_with_a_number_that_nothing_can_have_is_not_there(db: Database) -> None:
    library = open_library(db)
    await library.change(WORLD, [put("e")], Origin())
    with pytest.raises(NoSuchError):
        await library.undo(WORLD, revision=1 << 80)
    await library.aclose()


# --- a database that somebody damaged ---------------------------------------------------------------------------------

_DAMAGE = {
    "info is no JSON": "update kb_bases set info = '{'",
    "info is a list": "update kb_bases set info = '[1]'",
    "info is deep": "update kb_bases set info = replace(hex(zeroblob(50000)), '00', '[')",
    "info is a blob": "update kb_bases set info = x'00ff'",
    "info of other types": """update kb_bases set info = '{"kb_id": 5, "tags": 7, "kb_extensions": 3}'""",
    "a revision is text": "update kb_bases set revision = 'abc'",
    "a revision is huge": "update kb_bases set revision = 9223372036854775807",
    "a count lies": "update kb_bases set entries = 99",
    "a note is no JSON": "update kb_bases set note = '{'",
    "a note has numbers": "update kb_bases set note = '[1]'",
    "a batch that is not there": "update kb_bases set folding = 'nope'",
    "terms of an unknown make": "update kb_bases set legs = 'other'",
    "a document is no JSON": "update kb_entries set document = '{' where id = 'e1'",
    "a document is a list": "update kb_entries set document = '[]' where id = 'e1'",
    "a document is a blob": "update kb_entries set document = x'ff00' where id = 'e1'",
    "a document is another's": """update kb_entries set document = '{"id": "other"}' where id = 'e1'""",
    "a document of other types": """update kb_entries set document =
        '{"id": "e1", "content": 5, "activation_criteria": {"keywords": "x"}, "usage_metadata": {"priority": "x"}}'
        where id = 'e1'""",
    "a document has NaN": """update kb_entries set document = '{"id": "e1", "usage_metadata": {"priority": NaN}}'
        where id = 'e1'""",
    "a document is deep": """update kb_entries set document =
        '{"id": "e1", "x": ' || replace(hex(zeroblob(50000)), '00', '[') || '}' where id = 'e1'""",
    "a position is text": "update kb_entries set position = 'x' where id = 'e1'",
    "a position is infinite": "update kb_entries set position = 9e999 where id = 'e1'",
    "terms are cut": "update kb_entries set terms = x'01000000ffffffff' where id = 'e1'",
    "terms are text": "update kb_entries set terms = 'abc' where id = 'e1'",
    "an id is a blob": "update kb_entries set id = x'ff' where id = 'e1'",
    "times are text": "update kb_entries set created = 'x', updated = 'y'",
    "a vector is NaN": "update kb_vectors set vector = :nan",
    "a vector is short": "update kb_vectors set vector = x'0000'",
    "a vector is text": "update kb_vectors set vector = 'abc'",
    "a vector is zero": "update kb_vectors set vector = zeroblob(512)",
    "a vector is odd": "update kb_vectors set vector = zeroblob(511)",
    "a history is no JSON": "update kb_history set before = '{', kind = 'change'",
    "a step is text": "update kb_steps set info_before = '{', at = 'x'",
    "a session is no msgpack": "update kb_sessions set state = x'ff'",
    "a session of other types": "update kb_sessions set state = x'83a17601a661637469766505a76566666563747305'",
    "an overlay is no JSON": "update kb_overlays set document = '{'",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with everything in it."""
    folder = tmp_path_factory.mktemp("whole")

    async def make() -> None:
        async with opened(folder) as knowledge:
            library, models = knowledge.bases.library, knowledge.models
            (model,) = [each for each in models.all if each.kind == "offline"]
            embedder = (await models.choose(base=model.id)).embedder
            info = {"kb_id": "world", "embedding_model_id": embedder.identity.key}
            await library.create(WORLD, info)
            entries = [put(f"e{number}", f"dragon {number}") for number in range(5)]
            await knowledge.bases.change(WORLD, entries, Origin())
            await knowledge.bases.change(WORLD, [put("e2", "dragon again")], Origin())
            await library.change(WORLD, [], Origin(), info={**info, "kb_description": "a world"})
            await library.sessions.put(WORLD, "chat", "e3", document("e3", "another"))
            version = (await library.sessions.state(WORLD, "chat"))[1]
            await library.sessions.keep_state(WORLD, "chat", b"\x80", expect=version)

    trio.run(make)
    return folder / "state" / "innkeeper.db"


@pytest.mark.parametrize("damage", _DAMAGE)
async def test_a_damaged_database_ends_no_host_and_shows_no_traceback(
    tmp_path: Path, whole: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "state" / "innkeeper.db"
    file.parent.mkdir(mode=0o700)
    with sqlite3.connect(whole) as source, sqlite3.connect(file) as copy:
        source.backup(copy)
        values = {"nan": struct.pack("<256e", *[float("nan")] * 256)} if ":nan" in _DAMAGE[damage] else {}
        assert copy.execute(_DAMAGE[damage], values).rowcount > 0
    copy.close()
    source.close()
    file.chmod(0o600)
    chat = Place("default_user", "world", "chat")
    async with opened(tmp_path) as knowledge:
        guests, library = knowledge.guests, knowledge.bases.library
        asks = {
            "get": lambda: guests.get(WORLD, "e2"),
            "get it": lambda: guests.get(WORLD, "e1"),
            "list": lambda: guests.list(WORLD, after="", limit=10, filters=Filters(disabled=True)),
            "tags": lambda: guests.list(WORLD, after="", limit=10, filters=Filters(tags=("x",))),
            "info": lambda: guests.info(WORLD),
            "search": lambda: guests.search(WORLD, Query("dragon"), filters=Filters()),
            "meaning": lambda: guests.search(WORLD, Query("dragon", mode="semantic"), filters=Filters()),
            "activate": lambda: guests.activate("default_user", ["world"], request(session="chat")),
            "activate st": lambda: guests.activate(
                "default_user", ["world"], request(session="chat", profile="st-1.15")
            ),
            "overlay": lambda: guests.get(chat, "e3"),
            "history": lambda: guests.history(WORLD, "e2", before=0, limit=10),
            "steps": lambda: library.store.steps(WORLD),
            "put": lambda: guests.put(WORLD, "e4", Draft(content="x"), source="agent_generated", author=PLUGIN),
            "undo": lambda: library.undo(WORLD),
            "verify": lambda: library.verify(WORLD),
        }
        failed = {}
        for name, ask in asks.items():
            with trio.fail_after(20):
                try:
                    await ask()
                except (RejectedError, UsageError, NoSuchError, FullError):
                    pass
                except ValueError as error:
                    # What a guest reads: a sentence of ours, and none of a library.
                    if type(error) is not ValueError or "convert" in str(error):
                        failed[name] = repr(error)
                except Exception as error:
                    failed[name] = repr(error)
        assert not failed
    assert not [record for record in caplog.records if record.exc_info], caplog.text
