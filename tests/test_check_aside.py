"""Large workflows are checked in a thread, small ones at once, and both come to the same."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import trio

from innkeeper.errors import UsageError
from innkeeper.workflow.checking.aside import SMALL, checked
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.checking.problems import WorkflowError
from innkeeper.workflow.engine.run import run_workflow
from innkeeper.workflow.formats.payload import WorkflowPayload, read_payload
from node_fakes import FakeHost, text_host


class Watched(FakeHost):
    """Notes in which threads it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def node(self, full_type: str) -> Any:
        self.threads.add(threading.get_ident())
        return super().node(full_type)


def watched() -> Watched:
    host, known = Watched(), text_host()
    host.plugins, host.definitions = known.plugins, known.definitions
    return host


def many(count: int, type_: str = "Make", **more: Any) -> WorkflowPayload:
    nodes = [{"id": f"n{number}", "fullType": f"t:{type_}"} for number in range(count)]
    return read_payload(json.dumps({"nodes": nodes, "edges": [], **more}).encode())


async def test_a_large_workflow_is_checked_in_a_thread_and_a_small_one_at_once() -> None:
    for count, here in ((SMALL, True), (SMALL + 1, False)):
        host = watched()
        graph = await checked(many(count), host)
        assert list(graph.nodes) == list(check_workflow(many(count), text_host()).nodes)
        assert (host.threads == {threading.get_ident()}) is here
        host = watched()
        assert (await run_workflow(many(count), host)).status == "complete"
        assert (host.threads == {threading.get_ident()}) is here


async def test_a_small_workflow_with_a_large_one_in_it_is_checked_in_a_thread() -> None:
    body = json.loads(many(SMALL * 2).model_dump_json(by_alias=True, exclude_unset=True))
    group = {"id": "g", "fullType": "core:NodeGroup", "configValues": {"referencedWorkflowId": "w"}}
    payload = read_payload(
        json.dumps({"nodes": [group], "edges": [], "innkeeper": {"workflows": {"w": body}}}).encode()
    )
    host = watched()
    assert len((await checked(payload, host)).nodes) == SMALL * 2
    assert threading.get_ident() not in host.threads


async def test_all_that_is_wrong_with_a_large_workflow_is_said() -> None:
    payload = many(SMALL * 2, "Unknown")
    with pytest.raises(WorkflowError) as expected:
        check_workflow(payload, text_host())
    with pytest.raises(WorkflowError) as caught:
        await checked(payload, text_host())
    assert str(caught.value) == str(expected.value)
    assert caught.value.problems == expected.value.problems


async def test_a_plugin_that_is_replaced_meanwhile_is_a_problem_like_any_other() -> None:
    class Changing(Watched):
        def node(self, full_type: str) -> Any:
            raise KeyError(full_type)

    with pytest.raises(UsageError, match="being replaced"):
        await checked(many(SMALL * 2), Changing())


async def test_whoever_is_cancelled_does_not_wait_for_the_check() -> None:
    release = threading.Event()

    class Slow(Watched):
        def node(self, full_type: str) -> Any:
            release.wait()
            return super().node(full_type)

    host = Slow()
    with trio.move_on_after(0.05) as limit:
        await checked(many(SMALL * 2), host)
    release.set()
    assert limit.cancelled_caught
