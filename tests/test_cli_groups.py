"""`innkeeper run` takes both forms of a workflow and finds the workflows of its groups beside it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from group_samples import TEXT, UPPER, group
from innkeeper.cli.main import invoke
from innkeeper.workflow.formats.bundle import bundle
from innkeeper.workflow.formats.reading import as_stored, workflow_of, written
from innkeeper.workflow.formats.sources import MappingSource
from node_fakes import text_host, workflow

MAIN = workflow(
    {"in": "core:GroupInput", "g": group("upper"), "out": "core:GroupOutput"},
    ["in.text -> g.text", "g.result -> out.result"],
    interfaceInputs={"text": {**TEXT, "required": True}},
    interfaceOutputs={"result": TEXT},
)


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "home"))

    @asynccontextmanager
    async def open_host(home: str | None = None, **more: Any) -> AsyncIterator[Any]:
        yield text_host()

    monkeypatch.setattr("innkeeper.bridge.host.open_host", open_host)


def run(file: Path | str, capfd: pytest.CaptureFixture[str]) -> tuple[int, Any, list[str]]:
    code = invoke(["run", str(file), "--input", "text=hello", "--json"])
    out, err = capfd.readouterr()
    return code, json.loads(out), err.splitlines()


def test_groups_are_found_in_the_folder_of_the_workflow(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stored = written(as_stored(MAIN))
    (tmp_path / "main.json").write_text(json.dumps(stored))
    (tmp_path / "any.json").write_text(json.dumps({**written(as_stored(workflow_of(UPPER))), "id": "upper"}))
    code, value, err = run(tmp_path / "main.json", capfd)
    assert (code, err) == (0, [])
    assert value["outputs"] == {"result": "HELLO"}
    assert list(value["nodes"]) == ["in", "g/u", "out"]


def test_a_group_that_is_not_there_is_named_before_anything_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "main.json").write_text(json.dumps(written(MAIN)))
    code, value, err = run(tmp_path / "main.json", capfd)
    assert code == 2
    assert err == [
        "innkeeper: node 'g' configuration 'referencedWorkflowId': there is no workflow with the id 'upper', "
        "in innkeeper.workflows or in a file beside this one"
    ]
    assert value["error"]["problems"][0]["node"] == "g"


def test_a_workflow_from_standard_input_brings_its_groups(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    text = json.dumps(written(bundle(MAIN, MappingSource({"upper": UPPER}))))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    code, value, err = run("-", capfd)
    assert (code, err) == (0, [])
    assert value["outputs"] == {"result": "HELLO"}
