"""`innkeeper card` shows, imports and exports cards, and says in a line what is wrong with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from innkeeper.cli.main import invoke
from innkeeper.knowledge.interchange.cards import read_card, written
from innkeeper.knowledge.interchange.png import _chunk, blank, chunks
from test_interchange_books import same
from test_interchange_cards import V2, charx


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ignis.json").write_bytes(written(V2))
    return tmp_path


def run(words: str) -> int:
    return invoke(["card", *words.split()])


def test_a_card_is_shown_as_a_table_and_as_json(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("show ignis.json") == 0
    said = capfd.readouterr().out
    for words in ("V2, json", "description", "A dragon.", "2 texts", "1 entries 'Lore'", "depth_prompt"):
        assert words in said
    assert run("show ignis.json --json") == 0
    shown = json.loads(capfd.readouterr().out)
    same(shown["card"], V2)
    assert (shown["version"], shown["entries"], shown["problems"]) == (2, 1, [])


def test_a_card_goes_into_a_base_and_comes_out_as_it_was(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("import ignis.json --id ignis --no-embed") == 0
    assert "ignis.json (card) -> ignis: 10 new" in capfd.readouterr().out
    assert run("export ignis --to v2 --out out.json") == 0
    same(json.loads((folder / "out.json").read_text()), V2)
    assert run("export ignis --out out.png --json") == 0
    report: dict[str, Any] = json.loads((capfd.readouterr().out.splitlines(keepends=True)[0] and "{}") or "{}")
    assert report == {}
    assert read_card((folder / "out.png").read_bytes(), "x").name == "Ignis"


def test_a_card_goes_into_a_base_that_is_there(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("import ignis.json --id ignis --no-embed") == 0
    other = {**V2, "data": {**V2["data"], "description": "Another."}}
    (folder / "other.json").write_bytes(written(other))
    capfd.readouterr()
    assert run("import other.json --into ignis --no-embed") == 2
    assert "--existing" in capfd.readouterr().err
    assert run("import other.json --into ignis --existing rename --no-embed --json") == 0
    (report,) = json.loads(capfd.readouterr().out)["imported"]
    assert (report["base"], report["kind"], report["created"] + report["same"]) == ("ignis", "card", 10)
    assert report["created"] > 0


def test_a_picture_keeps_its_pixels_and_an_archive_its_assets(folder: Path) -> None:
    picture = blank()[:-12] + _chunk(b"tEXt", b"Comment\0x") + blank()[-12:]
    (folder / "face.png").write_bytes(picture)
    assert run("export ignis.json --out out.png --picture face.png") == 0
    made = (folder / "out.png").read_bytes()
    kept = [made[chunk.start : chunk.end] for chunk in chunks(made, "x")]
    assert [each for each in kept if each in picture] == [picture[c.start : c.end] for c in chunks(picture, "x")]
    assert run("export out.png --out again.png") == 0
    same(read_card((folder / "again.png").read_bytes(), "x").document, read_card(made, "x").document)
    v3 = {**V2, "spec": "chara_card_v3", "spec_version": "3.0"}
    v3["data"] = {
        **v3["data"],
        "assets": [{"type": "icon", "uri": "embeded://assets/a.png", "name": "main", "ext": "png"}],
    }
    (folder / "a.charx").write_bytes(charx({"card.json": written(v3), "assets/a.png": picture}))
    assert run("export a.charx --out b.charx") == 0
    assert read_card((folder / "b.charx").read_bytes(), "x").files == {"assets/a.png": len(picture)}
    assert run("export a.charx --out c.png") == 0
    assert b"Comment\0x" in (folder / "c.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("show gone.json", "gone.json"),
        ("show plain.png", "no text chunk"),
        ("show bad.json", "line 1"),
        ("import plain.png", "no text chunk"),
        ("export ignis.json --out x.txt", "must end with .json, .png or .charx"),
        ("export ignis.json --out ignis.json", "--force"),
        ("export ignis.json --out no/x.json", "no folder"),
        ("export nobody --out x.json", "nobody"),
        ("export ignis.json --out x.png --picture ignis.json", "the picture is no PNG"),
        ("import ignis.json --into a --id b", "not both"),
        ("import ignis.json --existing keep", "--into"),
    ],
)
def test_a_mistake_is_one_clear_line(words: str, said: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "plain.png").write_bytes(blank())
    (folder / "bad.json").write_bytes(b'{"name": ')
    before = sorted(path.name for path in folder.rglob("*") if "home" not in path.parts)
    assert run(words) == 2
    error = capfd.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert sorted(path.name for path in folder.rglob("*") if "home" not in path.parts) == before
