"""What is in the queue is what `innkeeper run` would have run: its inputs, its project, its rights."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.bridge.runner import Job, ProblemsError, unpacked
from innkeeper.cli.queueing import job_of
from innkeeper.cli.run_inputs import give_inputs
from innkeeper.errors import RejectedError
from innkeeper.plugins.runs import RunBase
from innkeeper.workflow.checking.graph import Graph
from innkeeper.workflow.engine.run import run_workflow
from innkeeper.workflow.formats.payload import read_payload
from innkeeper.workflow.runner import WorkflowRunner
from innkeeper.workflow.scheduling.execution import Task
from node_fakes import FakeHost, text_host
from run_fakes import NoSink, stored_run

TYPES = ("STRING", "INTEGER", "FLOAT", "BOOLEAN", "ARRAY", "OBJECT", "BINARY", "WILDCARD")


def through() -> dict[str, Any]:
    """A workflow that gives its inputs back, one of each type."""
    return {
        "nodes": [{"id": "in", "fullType": "core:GroupInput"}],
        "edges": [],
        "interfaceInputs": {each: {"dataFlowType": each} for each in TYPES},
        "interfaceOutputs": {each: {"dataFlowType": each} for each in TYPES},
        "outputInterfaceMappings": {each: {"sourceNodeId": "in", "sourceSlotKey": each} for each in TYPES},
    }


async def test_inputs_of_every_kind_arrive_in_the_queue_as_they_do_in_a_run(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\x00\xff\x80")
    (tmp_path / "text").write_text("\ufeffLantern 灯火\n", "utf-8")
    (tmp_path / "object").write_text('{"a": [1, 1.0, null, {"\\ud800": "\\ud800 \\u0000"}], "b": 1e300}')
    pairs = (
        "INTEGER=-9223372036854775808",
        "FLOAT=1",
        "BOOLEAN=true",
        "ARRAY=[[], {}, 1.0]",
        'WILDCARD="\\ud83d\\ude00"',
    )
    files = (f"BINARY={tmp_path / 'bytes'}", f"STRING={tmp_path / 'text'}", f"OBJECT={tmp_path / 'object'}")
    payload = read_payload(json.dumps(through()).encode())
    give_inputs(payload, pairs, files)
    job = job_of(payload, None)
    alone = await run_workflow(payload, text_host())
    report = await WorkflowRunner(text_host()).execute(Task(stored_run("r"), job, 1 << 20), NoSink())
    assert report.failure is None
    found = msgpack.unpackb(report.outputs)
    assert found == alone.outputs
    assert set(found) == set(TYPES)
    assert found["BINARY"] == b"\x00\xff\x80"
    assert json.dumps(found | {"BINARY": ""}) == json.dumps(alone.outputs | {"BINARY": ""})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    workflow=st.dictionaries(st.text(), JSON, max_size=4),
    inputs=st.dictionaries(st.text(), JSON | st.binary(), max_size=4),
    # Names of folders may have bytes that are no text.
    project=st.binary(max_size=40).map(lambda name: name.decode("utf-8", "surrogateescape")),
)
def test_a_job_comes_out_of_the_queue_as_it_went_in(
    workflow: dict[str, Any], inputs: dict[str, Any], project: str
) -> None:
    job = Job(workflow, inputs, project)
    assert unpacked(job.packed()) == job


LARGE: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, 300) | st.sampled_from(["a" * 20_000, "b" * 9000, "\ud800 half", "x"]),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=6),
    max_leaves=40,
)


@given(st.dictionaries(st.sampled_from(["nodes", "edges", "other"]), LARGE, max_size=3), st.integers(0, 1 << 20))
def test_a_large_job_is_built_piece_by_piece_and_a_damaged_one_is_refused(workflow: dict[str, Any], cut: int) -> None:
    job = Job(workflow, {"text": "y" * 9000})
    data = job.packed()
    assert unpacked(data) == job
    for damaged in (data[: cut % len(data)], data + b"\xc0"):
        with pytest.raises(RejectedError, match="damaged in the database"):
            unpacked(damaged)


async def test_only_an_operators_run_belongs_to_a_project() -> None:
    asked: list[tuple[Path, str]] = []

    async def projects(graph: Graph, folder: Path, owner: str) -> Mapping[str, RunBase]:
        asked.append((folder, owner))
        return {}

    runner = WorkflowRunner(text_host(), projects)
    job = Job({"nodes": [{"id": "a", "fullType": "t:Make"}], "edges": []}, {}, "/somewhere").packed()
    for plugin, expected in (("somebody", []), ("", [(Path("/somewhere"), "default_user")])):
        report = await runner.execute(Task(stored_run("r", plugin=plugin), job, 1000), NoSink())
        assert (report.failure, asked) == (None, expected)


async def test_users_may_queue_native_nodes_and_plugins_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    host: FakeHost = text_host()
    found, definition = host.node("t:Make")
    monkeypatch.setattr(type(found), "native", True, raising=False)
    assert host.node("t:Make") == (found, definition)
    runner = WorkflowRunner(host)
    job = Job({"nodes": [{"id": "a", "fullType": "t:Make"}], "edges": []}, {})
    await runner.check(job, confined=False)
    with pytest.raises(ProblemsError, match="native code, which no plugin may start"):
        await runner.check(job)
    own = await runner.execute(Task(stored_run("r"), job.packed(), 1000), NoSink())
    assert own.failure is None
    with pytest.raises(ProblemsError, match="native code, which no plugin may start"):
        await runner.execute(Task(stored_run("r", plugin="somebody"), job.packed(), 1000), NoSink())


async def test_events_say_when_they_were_said() -> None:
    payload = read_payload(json.dumps({"nodes": [{"id": "a", "fullType": "t:Make"}], "edges": []}).encode())
    heard: list[tuple[float, dict[str, Any]]] = []
    before = time.time()
    await run_workflow(payload, text_host(), on_event=lambda event: heard.append((time.time(), event)))
    assert re.fullmatch("[0-9a-f]{32}", heard[0][1]["payload"]["promptId"])
    times = [event["timestamp"] for _, event in heard]
    assert len(times) == 6
    assert before <= times[0]
    assert times == sorted(times)
    assert all(said <= at for at, event in heard for said in [event["timestamp"]])
