"""What a person is shown of a run with branches, failures that were handled, tries, loops and streams."""

from __future__ import annotations

import json
from typing import Any

import pytest

from graphs import Builder, Listener, execute
from innkeeper.cli.run_streams import KEPT, MOST, Tails
from innkeeper.cli.run_view import event_object, run_object, show_outputs, show_table
from innkeeper.errors import GuestError
from innkeeper.workflow.checking.graph import Graph, Passed
from innkeeper.workflow.engine.events import wire_event
from innkeeper.workflow.engine.outcome import RunOutcome
from node_fakes import FakeHost, Flow


def graph(host: FakeHost) -> Graph:
    tries = 0

    def flaky(inputs: Any, config: Any, run: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise GuestError("not yet")
        return {}

    def fails(inputs: Any, config: Any, run: Any) -> Any:
        raise GuestError("it hurts")

    async def talks(inputs: Any, config: Any, run: Any, flow: Flow) -> Any:
        for number in range(20):
            await flow.write("words", f"w{number} ")
        return {}

    host.add("Echo", lambda i, c, r: {"out": i.get("in")}, inputs={"in": "WILDCARD"}, outputs={"out": "WILDCARD"})
    host.add("Flaky", flaky)
    host.add("Fails", fails, outputs={"out": "STRING"})
    host.add("Talks", talks, outputs={"words": {"dataFlowType": "STRING", "isStream": True}})
    body = (
        Builder(host).inputs("in", item="INTEGER").add("e", "Echo").edge("in.item -> e.in").output(out="e.out").graph()
    )
    build = Builder(host).add("flaky", "Flaky", retry={"tries": 3, "delay": 0.001}).add("bad", "Fails")
    build.add("taken", "Fails", errorOutput=True).add("behind", "Echo").branch("if", condition=True).add("no", "Echo")
    build.bypassed("by", {}, {"out": "STRING"}, {"out": Passed((), "")}).inputs = {}
    build.loop("each", "for_each", body, 9, presets={"items": [1, 2]}).add("talks", "Talks")
    build.edge("bad.out -> behind.in", "if.else -> no.in")
    return build.output(talk="talks.words", each="each.out", bad="behind.out", none="no.out").graph()


async def run() -> tuple[Graph, RunOutcome, Listener]:
    host, heard = FakeHost(), Listener()
    made = graph(host)
    return made, await execute(made, host, listener=heard), heard


async def test_a_table_says_of_every_node_what_became_of_it_and_why(capfd: pytest.CaptureFixture[str]) -> None:
    made, outcome, heard = await run()
    tails = Tails()
    for event in heard.events:
        tails.receive(wire_event(event, "p"))
    show_table(outcome)
    show_outputs(outcome, made, tails)
    lines = capfd.readouterr().out.splitlines()
    shown = {line.split()[0]: line.rsplit("  ", 1)[-1].strip() for line in lines[1 : lines.index("")]}
    assert shown["flaky"] == "complete (3 tries)"
    assert shown["bad"] == "error (guest)"
    assert shown["taken"] == "error (guest, handled)"
    assert shown["behind"] == "skipped (after the failure of bad)"
    assert shown["no"] == "skipped (not taken by if)"
    assert shown["by"] == "skipped (bypassed)"
    assert shown["each"] == "complete (2 turns)"
    assert shown["each[1]/e"] == "complete"
    text = "\n".join(lines)
    assert "\nstream words of talks: 20 chunks\n" in text
    left = "... after 12 more chunks (--events has all of them)\n"
    assert f"== talk ==\n{left}w12 w13 w14 w15 w16 w17 w18 w19" in text
    assert "== bad ==\n(no value, since node 'bad' failed)" in text
    assert "== none ==\n(no value)" in text


async def test_what_is_written_for_scripts_has_it_too() -> None:
    _, outcome, heard = await run()
    found = json.loads(json.dumps(run_object(outcome)))
    assert found["nodes"]["flaky"]["tries"] == 3
    assert found["nodes"]["taken"]["handled"] is True
    assert (found["nodes"]["behind"]["reason"], found["nodes"]["behind"]["cause"]) == ("failed", "bad")
    assert found["nodes"]["talks"]["chunks"] == {"words": 20}
    assert found["nodes"]["each"]["turns"] == 2
    assert found["error"] is None
    for event in heard.events:
        written = json.loads(json.dumps(event_object(wire_event(event, "p"))))
        assert written["seq"] == event.seq


def test_of_a_stream_only_the_end_is_kept_however_long_it_is() -> None:
    tails = Tails()
    for number in range(1000):
        chunk = (
            {"type": "custom", "content": {"n": number}}
            if number % 2
            else {"type": "text_chunk", "content": "x" * 9999}
        )
        payload = {"interfaceOutputKey": "k", "isLastChunk": False, "yieldedContent": chunk}
        tails.receive({"type": "WORKFLOW_INTERFACE_YIELD", "seq": number, "payload": payload})
    text = tails.text("k")
    assert text is not None
    assert text.startswith(f"... after {1000 - KEPT} more chunks")
    assert len(text) < KEPT * (MOST + 1) + 100
    assert text.endswith("{'n': 999}\n")
    assert tails.text("other") is None
