"""The sample workflows of docs/demo/flows run, the README's commands too, and its pictures are current."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Commands
from innkeeper.cli.main import invoke
from innkeeper.workflow.formats.reading import read_workflow, written
from test_docs import ROOT, of
from work_homes import House

DEMO = ROOT / "docs" / "demo"
FLOWS = DEMO / "flows"


def recorder() -> Any:
    spec = importlib.util.spec_from_file_location("record", DEMO / "record.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "home"))
    return Commands(capsys)


def outputs(commands: Commands, name: str, *arguments: str) -> dict[str, Any]:
    found = commands.json("run", str(FLOWS / name), *arguments)
    assert found["status"] == "complete"
    return dict(found["outputs"])


def test_only_the_branch_that_is_taken_runs(commands: Commands) -> None:
    found = commands.json("run", str(FLOWS / "greet.json"), "--input", "item=Bo", "--input", "hour=8")
    assert found["outputs"] == {"text": "Welcome, Bo"}
    status = {id: node["status"] for id, node in found["nodes"].items()}
    assert (status["welcome"], status["good-night"]) == ("complete", "skipped")
    assert outputs(commands, "greet.json", "--input", "hour=22") == {"text": "Good night, Ada"}


def test_a_loop_goes_on_while_its_body_says_so(commands: Commands) -> None:
    assert outputs(commands, "candle.json") == {"length": 0.625}
    assert outputs(commands, "candle.json", "--input", "length=1") == {"length": 0.5}
    assert "maxIterations" in commands.run("run", str(FLOWS / "candle.json"), "--input", "length=1e300", code=4)


def test_a_stream_has_two_readers_and_ends_in_a_count(commands: Commands) -> None:
    found = outputs(commands, "read-aloud.json", "--input", "text=the door  opens")
    assert found["chunks"] == 3
    assert found["spoken"]["type"] == "stream_placeholder"
    assert "the · door  · opens· " in commands.run(
        "run", str(FLOWS / "read-aloud.json"), "--input", "text=the door  opens"
    )


def test_people_see_the_beginning_of_a_long_log(commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", str(FLOWS / "read-aloud.json"), "--input", "text=" + "door " * 250]
    assert invoke(arguments) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 201
    assert lines[-1] == "[innkeeper] log: 50 more lines of log are not shown; --json has them"
    assert len(commands.json(*arguments)["nodes"]["log"]["log"]) == 250


def test_groups_loops_branches_and_streams_go_together(commands: Commands) -> None:
    found = outputs(commands, "evening.json", "--input", 'guests=["Ada", "Bo"]', "--input", "hour=9.5")
    assert found["greetings"] == ["Welcome, Ada", "Welcome, Bo"]
    assert found["words"] == 2


@pytest.mark.parametrize("file", sorted(FLOWS.glob("*.json")), ids=lambda file: file.name)
def test_samples_are_as_an_editor_stores_them_and_lose_nothing(file: Path) -> None:
    data = file.read_bytes()
    assert json.loads(data)["id"] == file.stem
    assert written(read_workflow(data)) == json.loads(data)


@pytest.mark.parametrize(("workflow", "picture"), recorder().GRAPHS.items())
def test_the_pictures_of_graphs_are_current(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, workflow: str, picture: str
) -> None:
    monkeypatch.chdir(ROOT)
    drawn = commands.run("graph", f"docs/demo/{workflow}", "--strict")
    kept = (DEMO / picture).read_text("utf-8")
    assert drawn == kept, "run python docs/demo/record.py"
    assert re.findall(r"https?://(?!www\.w3\.org/)[^\"' ]+", kept) == []
    assert f"docs/demo/{picture}" in (ROOT / "README.md").read_text("utf-8")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    house = House(tmp_path / "home")
    monkeypatch.setenv("INNKEEPER_HOME", str(house.path))
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    yield house
    house.close()


def test_what_the_readme_says_of_the_queue_runs_line_by_line(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = [block for block in of("sh", "README.md") if "--queue" in block.text]
    lines = [shlex.split(line, comments=True)[1:] for line in block.text.splitlines()]
    assert lines[0] == ["work"]
    house.work()
    commands = Commands(capsys)
    for line in lines[1:]:
        run = commands.json("runs")["runs"][0]["run"] if "RUN" in line else ""
        assert commands.run(*(run if word == "RUN" else word for word in line)) != ""
    [evening] = [run for run in commands.json("runs", "--status", "complete")["runs"] if run["name"] == "evening"]
    assert commands.json("runs", "show", evening["run"])["outputs"]["words"] == 3


def test_who_watches_sees_what_flowed_and_why_there_is_no_value(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.work()
    commands = Commands(capsys)
    aloud = commands.run("run", str(FLOWS / "read-aloud.json"), "--queue", "--wait", "--input", "text=the door opens")
    assert "\n== spoken ==\nthe · door · opens· \n" in aloud
    [run] = commands.json("runs")["runs"]
    assert "\n== spoken ==\n(a stream of node 'pause'" in commands.run("runs", "show", run["run"])
    assert invoke(["run", str(FLOWS / "candle.json"), "--queue", "--wait", "--input", "length=1e300"]) == 4
    assert "\n== length ==\n(no value, since node 'burn' failed)\n" in capsys.readouterr().out
