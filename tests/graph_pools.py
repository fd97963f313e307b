"""What random workflows are drawn from, and which of their slots they may connect."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from graph_writing import Place
from innkeeper.plugins.nodes import InputDefinition, Slot
from reference.slots import compatible

KINDS = ("STRING", "INTEGER", "FLOAT", "BOOLEAN", "ARRAY", "OBJECT", "WILDCARD")
PLUGIN = ("Work",) * 6 + ("Need", "Need", "Bytes", "Picture", "Muted", "Through", "Unsafe", "Moded", "Moded")
STREAMS = ("Source", "Source", "Relay", "Relay", "Shortcut", "Gather", "Gather")
CONTROL = ("If", "If", "Merge", "Merge")
CHUNKS = st.sampled_from(
    [
        *("a", "", "ü" * 9, 3, 2.5, True, [1, None], {"a": 1}),
        {"type": "usage_chunk", "content": 7, "more": []},
        {"type": "text_chunk", "content": "t"},
        {"type": "of its own", "content": 1},
        {"type": "finish_reason_chunk"},
    ]
)


def preset(kind: str) -> st.SearchStrategy[Any]:
    """A value as an author writes it in JSON."""
    texts = st.sampled_from(["", "x", "two words", "ß"])
    numbers = st.sampled_from([0, 1, -7, 2**40])
    made: dict[str, st.SearchStrategy[Any]] = {
        "STRING": texts,
        "INTEGER": numbers,
        "FLOAT": st.sampled_from([0.0, -2.5, 1e21, 4, 1e-7]),
        "BOOLEAN": st.booleans(),
        "ARRAY": st.lists(texts | numbers | st.none(), max_size=4),
        "OBJECT": st.dictionaries(st.sampled_from("ab"), numbers, max_size=2),
        "BINARY": st.binary(max_size=4).map(lambda data: base64.b64encode(data).decode()),
    }
    made["WILDCARD"] = texts | numbers | st.booleans() | made["ARRAY"]
    return made[kind]


@dataclass
class Mood:
    """What may go wrong in a graph.

    Attributes:
        failures: whether nodes may fail.
        streams: whether those may that write streams.
        leaving: whether readers of streams may end before the streams do.
        bypassing: whether nodes may be bypassed.
    """

    failures: bool
    streams: bool
    leaving: bool
    bypassing: bool


def fits(place: Place, slot: Slot, key: str, whole: bool) -> bool:
    """Whether a connection is allowed, and says the same to everybody: what decides something has its very type."""
    if not compatible(place.slot, slot) or place.slot_key == "innkeeperError":
        return False
    if "BINARY" in (place.slot.data_flow_type, slot.data_flow_type) and not slot.is_stream:
        # What takes JSON knows no bytes.
        return place.slot.data_flow_type == slot.data_flow_type
    if key in ("condition", "items", "n"):
        return place.sure and place.slot.data_flow_type == slot.data_flow_type
    return not whole or "WILDCARD" in slot.data_flow_type or place.slot.data_flow_type != "WILDCARD"


def input_slots(**given: dict[str, Any]) -> dict[str, InputDefinition]:
    """Inputs by key."""
    return {key: InputDefinition.model_validate(slot) for key, slot in given.items()}
