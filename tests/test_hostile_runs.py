"""Workflows that would keep a host busy with themselves: they give way, go into threads, or come to an end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from graphs import Builder
from group_samples import inner, loop
from innkeeper.errors import LimitError
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.engine.plan import Plan
from innkeeper.workflow.engine.run import WorkflowRun
from innkeeper.workflow.formats.reading import written
from innkeeper.workflow.runner import WorkflowRunner
from innkeeper.workflow.scheduling.journal import Journal
from node_fakes import FakeHost, text_host, workflow
from run_fakes import chunk, event, new_run
from test_run_worker import Home, Keeper, error_of, found, journal, story


async def test_ten_thousand_turns_without_a_node_can_be_interrupted() -> None:
    host = FakeHost()
    body = Builder(host).graph()
    build = Builder(host).loop("each", "for_each", body, 10_000, presets={"items": [0] * 10_000})
    run = WorkflowRun(build.graph())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.execute)
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert run.outcome.status == "interrupted"
    assert run.outcome.nodes["each"].turns < 10_000


async def test_the_inputs_of_a_node_with_very_many_edges_are_gathered_in_a_thread() -> None:
    edges = ["m.text -> j.parts"] * 5000
    graph = check_workflow(
        workflow({"m": "Make", "j": "Join", "u": "Upper"}, [*edges, "m.text -> u.text"]), text_host()
    )
    assert Plan(graph).heavy == {"j"}


async def test_a_run_that_says_more_than_it_may_is_ended() -> None:
    lost: list[bool] = []
    keeper = Keeper()
    async with journal(keeper, lost, most=1000) as sink:
        sink.emit(event(1, nodeId="n" * 500))
        for number in range(2, 50):
            sink.emit(chunk(number, b"\xc4\xff" + bytes(255)))
        with pytest.raises(LimitError, match="more than 1,000 bytes"):
            sink.emit(event(50, nodeId="n" * 500))
    assert lost == []


async def test_loops_in_loops_cannot_fill_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(Journal):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more, most=20_000)

    monkeypatch.setattr("innkeeper.workflow.scheduling.attempt.Journal", Small)
    turn = inner({"u": "Upper"}, ["in.item -> u.text"], inputs={"item": {"dataFlowType": "STRING"}})
    turns = inner({"l": loop("ForEach", "turn", at_most=100, inputs={"items": ["x"] * 100})})
    payload = workflow({"l": loop("ForEach", "turns", at_most=100, inputs={"items": [0] * 100})})
    carried = {**written(payload), "innkeeper": {"workflows": {"turn": turn, "turns": turns}}}
    home = Home(tmp_path / "state" / "inn.db")
    async with home.host(WorkflowRunner(text_host())) as host:
        await host.submit(new_run("r", job=msgpack.packb({"workflow": carried, "inputs": {}})))
        told = await story(host, "r")
        assert told[-1].fields["status"] == "error"
        assert len(told) < 1000
        assert (await found(host, "r")).status == "error"
        error = await error_of(host, "r")
        assert error["kind"] == "limit"
        assert "more than 20,000 bytes" in error["message"]
