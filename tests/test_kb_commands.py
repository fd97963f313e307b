"""`innkeeper kb new|add|import|export|list`, as people use them."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.retrieval_bases import Concepts

from innkeeper.cli.knowledge import kb_import, keeping
from innkeeper.cli.main import invoke
from innkeeper.knowledge.embedding.registry import Model, Models
from innkeeper.knowledge.files.packing import write_archive
from innkeeper.knowledge.files.placing import sweep
from innkeeper.knowledge.files.reading import read_base
from innkeeper.knowledge.files.step import base_of
from innkeeper.knowledge.files.vectors import VectorSet
from innkeeper.knowledge.joined import opening
from innkeeper.plugins import home as home_module

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)
ENTRIES = [{"id": "a", "displayName": "Anna", "content": {"value": "She keeps the inn."}}, {"id": "b"}]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[Concepts]:
    """Models that commands find, beside none that is real: m and n."""
    made = [Concepts({}, id="m"), Concepts({}, id="n")]

    def of(each: Concepts) -> Model:
        async def opened() -> Concepts:
            return each

        return Model(each.identity.id, each.identity.id, "offline", "", opened)

    monkeypatch.setattr(opening, "models_of", lambda around: Models([of(each) for each in made], "m"))
    return made


class Said:
    def __init__(self, capture: pytest.CaptureFixture[bytes]) -> None:
        self._capture = capture

    def __call__(self, *words: str, code: int = 0) -> tuple[Any, str]:
        """What a command wrote: its JSON, or its text, and what went to standard error."""
        got = invoke(["kb", *words])
        out, err = self._capture.readouterr()
        text = out.decode()
        assert got == code, (got, text, err.decode())
        return (json.loads(text) if "--json" in words else text), err.decode()


@pytest.fixture
def kb(capfdbinary: pytest.CaptureFixture[bytes]) -> Said:
    return Said(capfdbinary)


def base_file(path: Path, base_id: str = "world", entries: Any = ENTRIES, **top: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"kb_id": base_id, "schema_version": "1.1", **top, "entries": entries}))
    return path


# --- new, list, add -------------------------------------------------------------------------------------------------


def test_a_base_is_made_listed_filled_exported_and_imported_again(home: Path, kb: Said) -> None:
    made, _ = kb("new", "My World", "--description", "of mine", "--json")
    assert (made["id"], Path(made["path"])) == ("my-world", home / "knowledge" / "my-world")
    assert read_base(home / "knowledge" / "my-world").base.info.kb_description == "of mine"
    base_file(home / "in.json", "other")
    done, _ = kb("import", str(home / "in.json"), "--into", "my-world", "--json")
    (report,) = done["imported"]
    assert (report["created"], report["base"], report["problems"]) == (2, "my-world", [])
    out, _ = kb("export", "My World", "--out", "out.ctkbz", "--json")
    assert (out["entries"], out["media"]) == (2, 0)
    again, _ = kb("import", "out.ctkbz", "--id", "again", "--json")
    assert again["imported"][0]["base"] == "again"
    listed, _ = kb("list", "--json")
    assert [(each["id"], each["entries"], each["problem"]) for each in listed["bases"]] == [
        ("again", 2, None),
        ("my-world", 2, None),
    ]
    text, _ = kb("list")
    assert "My World" in text
    entries, _ = kb("list", "again", "--json")
    assert [(each["id"], each["name"]) for each in entries["entries"]] == [("a", "Anna"), ("b", None)]


def test_an_id_that_is_taken_or_none_is_refused(home: Path, kb: Said) -> None:
    kb("new", "World")
    assert "already" in kb("new", "World", code=2)[1]
    assert "is not right" in kb("new", "X", "--id", "../evil", code=2)[1]
    assert "1 to 1,000" in kb("new", " ", code=2)[1]
    assert sorted(each.name for each in (home / "knowledge").iterdir()) == ["world"]


def test_a_base_that_lies_elsewhere_is_registered_and_forgotten(home: Path, kb: Said, tmp_path: Path) -> None:
    base_file(tmp_path / "far" / "knowledge.json", "far-1", kb_displayName="Far")
    added, _ = kb("add", "far", "--id", "away", "--json")
    assert (added["id"], added["alias"], added["entries"]) == ("far-1", "away", 2)
    assert "Anna" in kb("list", "away")[0]
    assert "already" in kb("new", "Away", code=2)[1]
    kb("add", "--forget", "away")
    assert "no global base" in kb("list", "away", code=2)[1]
    assert "Anna" in kb("list", "./far")[0]


def test_a_project_gets_its_own_base_and_refers_to_global_ones(home: Path, kb: Said, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "project.json").write_text('{"name": "P", "z": 1}')
    own, _ = kb("new", "Own Lore", "--project", "p", "--json")
    assert own["reference"] == "own-lore"
    kb("new", "World")
    kb("add", "world", "--project", "p")
    base_file(tmp_path / "far" / "knowledge.json", "far-1")
    kb("add", "far", "--project", "p")
    found, _ = kb("list", "--project", "p", "--json")
    assert [(each["id"], each["type"], each["problem"]) for each in found["references"]] == [
        ("own-lore", "local", None),
        ("world", "global", None),
        ("far-1", "global", None),
    ]
    assert json.loads((tmp_path / "p" / "project.json").read_text())["z"] == 1
    (tmp_path / "far" / "knowledge.json").unlink()
    text, _ = kb("list", "--project", "p")
    assert "far-1" in text


def test_a_working_directory_that_nobody_accepted_gives_no_bases_and_gets_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kb: Said
) -> None:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    monkeypatch.delenv("INNKEEPER_HOME", raising=False)
    (tmp_path / "plugins").mkdir()
    base_file(tmp_path / "knowledge" / "planted" / "knowledge.json", "planted")
    (tmp_path / "knowledge" / "registry.json").write_text(json.dumps({"bases": [{"id": "x", "path": str(tmp_path)}]}))
    monkeypatch.chdir(tmp_path)
    listed, _ = kb("list", "--json")
    assert (listed["bases"], bool(listed["doubt"])) == ([], True)
    assert "not used" in kb("list", "planted", code=2)[1]
    for words in (("new", "X"), ("add", "knowledge/planted"), ("import", "knowledge/planted")):
        assert "nothing was written" in kb(*words, code=2)[1]
    for words in (
        ("search", "planted", "x"),
        ("explain", "planted", "--message", "x"),
        ("check", "planted"),
        ("edit", "planted", "a", "--set", "x=1"),
        ("undo", "planted"),
        ("approve", "planted", "--on"),
        ("export", "planted", "--out", "x.json"),
        ("embed", "planted"),
    ):
        assert "not used" in kb(*words, code=2)[1], words
    assert sorted(each.name for each in tmp_path.iterdir()) == ["knowledge", "plugins"]
    assert sorted(each.name for each in (tmp_path / "knowledge").iterdir()) == ["planted", "registry.json"]


# --- import ---------------------------------------------------------------------------------------------------------


def test_what_is_sound_of_a_file_is_imported_and_the_rest_is_said_with_line_and_entry(home: Path, kb: Said) -> None:
    (home / "in.json").write_text(
        '{"kb_id": "w", "entries": [\n{"id": "a"},\n{"id": "b", "displayName": "Bob", "content": 7}]}'
    )
    text, said = kb("import", str(home / "in.json"))
    assert "in.json (base) -> w: 1 new" in text
    assert "line 3: entries[1].content (entry 'Bob')" in said
    assert "line 3" in kb("import", str(home / "in.json"), "--id", "w2", "--strict", code=2)[1]
    report, _ = kb("import", str(home / "in.json"), "--id", "w3", "--json")
    assert report["imported"][0]["problems"][0]["line"] == 3
    (home / "bad.json").write_text('{"kb_id": "w4", "entries": [{"id": 1}]}')
    assert "entries[0].id" in kb("import", str(home / "bad.json"), code=2)[1]
    assert sorted(each.name for each in (home / "knowledge").iterdir()) == ["w", "w3"]


def test_a_folder_and_an_archive_come_with_their_media(home: Path, kb: Said, tmp_path: Path) -> None:
    entries = [{"id": "a", "content": {"path": "media/a.png"}}]
    base_file(tmp_path / "folder" / "knowledge.json", "folder", entries)
    (tmp_path / "folder" / "media").mkdir()
    (tmp_path / "folder" / "media" / "a.png").write_bytes(PNG)
    kb("import", "folder")
    kb("export", "folder", "--out", "x.zip")
    report, _ = kb("import", "x.zip", "--id", "copy", "--json")
    assert report["imported"][0]["media"] == 1
    for name in ("folder", "copy"):
        assert (home / "knowledge" / name / "media" / "a.png").read_bytes() == PNG
    kb("new", "Third")
    kb("import", "x.zip", "--into", "third")
    assert (home / "knowledge" / "third" / "media" / "a.png").read_bytes() == PNG
    said = kb("export", "third", "--out", "alone.json")[1]
    assert "1 media files stay behind" in said
    assert len(read_base(tmp_path / "alone.json").base.items) == 1


def test_a_lorebook_of_others_is_imported_and_exported(home: Path, kb: Said, tmp_path: Path) -> None:
    entries = {"0": {"uid": 0, "key": ["dragon"], "content": "one", "x": 1}, "1": 5, "2": {"uid": 2, "content": "two"}}
    (tmp_path / "book.json").write_text(json.dumps({"entries": entries}))
    report, _ = kb("import", "book.json", "--id", "book", "--json")
    (found,) = report["imported"]
    assert (found["kind"], found["base"], found["created"]) == ("world_info", "book", 2)
    assert [each["where"] for each in found["problems"]] == ["entries.1"]
    assert "entries.1" in kb("import", "book.json", "--strict", "--id", "x", code=2)[1]
    kb("export", "book", "--out", "out.json", "--to", "world-info")
    del entries["1"]
    assert json.loads((tmp_path / "out.json").read_text())["entries"] == entries


def test_entries_whose_id_is_there_stay_unless_an_option_says_otherwise(home: Path, kb: Said, tmp_path: Path) -> None:
    kb("new", "World")
    base_file(tmp_path / "one.json", "x", [{"id": "a", "displayName": "Anna"}])
    base_file(tmp_path / "two.json", "x", [{"id": "a", "displayName": "Berta"}])
    kb("import", "one.json", "--into", "world")
    kb("import", "one.json", "--into", "world")
    assert "--existing" in kb("import", "two.json", "--into", "world", code=2)[1]

    def names() -> list[str]:
        return [each["name"] for each in kb("list", "world", "--json")[0]["entries"]]

    kb("import", "two.json", "--into", "world", "--existing", "keep")
    assert names() == ["Anna"]
    kb("import", "two.json", "--into", "world", "--existing", "rename")
    assert names() == ["Anna", "Berta"]
    kb("import", "two.json", "--into", "world", "--existing", "replace")
    assert names() == ["Berta", "Berta"]


def test_documents_become_a_base_and_a_changed_one_replaces_only_its_own_entries(
    home: Path, kb: Said, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    for name, text in (("a.md", "# Inn\nIt is warm.\n\n# Road\nIt is long."), ("b.txt", "A fox."), ("c.txt", "A hen.")):
        (tmp_path / "notes" / name).write_text(text)
    assert "--no-embed" in kb("import", "notes", code=2)[1], "documents want to be found by meaning"
    report, _ = kb("import", "notes", "--no-embed", "--json")
    (found,) = report["imported"]
    assert (found["kind"], found["base"], found["created"]) == ("documents", "notes", 4)
    base_file(tmp_path / "more.json", "x")
    kb("import", "more.json", "--into", "notes")
    listed = kb("list", "notes", "--json")[0]["entries"]
    fox = next(each["id"] for each in listed if "b.txt" in str(each) or each["name"] == "b")
    kb("edit", "notes", fox, "--set", "content.value=A red fox.")
    (tmp_path / "notes" / "a.md").write_text("# Inn\nIt is warm.\n\n# Road\nIt is short.")
    (tmp_path / "notes" / "b.txt").write_text("A grey fox.")
    (tmp_path / "notes" / "c.txt").unlink()
    report, _ = kb("import", "notes", "--into", "notes", "--no-embed", "--json")
    (found,) = report["imported"]
    again = ("import", "notes", "--into", "notes", "--no-embed")
    assert (found["created"], found["deleted"]) == (2, 1)
    assert {each["where"] for each in found["problems"]} == {fox, "notes/c.txt"}
    assert {"a", "b", fox} < {each["id"] for each in kb("list", "notes", "--json")[0]["entries"]}
    report, _ = kb(*again, "--existing", "replace", "--remove-missing", "--json")
    assert (report["imported"][0]["problems"], report["imported"][0]["deleted"]) == ([], 2)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--into", "a", "--id", "b"), "not both"),
        (("--embed", "m", "--no-embed"), "not both"),
        (("--existing", "keep"), "goes with --into"),
        (("--remove-missing",), "goes with --into"),
        (("--id", "X Y"), "is not right"),
        (("--into", "nothing"), "no global base"),
        (("--embed", "nothing"), "no model that is here"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_written(
    home: Path, kb: Said, words: tuple[str, ...], sentence: str
) -> None:
    base_file(home / "in.json")
    assert sentence in kb("import", str(home / "in.json"), *words, code=2)[1]
    assert not (home / "knowledge").exists()


# --- models ---------------------------------------------------------------------------------------------------------


def archive(tmp_path: Path, model: str, recorded: str) -> str:
    base = base_of({"kb_id": "w", "embedding_model_id": recorded}, ENTRIES)
    rows = np.ones((1, 16), np.float32) / 4
    write_archive(tmp_path / "v.zip", base, vectors=[VectorSet(model, ["a"], [""], rows)])
    return "v.zip"


def model_of(home: Path, base: str) -> Any:
    document = json.loads((home / "knowledge" / base / "knowledge.json").read_text())
    return document.get("embedding_model_id")


def test_a_base_of_another_model_asks_and_without_a_screen_names_both_options(
    home: Path, kb: Said, tmp_path: Path, models: list[Concepts]
) -> None:
    file = archive(tmp_path, "ada", "ada")
    said = kb("import", file, code=2)[1]
    for words in (
        "'ada'",
        "not here",
        "1 of 2 entries",
        "about 5 tokens (estimate)",
        "m/16, n/16",
        "--embed MODEL",
        "--no-embed",
    ):
        assert words in said
    assert not (home / "knowledge").exists()
    report, _ = kb("import", file, "--no-embed", "--json")
    assert report["imported"][0]["vectors"] == 0
    report, _ = kb("import", file, "--id", "w2", "--embed", "m", "--json")
    assert report["imported"][0]["vectors"] == 1, "an entry without a text has none"
    assert model_of(home, "w2") == "m/16"


def test_vectors_of_a_model_that_is_here_are_used_without_a_question(
    home: Path, kb: Said, tmp_path: Path, models: list[Concepts]
) -> None:
    report, _ = kb("import", archive(tmp_path, "m/16", "m/16"), "--json")
    assert (report["imported"][0]["vectors"], models[0].asked) == (1, [])
    kb("export", "w", "--vectors", "--out", "again.zip")
    with zipfile.ZipFile(tmp_path / "again.zip") as found:
        assert len([name for name in found.namelist() if name.startswith("vectors/")]) == 2
    kb("new", "Empty")
    assert "has no vectors" in kb("export", "empty", "--vectors", "--out", "e.zip", code=2)[1]


@pytest.mark.parametrize(("answer", "model"), [("n/16\n", "n/16"), ("no\n", "ada"), ("cancel\n", None)])
def test_on_a_terminal_the_answer_decides(
    home: Path,
    kb: Said,
    tmp_path: Path,
    models: list[Concepts],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    model: str | None,
) -> None:
    monkeypatch.setattr(kb_import, "is_terminal", lambda stream: True)
    monkeypatch.setattr("click.prompt", lambda *_, **__: answer.strip())
    file = archive(tmp_path, "ada", "ada")
    said = kb("import", file, code=6 if model is None else 0)[1]
    assert "1 of 2 entries" in said
    assert (home / "knowledge" / "w").exists() == (model is not None)
    assert model is None or model_of(home, "w") == model
    assert any(asked for asked in models[1].asked) == (model == "n/16")


# --- export and safety ----------------------------------------------------------------------------------------------


def test_an_export_overwrites_nothing_without_being_told(home: Path, kb: Said, tmp_path: Path) -> None:
    kb("new", "World")
    (tmp_path / "x.json").write_text("mine")
    assert "--force" in kb("export", "world", "--out", "x.json", code=2)[1]
    assert (tmp_path / "x.json").read_text() == "mine"
    kb("export", "world", "--out", "x.json", "--force")
    assert read_base(tmp_path / "x.json").base.info.kb_id == "world"
    for words, sentence in (
        (("--out", "x.exe"), "must end with"),
        (("--out", "y.json", "--vectors"), "archive"),
        (("--out", "y.zip", "--to", "world-info"), "single file"),
        (("--out", "none/y.zip"), "no folder"),
    ):
        assert sentence in kb("export", "world", *words, code=2)[1]


def test_a_folder_that_is_no_global_base_is_packed_as_it_is(home: Path, kb: Said, tmp_path: Path) -> None:
    base_file(tmp_path / "far" / "knowledge.json", "far", [*ENTRIES, {"id": 7}])
    report, _ = kb("export", "far", "--out", "far.zip", "--json")
    assert (report["entries"], [each["where"] for each in report["problems"]]) == (2, ["entries[2].id"])
    assert len(read_base(tmp_path / "far.zip").base.items) == 2
    assert "no vectors" in kb("export", "far", "--out", "v.zip", "--vectors", code=2)[1]


IMPORTING = """
import sys, trio
from pathlib import Path
from innkeeper.knowledge.files.unpacking import opened_archive
print("ready", flush=True)
number = 0
while True:
    number += 1
    with opened_archive(Path(sys.argv[1])) as opened:
        opened.place(Path(sys.argv[2]) / f"base{number}")
"""


def test_an_import_that_is_killed_at_any_moment_leaves_whole_bases_and_nothing_else(tmp_path: Path) -> None:
    entries = [{"id": str(at), "content": {"value": "x" * 500, "path": f"media/{at % 20}.png"}} for at in range(200)]
    base_file(tmp_path / "big" / "knowledge.json", "big", entries)
    (tmp_path / "big" / "media").mkdir()
    for at in range(20):
        (tmp_path / "big" / "media" / f"{at}.png").write_bytes(PNG + bytes([at]) * 1000)
    read = read_base(tmp_path / "big")
    write_archive(tmp_path / "big.zip", read.base, folder=tmp_path / "big")
    whole = sorted(str(file.relative_to(tmp_path / "big")) for file in (tmp_path / "big").rglob("*"))
    chance = random.Random(5)
    for attempt in range(5):
        home = tmp_path / f"home{attempt}"
        command = [sys.executable, "-c", IMPORTING, str(tmp_path / "big.zip"), str(home)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.02 + chance.random() * 0.2)
            process.kill()
        for folder in home.glob(".import-*"):
            os.utime(folder, (1, 1))
        sweep(home)
        for folder in home.iterdir() if home.exists() else ():
            assert not folder.name.startswith("."), folder
            assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*")) == whole
            assert read_base(folder).base == read.base


def test_a_crafted_archive_is_one_error_and_leaves_nothing(home: Path, kb: Said, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        made.writestr("knowledge.json", json.dumps({"kb_id": "evil", "entries": []}))
        made.writestr("../../escaped.txt", "x")
    said = kb("import", "x.zip", code=2)[1]
    assert "'..'" in said
    assert "Traceback" not in said
    assert not (tmp_path / "escaped.txt").exists()
    assert not (home / "knowledge").exists()


def test_an_id_of_a_base_chooses_no_folder_outside_of_the_home(home: Path, kb: Said, tmp_path: Path) -> None:
    for number, base_id in enumerate(("../../evil", "/etc/evil", "registry.json", ".hidden", "a\n\x1b[2Jb")):
        base_file(tmp_path / f"{number}.json", base_id)
        said = kb("import", f"{number}.json", code=2 if "\n" in base_id else 0)[1]
        assert "\x1b" not in said
        assert "\n" not in base_id or "--id" in said
    folders = sorted((home / "knowledge").iterdir())
    assert len(folders) == 4
    assert all(folder.is_dir() and (folder / "knowledge.json").exists() for folder in folders)
    text, _ = kb("list")
    assert "\x1b" not in text
    assert not (tmp_path / "evil").exists()


def test_a_bar_is_drawn_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with keeping.bar("reading") as progress:
        assert progress is not None
        progress(1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(keeping, "is_terminal", lambda stream: True)
    with keeping.bar("reading \x1b[2J") as progress:
        assert progress is not None
        progress(1, 2)
        progress(2, 0)
    assert "\x1b[2J" not in capsys.readouterr().err
