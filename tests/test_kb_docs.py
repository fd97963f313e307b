"""docs/knowledge-commands.md: every example runs, in the order of the page, in one home."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from innkeeper.cli.card import _COMMANDS as CARD
from innkeeper.cli.kb import _COMMANDS as KB
from innkeeper.cli.main import invoke

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "knowledge-commands.md"


def commands() -> list[list[str]]:
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        found += [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]
    return found


def test_every_command_has_an_example() -> None:
    shown = {tuple(words[1:3]) for words in commands()}
    assert all(words[0] == "innkeeper" for words in commands())
    assert shown == {("kb", name) for name in KB} | {("card", name) for name in CARD}


def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "home"))
    (tmp_path / "docs").mkdir()
    shutil.copytree(ROOT / "docs" / "demo", tmp_path / "docs" / "demo")
    shutil.copy(ROOT / "tests" / "worldinfo_cases_sample.jsonl", "cases.jsonl")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "road.md").write_text("# The road\n\nIt is long.")
    (tmp_path / "far" / "forest").mkdir(parents=True)
    forest = {"kb_id": "forest", "schema_version": "1.1", "entries": [{"id": "owl"}]}
    (tmp_path / "far" / "forest" / "knowledge.json").write_text(json.dumps(forest))
    for words in commands():
        code = invoke(words[1:])
        said = capfd.readouterr()
        assert code == 0, (words, said)
        assert "Traceback" not in said.err
        assert said.out
