"""`innkeeper kb edit` and `kb undo`: fields, editors, what is wrong by line and key, and the way back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.bridge.bridge import FILE
from innkeeper.cli.knowledge import kb_edit
from innkeeper.cli.knowledge.document_paths import line_of, parse_path, remove_field, set_field
from innkeeper.cli.main import invoke
from innkeeper.errors import UsageError
from innkeeper.knowledge.opening import open_library
from innkeeper.knowledge.store.values import IMPORT, Origin
from innkeeper.plugins import home as home_module
from innkeeper.plugins.home import STATE
from innkeeper.storage.database import open_database
from kb_bases import WORLD, change, many

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    folder.mkdir()

    async def main() -> None:
        async with open_database(folder / STATE / FILE) as db:
            library = open_library(db)
            await library.change(WORLD, [change("dragon", "sleeps"), *many(3, "x")], Origin(IMPORT))

    trio.run(main)
    return folder


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], home: Path) -> Run:
    """Runs a command of `innkeeper kb`: its exit code, what it printed, its errors."""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = invoke(("--home", str(home), "kb", *arguments))
        return (code, *capfd.readouterr())

    return command


def kept(home: Path, id: str = "dragon") -> dict[str, Any] | None:
    async def main() -> dict[str, Any] | None:
        async with open_database(home / STATE / FILE) as db:
            stored = await open_library(db).store.get(WORLD, id)
            return None if stored is None else stored.plain()

    return trio.run(main)


def test_fields_are_set_as_json_or_text_and_removed(home: Path, run: Run, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("It sleeps.\n龙", encoding="utf-8")
    fields = (
        ("activation_criteria.keywords", '["a", "龙"]'),
        ("activation_criteria.key_groups", '[{"keys": ["b"]}]'),
        ("activation_criteria.key_groups[0].logic", "OR"),
        ('extensions."a.b"', "7"),
        ("displayName", "The Dragon"),
    )
    sets = [part for field, value in fields for part in ("--set", f"{field}={value}")]
    code, out, err = run("edit", "world", "dragon", *sets, "--content", str(text))
    assert (code, err) == (0, "")
    assert "kb undo world dragon" in out
    assert kept(home) == {
        "id": "dragon",
        "content": {"value": "It sleeps.\n龙"},
        "activation_criteria": {"keywords": ["a", "龙"], "key_groups": [{"keys": ["b"], "logic": "OR"}]},
        "extensions": {"a.b": 7},
        "displayName": "The Dragon",
    }
    code, out, _ = run("edit", "world", "dragon", "--unset", "extensions", "--json")
    found = json.loads(out)
    assert (code, found["changed"], found["revision"]) == (0, 1, 3)
    assert "extensions" not in (kept(home) or {})
    code, out, _ = run("edit", "world", "dragon", "--set", "displayName=The Dragon", "--json")
    assert (code, json.loads(out)["revision"]) == (0, None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere", "dragon", "--set", "a=1"), "no global base"),
        (("world", "none", "--set", "a=1"), "--create"),
        (("world", "dragon", "--set", "usage_metadata.priority=high"), "usage_metadata.priority"),
        (("world", "dragon", "--set", "id=other"), "must be 'dragon'"),
        (("world", "dragon", "--set", "a..b=1"), "names no field"),
        (("world", "dragon", "--set", "content.value.x=1"), "content.value.x"),
        (("world", "dragon", "--unset", "none"), "none"),
        (("world", "dragon"), "terminal"),
        (("world", "dragon", "--content", "/nowhere/at/all"), "--content"),
    ],
)
def test_a_mistake_is_said_and_changes_nothing(home: Path, run: Run, arguments: tuple[str, ...], says: str) -> None:
    code, _, err = run("edit", *arguments)
    assert code == 2
    assert says in err
    assert "Traceback" not in err
    assert kept(home) == {"id": "dragon", "content": {"value": "sleeps"}}


def test_an_entry_is_made_where_that_is_meant(home: Path, run: Run) -> None:
    assert run("edit", "world", "new", "--create", "--set", "content.value=x")[0] == 0
    assert kept(home, "new") == {"id": "new", "content": {"value": "x"}}
    assert run("undo", "world", "new")[0] == 0
    assert kept(home, "new") is None


@pytest.mark.parametrize(
    "named", ["forest", "wood", "The Forest", "{}/forest-folder", "{}/forest-folder/knowledge.json"]
)
def test_a_base_that_only_lies_in_a_folder_is_taken_up_by_whatever_name(
    tmp_path: Path, home: Path, run: Run, named: str
) -> None:
    file = tmp_path / "forest-folder" / "knowledge.json"
    file.parent.mkdir()
    entries = [{"id": "owl", "content": {"value": "hoots"}}]
    file.write_text(json.dumps({"kb_id": "forest", "kb_displayName": "The Forest", "entries": entries}))
    (home / "knowledge").mkdir()
    rows = [{"id": "wood", "path": str(file.parent)}]
    (home / "knowledge" / "registry.json").write_text(json.dumps({"bases": rows}))
    base = named.format(tmp_path)
    assert run("edit", base, "owl", "--set", "content.value=sleeps")[0] == 0
    assert json.loads(file.read_text())["entries"][0]["content"]["value"] == "sleeps"
    assert run("undo", base, "owl")[0] == 0
    assert json.loads(file.read_text())["entries"][0]["content"]["value"] == "hoots"


def test_a_base_whose_file_is_broken_and_was_never_read_says_line_and_field(home: Path, run: Run) -> None:
    folder = home / "knowledge" / "forest"
    folder.mkdir(parents=True)
    (folder / "knowledge.json").write_text('{"kb_id": "forest", "entries": [\n {"id": 5}]}')
    for words in (("edit", "forest", "owl", "--set", "a=1"), ("undo", "forest")):
        code, _, err = run(*words)
        assert (code, "line 2" in err, "entries[0].id" in err) == (2, True, True), err
        assert "last good state" not in err
    assert "5" in (folder / "knowledge.json").read_text()


class Editor:
    """Writes one text after the other in place of what it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
        self.texts, self.files = list(texts), list[Path]()
        monkeypatch.setattr(click, "edit", self.edit)
        monkeypatch.setattr(kb_edit, "is_terminal", lambda _: True)

    def edit(self, *, filename: str) -> None:
        self.files.append(Path(filename))
        assert self.files[-1].stat().st_mode & 0o077 == 0
        if self.texts:
            Path(filename).write_text(self.texts.pop(0))


def test_in_an_editor_a_mistake_is_said_by_line_and_key_and_the_edit_goes_on(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click, "confirm", lambda *_, **__: True)
    wrong = '{\n "id": "dragon",\n "usage_metadata": {\n  "x": [{}],\n  "priority": "high"\n }\n}'
    right = '{"id": "dragon", "content": {"value": "wakes"}}'
    endless = '{"id": "dragon", "usage_metadata": {"priority": ' + "9" * 5000 + "}}"
    editor = Editor(monkeypatch, '{\n"id": oops', endless, wrong, right)
    code, out, err = run("edit", "world", "dragon")
    assert (code, "changed" in out) == (0, True)
    assert "thousands of digits" in err
    assert "line 2, column 7" in err
    assert "line 5: usage_metadata.priority" in err
    assert kept(home) == json.loads(right)
    assert not editor.files[0].exists()


def test_an_edit_that_is_given_up_is_not_lost(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click, "confirm", lambda *_, **__: False)
    editor = Editor(monkeypatch, '{"id": "dragon", "content": 7}')
    code, _, err = run("edit", "world", "dragon")
    assert code == 2
    assert str(editor.files[0]) in err
    assert editor.files[0].read_text() == '{"id": "dragon", "content": 7}'
    editor.files[0].unlink()


def test_an_edit_that_ctrl_c_ends_is_not_lost(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> bool:
        raise click.Abort

    monkeypatch.setattr(click, "confirm", interrupted)
    editor = Editor(monkeypatch, '{"id": "dragon", "content": 7}')
    code, _, err = run("edit", "world", "dragon")
    assert code == 6
    assert str(editor.files[0]) in err
    editor.files[0].unlink()


def test_an_edit_of_what_somebody_changed_meanwhile_is_not_lost_and_undoes_nothing(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click, "confirm", lambda *_, **__: False)
    editor = Editor(monkeypatch)

    def meanwhile(*, filename: str) -> None:
        editor.edit(filename=filename)
        Path(filename).write_text('{"id": "dragon", "content": {"value": "mine"}}')

        async def main() -> None:
            async with open_database(home / STATE / FILE) as db:
                await open_library(db).change(WORLD, [change("dragon", "theirs")], Origin())

        import threading

        thread = threading.Thread(target=lambda: trio.run(main))
        thread.start()
        thread.join()

    monkeypatch.setattr(click, "edit", meanwhile)
    code, _, err = run("edit", "world", "dragon")
    assert (code, "version 2" in err) == (2, True)
    assert (kept(home) or {})["content"]["value"] == "theirs"
    assert "mine" in editor.files[0].read_text()
    editor.files[0].unlink()


def test_what_was_done_is_listed_and_taken_back(home: Path, run: Run) -> None:
    assert run("edit", "world", "dragon", "--set", "content.value=wakes")[0] == 0
    code, out, _ = run("undo", "world", "--list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["2", "1"]
    code, out, _ = run("undo", "world", "dragon", "--list", "--json")
    assert [step["what"] for step in json.loads(out)["steps"]] == ["change", "create"]
    # The import is not the last word on the dragon any more.
    code, _, err = run("undo", "world", "--step", "1")
    assert (code, "version 2" in err) == (2, True)
    assert run("undo", "world")[0] == 0
    assert (kept(home) or {})["content"]["value"] == "sleeps"
    code, out, _ = run("undo", "world", "--json")
    assert (code, json.loads(out)["changed"]) == (0, 1)
    assert (kept(home) or {})["content"]["value"] == "wakes"
    assert run("undo", "world", "dragon", "--step", "1")[0] == 2
    assert run("undo", "world", "--list", "--step", "1")[0] == 2
    assert run("undo", "nowhere")[0] == 2


def test_where_nothing_is_kept_that_is_said_and_nothing_is_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert invoke(("--home", str(tmp_path), "kb", "undo", "world")) == 2
    assert "no global base" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


_KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)


@given(st.lists(_KEYS, min_size=1, max_size=4), st.integers())
@settings(deadline=None)
def test_any_field_can_be_named_set_found_and_removed(keys: list[str], value: int) -> None:
    path = ".".join(json.dumps(key) for key in keys)
    assert parse_path(path) == keys
    document: dict[str, Any] = {}
    set_field(document, path, value)
    text = json.dumps(document, indent=1)
    assert line_of(text, path) == len(keys) + 1
    remove_field(document, path)
    with pytest.raises(UsageError):
        remove_field(document, path)


@given(st.text(max_size=30), st.text(max_size=12))
@settings(deadline=None)
def test_whatever_somebody_writes_as_a_field_or_as_a_text_ends_in_a_sentence(text: str, path: str) -> None:
    assert line_of(text, path) >= 0
    try:
        parse_path(path)
    except UsageError:
        return
    document: dict[str, Any] = {"a": [1, {}]}
    with contextlib.suppress(UsageError):
        set_field(document, path, 1)
