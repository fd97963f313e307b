"""`innkeeper graph`: a picture of a workflow, also of one that does not check."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from commands import Commands
from node_fakes import text_host, workflow


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    fake = text_host()

    @asynccontextmanager
    async def open_host(home: str | None = None, **more: Any) -> AsyncIterator[Any]:
        yield fake

    monkeypatch.setattr("innkeeper.bridge.host.open_host", open_host)
    (tmp_path / "its-home").mkdir()
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "its-home"))
    monkeypatch.chdir(tmp_path)
    return Commands(capsys)


def saved(payload: Any) -> str:
    text = payload if isinstance(payload, str) else payload.model_dump_json(by_alias=True)
    Path("workflow.json").write_text(text)
    return "workflow.json"


GOOD = workflow({"a": {"type": "Upper", "inputs": {"text": "x"}}, "b": "Join"}, ["a.out -> b.parts"])
BAD = workflow({"a": {"type": "Upper", "inputs": {"text": "x"}}, "b": "Nobody"}, ["a.out -> b.parts"])


def test_a_picture_is_printed(commands: Commands) -> None:
    out = commands.run("graph", saved(GOOD))
    assert out.startswith("<svg ")
    assert ">t:Join<" in out


def test_a_picture_goes_into_a_file_which_is_replaced_only_if_told(commands: Commands) -> None:
    assert commands.run("graph", saved(GOOD), "-o", "w.svg") == "w.svg: workflow.json, 2 nodes\n"
    before = Path("w.svg").read_text()
    assert "is there already" in commands.run("graph", saved(BAD), "-o", "w.svg", code=2)
    assert Path("w.svg").read_text() == before
    commands.run("graph", saved(BAD), "-o", "w.svg", "--force")
    assert Path("w.svg").read_text() != before


def test_a_workflow_that_does_not_check_is_drawn_with_what_is_wrong(
    commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    found = commands.json("graph", saved(BAD))
    assert "Nobody" in found["svg"]
    assert [each["node"] for each in found["problems"]] == ["b"]
    assert "no plugin has" in commands.run("graph", saved(BAD), "--strict", code=2)


def test_a_required_input_of_the_interface_is_no_fault_of_the_workflow(commands: Commands) -> None:
    payload = json.loads(GOOD.model_dump_json(by_alias=True))
    payload["interfaceInputs"] = {
        key: {"dataFlowType": key, "required": True}
        for key in ("STRING", "INTEGER", "FLOAT", "BOOLEAN", "OBJECT", "ARRAY", "BINARY", "WILDCARD")
    }
    assert commands.json("graph", saved(json.dumps(payload)), "--strict")["problems"] == []


@pytest.mark.parametrize("text", ["{", "[]", '{"nodes": 3}', '"text"', '{"edges": []}'])
def test_what_is_no_workflow_is_said_in_one_line(commands: Commands, text: str) -> None:
    said = commands.run("graph", saved(text), code=2)
    assert said.startswith("innkeeper: ")
    assert said.count("\n") == 1


def test_flat_and_editor_exclude_each_other(commands: Commands) -> None:
    assert "not both" in commands.run("graph", saved(GOOD), "--flat", "--editor", code=2)


def test_a_file_goes_only_into_a_folder_that_is_there(commands: Commands) -> None:
    assert "no folder" in commands.run("graph", saved(GOOD), "-o", "nowhere/w.svg", code=2)


def test_groups_are_looked_for_beside_the_workflow_and_their_faults_marked_in_them(commands: Commands) -> None:
    inner = {
        "id": "inner",
        "name": "Inner",
        "viewport": {"x": 0, "y": 0, "zoom": 1},
        "nodes": [{"id": "odd", "type": "t:Nobody", "position": {"x": 0, "y": 0}}],
        "edges": [],
    }
    Path("inner.json").write_text(json.dumps(inner))
    group = {"id": "g", "type": "core:NodeGroup", "position": {"x": 0, "y": 0}}
    group["configValues"] = {"referencedWorkflowId": "inner"}
    found = commands.json("graph", saved(json.dumps({**inner, "id": "outer", "name": "Outer", "nodes": [group]})))
    assert [(each["workflow"], each["node"]) for each in found["problems"]] == [("inner", "odd")]
    assert found["nodes"] == 2
    assert ">Inner (g)<" in found["svg"]
    assert 'class="unknown wrong"' in found["svg"]
