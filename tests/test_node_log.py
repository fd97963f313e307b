"""What a node's plugin logs is told to who watches the run: bounded, after the call, and before its outcome."""

from __future__ import annotations

from typing import Any

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from graphs import Builder, Listener, execute
from innkeeper.errors import GuestError
from innkeeper.sandbox.usage import Usage
from innkeeper.workflow.engine.events import LOG, RunEvent, wire_event
from innkeeper.workflow.engine.logged import CALL_LINES, RUN_LOG, RunLog
from node_fakes import FakeHost


def told(chunks: list[bytes]) -> list[tuple[str, str]]:
    return [tuple(msgpack.unpackb(chunk)) for chunk in chunks]


def test_lines_are_told_in_order_with_their_levels() -> None:
    usage = Usage(log=[("info", "one"), ("error", ""), ("trace", "\udc80three")])
    assert told(list(RunLog().chunks(usage))) == [("info", "one"), ("error", ""), ("trace", "?three")]


def test_of_a_call_that_logs_much_the_first_lines_are_told_and_how_many_there_are() -> None:
    usage = Usage(log=[("info", "x")] * 1000)
    found = told(list(RunLog().chunks(usage)))
    assert found[:-1] == [("info", "x")] * CALL_LINES
    assert found[-1] == ("warn", f"{1000 - CALL_LINES:,} more lines of this call are not told")


@given(st.lists(st.lists(st.text(max_size=600), max_size=400), max_size=20), st.integers(0, 20_000))
def test_a_run_tells_no_more_than_its_bound_and_says_once_that_it_does_not(calls: list[list[str]], most: int) -> None:
    log = RunLog(most)
    lines = silent = 0
    for call in calls:
        for level, text in told(list(log.chunks(Usage(log=[("info", line) for line in call])))):
            if level == "info":
                lines += len(text) + 64
            silent += level == "warn" and text.startswith("the run")
    assert lines <= most
    assert silent <= 1


def test_what_is_told_of_a_run_by_default_is_a_part_of_the_chunks_that_are_kept() -> None:
    from innkeeper.storage.run_journal import CHUNK_BYTES

    assert RUN_LOG * 2 <= CHUNK_BYTES


def test_a_line_is_an_event_that_is_kept_as_chunks_are() -> None:
    event = RunEvent(3, LOG, {"nodeId": "n"}, {}, msgpack.packb(("warn", "careful")), 1.5)
    assert wire_event(event, "p") == {
        "type": "NODE_LOG",
        "seq": 3,
        "timestamp": 1.5,
        "payload": {"promptId": "p", "nodeId": "n", "level": "warn", "text": "careful"},
    }


async def test_each_try_of_a_node_that_fails_tells_its_log_before_what_became_of_it() -> None:
    tries = 0

    def fail(inputs: Any, config: Any, run: Any) -> Any:
        nonlocal tries
        tries += 1
        error = GuestError("no")
        error.usage = Usage(log=[("error", f"try {tries}")])
        raise error

    host, heard = FakeHost(), Listener()
    host.add("Bad", fail, outputs={"out": "STRING"})
    graph = Builder(host).add("n", "Bad", retry={"tries": 2, "delay": 0.001, "kinds": ["guest"]}).graph()
    assert (await execute(graph, host, listener=heard)).status == "error"
    told = [
        (each["type"], each["payload"].get("text")) for each in heard.wire() if each["payload"].get("nodeId") == "n"
    ]
    assert told == [
        ("NODE_EXECUTING", None),
        ("NODE_LOG", "try 1"),
        ("NODE_RETRY", None),
        ("NODE_LOG", "try 2"),
        ("NODE_ERROR", None),
    ]
