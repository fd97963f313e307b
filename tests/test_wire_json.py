"""Events as JSON text: the same as their plain data, whatever is in them, and bounded."""

from __future__ import annotations

import json
from typing import Any

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.bridge.scan import CHUNK
from innkeeper.workflow.engine.events import BYPASSED, COMPLETE, YIELD, RunEvent, wire_event
from innkeeper.workflow.engine.wire_json import as_json, event_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)
OUTPUTS = st.dictionaries(st.text(max_size=8), st.tuples(VALUES, st.integers(0, 3)), max_size=4)


def packed(value: Any, more: int) -> bytes:
    """A value, with so many times what is written in one piece behind it."""
    data: bytes = msgpack.packb([value, "x" * (CHUNK * more), list(range(CHUNK * more // 4))] if more else value)
    return data


@settings(deadline=None)
@given(OUTPUTS, st.sampled_from([COMPLETE, BYPASSED]), st.none() | st.floats(0, 2e9))
def test_an_event_is_the_text_of_its_plain_data(outputs: dict[str, Any], kind: str, at: float | None) -> None:
    values = {key: packed(value, more) for key, (value, more) in outputs.items()}
    event = RunEvent(7, kind, {"nodeId": "a/é\n"}, values, None, at)
    text = event_text(event, "p")
    assert json.loads(text) == as_json(wire_event(event, "p"))
    assert b"\n" not in text


@given(VALUES)
def test_a_chunk_is_written_as_it_is(value: Any) -> None:
    event = RunEvent(1, YIELD, {"sourceNodeId": "n"}, {}, msgpack.packb({"type": "custom", "content": value}))
    assert json.loads(event_text(event, "p"))["payload"]["yieldedContent"]["content"] == as_json(value)


def test_half_of_a_surrogate_pair_does_not_keep_an_event_away() -> None:
    event = RunEvent(1, "NODE_EXECUTING", {"nodeId": "\ud800"})
    assert json.loads(event_text(event, "p"))["payload"]["nodeId"] == "?"


def test_one_value_under_many_keys_is_bounded_by_what_is_written() -> None:
    value = msgpack.packb("x" * 50_000)
    values = {f"k{number}": value for number in range(100)}
    assert len(json.loads(event_text(RunEvent(1, COMPLETE, {}, values), "p"))["payload"]["output"]) == 100
    cut = json.loads(event_text(RunEvent(1, COMPLETE, {}, values), "p", most=1_000_000))["payload"]
    assert cut == {"promptId": "p", "output": {}, "outputOmitted": True, "outputBytes": 100 * len(value)}
    # Control characters take six times as much as text than as a value.
    loud = {"k": msgpack.packb("\0" * 300_000)}
    assert len(event_text(RunEvent(1, COMPLETE, {}, loud), "p", most=1_000_000)) < 1_000
