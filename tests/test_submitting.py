"""A workflow that somebody sends is queued, or refused with all that is wrong with it; nothing in between."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from guests import assemble
from innkeeper.bridge.runner import Job, ProblemsError, unpacked
from innkeeper.composition.serving import open_parts
from innkeeper.server.answers import AnswerError
from innkeeper.server.identity import Identity
from innkeeper.server.parts import Parts
from innkeeper.server.runs.submitting import MOST_BYTES, read_workflow, submit
from innkeeper.server.runs.wishes import MOST_DEADLINE, Wishes, wishes_of
from innkeeper.storage.run_model import StoredRun
from innkeeper.workflow.runner import WorkflowRunner
from innkeeper.workflow.scheduling.execution import Task
from native_homes import House, node
from run_fakes import NoSink, stored_run
from work_homes import MANIFEST, SLOW, one

ANN = Identity("ann", "ann", False, "session")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/slow.wasm").write_bytes(assemble(SLOW))
    (tmp_path / "plugins/slow.toml").write_text(MANIFEST)
    return tmp_path


async def queued(home: Path, workflow: dict[str, Any], **more: Any) -> StoredRun:
    async with open_parts(home, watch=False) as parts:
        id = await submit(parts, ANN, workflow, **more)
        found = await parts.scheduler.store.find(id, time.time())
        assert found is not None
        return found


async def refused(home: Path, workflow: dict[str, Any], **more: Any) -> AnswerError:
    async with open_parts(home, watch=False) as parts:
        with pytest.raises(AnswerError) as caught:
            await submit(parts, ANN, workflow, **more)
        assert await parts.scheduler.store.list(time.time()) == []
    return caught.value


async def test_a_run_belongs_to_whoever_sent_it_and_is_queued_as_its_metadata_says(home: Path) -> None:
    said = {"priority": -3, "deadline": 60, "name": "mine", "afterCrash": "again", "theirs": {"own": 1}}
    run = await queued(home, one("Quick", metadata=said))
    assert (run.account.owner, run.account.plugin) == ("ann", "")
    assert (run.priority, run.name, run.after_crash) == (-3, "mine", "again")
    assert run.deadline is not None
    assert run.deadline - run.submitted == pytest.approx(60, abs=1)


async def test_metadata_beside_a_workflow_stands_for_its_own(home: Path) -> None:
    run = await queued(home, one("Quick", metadata={"name": "inner"}), metadata={"name": "outer"})
    assert run.name == "outer"


@pytest.mark.parametrize(
    "metadata",
    [
        {"priority": 1001},
        {"priority": True},
        {"priority": 1.5},
        {"deadline": 0},
        {"deadline": -1},
        {"deadline": MOST_DEADLINE * 2},
        {"deadline": float("nan")},
        {"deadline": "soon"},
        {"afterCrash": "never"},
        {"name": "x" * 257},
        {"name": "\x1b[2J"},
        {"name": 7},
        {"projectId": ""},
    ],
    ids=str,
)
def test_what_metadata_cannot_say_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(AnswerError, match="metadata") as caught:
        wishes_of(metadata)
    assert caught.value.status == 422


@given(
    st.dictionaries(
        st.sampled_from(["priority", "deadline", "afterCrash", "name", "workflowName", "projectId", "other"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=300)
        | st.sampled_from(["again", "interrupt"])
        | st.lists(st.integers(), max_size=2),
    )
)
def test_whatever_metadata_says_a_run_is_wanted_within_bounds_or_refused(metadata: dict[str, Any]) -> None:
    try:
        found = wishes_of(metadata)
    except AnswerError:
        return
    assert -1000 <= found.priority <= 1000
    assert found.lasting is None or 0 < found.lasting <= MOST_DEADLINE
    assert found.after_crash in ("again", "interrupt")
    assert len(found.name.encode()) <= 256
    assert found.project is None or 0 < len(found.project.encode()) <= 256


def test_other_metadata_is_the_clients_own() -> None:
    assert wishes_of({"anything": [1]}) == wishes_of(None) == Wishes()


async def test_a_workflow_that_does_not_check_is_refused_with_all_that_is_wrong(home: Path) -> None:
    nodes = [{"id": "a", "fullType": "slow:None"}, {"id": "b", "fullType": "slow:Nor"}]
    error = await refused(home, {"nodes": nodes, "edges": []})
    assert error.status == 422
    assert [problem["node"] for problem in error.details["problems"]] == ["a", "b"]
    assert "does not check" in error.error


async def test_a_cyclic_workflow_is_refused(home: Path) -> None:
    nodes = [{"id": id, "fullType": "slow:Quick"} for id in "ab"]
    edges = [
        {"sourceNodeId": source, "sourceHandle": "out", "targetNodeId": target, "targetHandle": "text"}
        for source, target in ("ab", "ba")
    ]
    error = await refused(home, {"nodes": nodes, "edges": edges})
    assert error.status == 422
    assert "circle" in error.error or "cycl" in error.error, error.error


@pytest.mark.parametrize("workflow", [{}, {"nodes": 1, "edges": []}, {"nodes": [], "edges": [{}]}], ids=str)
async def test_what_is_no_workflow_is_refused_with_its_places(home: Path, workflow: dict[str, Any]) -> None:
    error = await refused(home, workflow)
    assert error.status == 422
    assert error.details["problems"]


async def test_more_nodes_than_a_workflow_may_have_are_refused(home: Path) -> None:
    node = {"id": "a", "fullType": "slow:Quick"}
    assert (await refused(home, {"nodes": [node] * 10_001, "edges": []})).status == 422


async def test_a_project_that_is_not_there_is_said_so(home: Path) -> None:
    assert (await refused(home, one("Quick"), metadata={"projectId": "p"})).status == 404


async def submit_until_running(parts: Parts) -> None:
    running = trio.Event()
    parts.scheduler.told = lambda step: running.set()
    await submit(parts, ANN, one("Sleep"))
    await running.wait()


async def test_a_full_queue_says_when_to_come_again(home: Path) -> None:
    (home / "innkeeper.toml").write_text("[runs]\nqueued = 1\nper_user = 1\n")
    async with open_parts(home, watch=False) as parts:
        # The host takes the first of them in a moment of its own.
        await submit_until_running(parts)
        await submit(parts, ANN, one("Sleep"))
        with pytest.raises(AnswerError) as caught:
            await submit(parts, ANN, one("Sleep"))
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "5"})


async def test_a_server_that_stops_takes_no_runs(home: Path) -> None:
    async with open_parts(home, watch=False) as parts:
        parts.stopping.set()
        with pytest.raises(AnswerError, match="stopping"):
            await submit(parts, ANN, one("Quick"))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 100 + b"]" * 100, 400),
        (b'{"nodes": [NaN]}', 400),
        (b'{"nodes": [%d]}' % 2**70, 400),
        (b"[]", 422),
        (b" " * (MOST_BYTES + 1), 413),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_bytes_that_are_no_workflow_are_refused(home: Path, data: bytes, status: int) -> None:
    async with open_parts(home, watch=False) as parts:
        with pytest.raises(AnswerError) as caught:
            await read_workflow(parts, data)
        assert caught.value.status == status


@given(
    st.dictionaries(
        st.text(max_size=9),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
        ),
        max_size=4,
    )
)
def test_a_job_that_is_packed_in_pieces_is_one_map(workflow: dict[str, Any]) -> None:
    whole = {"workflow": workflow, "inputs": {"a": 1}, "project": "p", "confined": True}
    assert Job(workflow, {"a": 1}, "p", confined=True).packed() == msgpack.packb(whole)


async def test_native_nodes_are_for_administrators_alone_also_when_the_run_begins(tmp_path: Path) -> None:
    house = House(tmp_path / "home")
    house.native("raw", node("return {'out': 1}"))
    flow = {"nodes": [{"id": "a", "fullType": "raw:N"}], "edges": []}
    error = await refused(house.path, flow)
    assert (error.status, "native code" in error.error) == (422, True)
    admin = replace(ANN, is_admin=True)
    async with open_parts(house.path, watch=False) as parts:
        assert not unpacked(await job_of(parts, await submit(parts, admin, flow))).confined
        # Its node was another one when it was checked.
        confined = Job(flow, {}, confined=True).packed()
        with pytest.raises(ProblemsError, match="native code"):
            await WorkflowRunner(parts.host).execute(Task(stored_run("r"), confined, 1000), NoSink())


async def job_of(parts: Parts, id: str) -> bytes:
    found = await parts.scheduler.store.job(id)
    assert found is not None
    return found


async def test_what_is_read_is_what_was_sent(home: Path) -> None:
    async with open_parts(home, watch=False) as parts:
        assert await read_workflow(parts, json.dumps(one("Quick")).encode()) == one("Quick")


async def test_a_projects_workflows_are_asked_of_the_projects_for_who_asks(home: Path) -> None:
    asked = []

    class Projects:
        async def bundled(self, identity: Identity, project: str, payload: Any) -> Any:
            asked.append((identity.uid, project))
            return payload

        async def folder(self, uid: str, project: str) -> Path:
            return Path("/home") / uid / project

    async with open_parts(home, watch=False) as parts:
        with_projects = replace(parts, runs=replace(parts.runs, projects=Projects()))
        id = await submit(with_projects, ANN, one("Quick"), metadata={"projectId": "p"})
        assert unpacked(await job_of(parts, id)).project == "/home/ann/p"
    assert asked == [("ann", "p")]
