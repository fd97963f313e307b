"""Workflows that would keep a host busy with themselves: they give way, go into threads, or come to an end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from graphs import Builder
from group_samples import group, inner, loop
from innkeeper.errors import GuestError, LimitError
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.engine import budgets, bypassing
from innkeeper.workflow.engine.frame import Frame
from innkeeper.workflow.engine.outcome import RunOutcome
from innkeeper.workflow.engine.plan import Plan
from innkeeper.workflow.engine.run import WorkflowRun
from innkeeper.workflow.engine.slots import MOST_LOOPS
from innkeeper.workflow.formats.payload import WorkflowPayload
from innkeeper.workflow.formats.reading import written
from innkeeper.workflow.formats.sources import MappingSource
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


async def run_of(payload: WorkflowPayload, host: FakeHost, **workflows: dict[str, Any]) -> RunOutcome:
    return await WorkflowRun(check_workflow(payload, host, MappingSource(workflows))).execute()


@pytest.mark.parametrize("node", ["innkeeper:Merge", "innkeeper:If"])
async def test_what_an_author_gave_once_counts_in_memory_for_each_group_that_has_it(
    node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "RUN_BYTES", 100_000)
    key = "values" if node == "innkeeper:Merge" else "value"
    inside = inner(
        {"x": {"type": node, "inputs": {} if key == "values" else {"condition": True}}},
        [f"in.text -> x.{key}"],
        inputs={"text": {"dataFlowType": "STRING", "config": {"default": "x" * 10_000}}},
    )
    outcome = await run_of(workflow({f"g{at}": group("w") for at in range(20)}), text_host(), w=inside)
    failed = [each for each in outcome.nodes.values() if each.status == "error"]
    assert len(failed) == 11
    assert isinstance(failed[0].error, LimitError)


async def test_values_that_only_pass_take_no_memory_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "RUN_BYTES", 30_000)
    host = text_host()
    host.add("Long", lambda i, c, r: {"text": "x" * 20_000}, outputs={"text": "STRING"})
    payload = workflow(
        {"l": "Long", "u": {"type": "Upper", "bypassed": True}, "m": "innkeeper:Merge"},
        ["l.text -> u.text", "u.out -> m.values"],
        outputInterfaceMappings={"o": {"sourceNodeId": "m", "sourceSlotKey": "value"}},
    )
    outcome = await run_of(payload, host)
    assert (outcome.status, outcome.outputs) == ("complete", {"o": "x" * 20_000})


async def test_a_bypassed_node_joins_no_more_than_a_run_may_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bypassing, "RUN_BYTES", 100_000)
    host = text_host()
    host.add("Long", lambda i, c, r: {"text": "x" * 20_000}, outputs={"text": "STRING"})
    inside = inner(
        {},
        inputs={"all": {"dataFlowType": "WILDCARD", "multi": True}},
        outputs={"array": {"dataFlowType": "ARRAY"}},
    )
    payload = workflow({"l": "Long", "g": group("w", bypassed=True)}, ["l.text -> g.all"] * 6)
    outcome = await run_of(payload, host, w=inside)
    assert outcome.nodes["g"].status == "error"
    error = outcome.nodes["g"].error
    assert error is not None
    assert "the values of the input 'all' have 120,018 bytes together" in error.message


def nested(wide: int, deep: int, host: FakeHost, last: str) -> tuple[WorkflowPayload, dict[str, Any]]:
    """Loops in loops, so many side by side and within each other."""
    loops = {f"l{at}": lambda inside: loop("ForEach", inside, at_most=1, inputs={"items": [1]}) for at in range(wide)}
    made = {f"w{at}": inner({key: each(f"w{at + 1}") for key, each in loops.items()}) for at in range(deep - 1)}
    made[f"w{deep - 1}"] = inner({"n": last})
    return workflow({key: each("w0") for key, each in loops.items()}), made


async def test_loops_in_loops_do_not_multiply_what_is_there_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = most = 0
    execute = Frame.execute

    async def counted(self: Frame) -> None:
        nonlocal frames, most
        frames += 1
        most = max(most, frames)
        try:
            await execute(self)
        finally:
            frames -= 1

    monkeypatch.setattr(Frame, "execute", counted)
    host = text_host()
    payload, workflows = nested(10, 3, host, "Make")
    outcome = await run_of(payload, host, **workflows)
    assert outcome.status == "complete"
    assert sum(each.turns for each in outcome.walk()) == 10 + 100 + 1000
    # One of each frame, and a few more: the frames of 1,110 turns would be there at once.
    assert most <= 1 + MOST_LOOPS * 3 + 10


async def test_of_very_many_last_turns_only_some_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "RUN_NODES", 100)
    host = text_host()
    payload, workflows = nested(10, 3, host, "Make")
    run = WorkflowRun(check_workflow(payload, host, MappingSource(workflows)))
    outcome = await run.execute()
    assert outcome.status == "complete"
    assert len(list(outcome.walk())) < 300
    assert run.budgets.nodes < 300
    assert [each.turns for each in outcome.nodes.values()] == [1] * 10


async def test_what_loops_are_given_counts_while_they_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them may begin at the same time, each with the list that its group has by default."""
    monkeypatch.setattr(budgets, "RUN_BYTES", 50_000)
    items = {"dataFlowType": "ARRAY", "config": {"default": ["x" * 2000] * 10}}
    inside = inner({"l": loop("ForEach", "turn")}, ["in.all -> l.items"], inputs={"all": items})
    run = WorkflowRun(
        check_workflow(
            workflow({"g": group("w"), "h": group("w")}),
            text_host(),
            MappingSource({"w": inside, "turn": inner({"m": "Make"})}),
        )
    )
    outcome = await run.execute()
    assert sorted(each.status for each in outcome.nodes.values()) == ["complete", "error"]
    assert run.budgets.kept < 10_000


async def test_a_loop_joins_no_more_than_a_run_may_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "RUN_BYTES", 100_000)
    host = text_host()
    host.add("Long", lambda i, c, r: {"text": "x" * 20_000}, outputs={"text": "STRING"})
    turn = inner({}, inputs={"all": {"dataFlowType": "WILDCARD", "multi": True}})
    payload = workflow({"l": "Long", "e": loop("ForEach", "turn", inputs={"items": []})}, ["l.text -> e.all"] * 6)
    outcome = await run_of(payload, host, turn=turn)
    assert isinstance(outcome.nodes["e"].error, LimitError)


async def test_a_failure_whose_message_is_no_text_is_said_all_the_same() -> None:
    """The name of a file may be any bytes."""

    def fails(inputs: Any, config: Any, run: Any) -> Any:
        raise GuestError("no file b\udcffd")

    host = text_host()
    host.add("Bad", fails, outputs={"text": "STRING"})
    config = {"innkeeper": {"errorOutput": True}}
    payload = workflow(
        {"b": {"type": "Bad", "configValues": config}},
        outputInterfaceMappings={"o": {"sourceNodeId": "b", "sourceSlotKey": "innkeeperError"}},
    )
    outcome = await run_of(payload, host)
    assert (outcome.status, outcome.outputs["o"]["message"]) == ("complete", "no file b?d")
