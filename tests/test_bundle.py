"""Where referenced workflows come from, and a workflow that brings them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from group_samples import UPPER, group, inner, loop
from innkeeper.errors import UsageError
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.formats import sources
from innkeeper.workflow.formats.bundle import bundle
from innkeeper.workflow.formats.payload import read_payload
from innkeeper.workflow.formats.reading import as_stored, workflow_of, written
from innkeeper.workflow.formats.sources import FolderSource, MappingSource
from node_fakes import text_host, workflow


def save(folder: Path, name: str, value: Any) -> None:
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


def test_a_bundle_has_all_that_groups_and_loops_refer_to_and_those_in_turn() -> None:
    a = inner({"g": group("b"), "f": loop("ForEach", "c", inputs={"items": []})})
    b, c = inner({"g": group("c")}), inner({"m": "Make"})
    payload = workflow({"g": group("a")})
    bundled = bundle(payload, MappingSource({"a": a, "b": json.dumps(b).encode(), "c": c, "other": UPPER}))
    assert bundled.innkeeper is not None
    assert bundled.innkeeper.workflows == {"a": a, "b": b, "c": c}
    assert payload.innkeeper is None
    again = read_payload(json.dumps(written(bundled)).encode())
    assert list(check_workflow(again, text_host()).nodes) == ["g/g/g/m", "g/f"]


def test_what_a_workflow_brings_goes_before_what_a_source_has() -> None:
    mine, other = inner({"mine": "Make"}), inner({"other": "Make"})
    payload = workflow({"g": group("w")}, innkeeper={"workflows": {"w": mine}, "later": 1})
    source = MappingSource({"w": other})
    assert bundle(payload, source) is payload
    assert list(check_workflow(payload, text_host(), source).nodes) == ["g/mine"]
    payload = workflow({"g": group("w"), "h": group("x")}, innkeeper={"workflows": {"w": mine}, "later": 1})
    more = bundle(payload, MappingSource({"x": other}))
    assert written(more)["innkeeper"] == {"workflows": {"w": mine, "x": other}, "later": 1}


def test_workflows_that_are_missing_broken_or_refer_to_each_other_are_left_to_the_check() -> None:
    a, b = inner({"g": group("b")}), inner({"g": group("a"), "h": group("gone")})
    bundled = bundle(
        workflow({"g": group("a"), "x": group("bad"), "y": group("json")}),
        MappingSource({"a": a, "b": b, "bad": {"nodes": 7}, "json": b"{"}),
    )
    assert bundled.innkeeper is not None
    assert set(bundled.innkeeper.workflows) == {"a", "b", "bad"}


def test_a_workflow_brings_a_bounded_number_of_workflows() -> None:
    many = {f"w{at}": inner({"g": group(f"w{at + 1}")}) for at in range(400)}
    with pytest.raises(UsageError, match="more than 256 other workflows"):
        bundle(workflow({"g": group("w0")}), MappingSource(many))


def test_a_folder_has_workflows_by_the_id_inside_else_by_their_name(tmp_path: Path) -> None:
    execution = {**UPPER, "workflowId": "e"}
    stored = {**written(as_stored(workflow_of(UPPER))), "id": "s"}
    save(tmp_path, "one.json", execution)
    save(tmp_path, "two.json", stored)
    save(tmp_path, "three.json", UPPER)
    save(tmp_path, "four.txt", {**UPPER, "workflowId": "four"})
    save(tmp_path, "other.json", {"some": "settings"})
    (tmp_path / "broken.json").write_bytes(b"\xff{")
    (tmp_path / "folder.json").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.json")
    source = FolderSource(tmp_path)
    assert source.find("e") == execution
    assert source.find("s") == stored
    assert source.find("three") == UPPER
    for nothing in ("one", "four", "other", "broken", "../x", ""):
        assert source.find(nothing) is None
    graph = check_workflow(workflow({"g": group("s", inputs={"text": "x"})}), text_host(), source)
    assert list(graph.nodes) == ["g/u"]


def test_two_files_with_one_id_are_named(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        save(tmp_path, name, {**UPPER, "workflowId": "w"})
    with pytest.raises(UsageError, match=r"several files have the workflow 'w': 'a\.json' and 'b\.json'"):
        FolderSource(tmp_path).find("w")


def test_a_folder_is_read_within_bounds_and_only_where_something_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_FILES", 3)
    monkeypatch.setattr(sources, "MAX_BYTES", 2 * sources.MIB)
    for at in range(3):
        save(tmp_path, f"{at}.json", UPPER)
    payload = workflow({"g": "Make"})
    assert bundle(payload, FolderSource(tmp_path / "nowhere")) is payload
    assert FolderSource(tmp_path / "nowhere").find("x") is None
    assert FolderSource(tmp_path).find("x") is None
    (tmp_path / "0.json").write_bytes(b" " * 3 * sources.MIB)
    with pytest.raises(UsageError, match="more than 2 MiB"):
        FolderSource(tmp_path).find("x")
    save(tmp_path, "3.json", UPPER)
    with pytest.raises(UsageError, match="more than 3 files"):
        FolderSource(tmp_path).find("x")


def test_what_a_workflow_brings_is_refused_where_it_is_no_list_of_workflows() -> None:
    for wrong in (7, {"workflows": 7}, {"workflows": {"w": 7}}, {"workflows": {"a\nb": {}}}):
        with pytest.raises(UsageError, match="the workflow's innkeeper"):
            workflow({}, innkeeper=wrong)
    with pytest.raises(UsageError, match="256"):
        workflow({}, innkeeper={"workflows": {f"w{at}": {} for at in range(257)}})


def test_a_source_that_fails_is_a_problem_at_the_node(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        save(tmp_path, name, {**UPPER, "workflowId": "w"})
    with pytest.raises(UsageError) as caught:
        check_workflow(workflow({"g": group("w")}), text_host(), FolderSource(tmp_path))
    assert caught.value.message.startswith("node 'g' configuration 'referencedWorkflowId': several files have")
