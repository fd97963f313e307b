"""Workflows of a thousand nodes that do next to nothing, as payloads."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

NODES = 1000

TYPE = "core:TextMerge"
IN, _OUT = "text_inputs", "merged_text"


def _payload(ids: list[str], edges: list[tuple[str, str]], last: str, text: str) -> dict[str, Any]:
    # Equal calls may be remembered: each node's separator is another.
    nodes: list[dict[str, Any]] = [
        {"id": id, "fullType": TYPE, "inputs": {"separator": f" {text} {id} "}} for id in ids
    ]
    nodes[0]["inputs"][IN] = [text]
    return {
        "nodes": nodes,
        "edges": [
            {
                "id": f"e{number}",
                "sourceNodeId": source,
                "sourceHandle": _OUT,
                "targetNodeId": target,
                "targetHandle": IN,
            }
            for number, (source, target) in enumerate(edges)
        ],
        "outputInterfaceMappings": {"text": {"sourceNodeId": last, "sourceSlotKey": _OUT}},
    }


def chain(text: str, count: int = NODES) -> dict[str, Any]:
    """Nodes one behind the other, each of which passes on the text that it gets."""
    ids = [f"n{number}" for number in range(count)]
    return _payload(ids, list(pairwise(ids)), ids[-1], text)


def fan(text: str, count: int = NODES) -> dict[str, Any]:
    """A node, all but two that it goes to, and one that they all go to."""
    ids = [f"n{number}" for number in range(count)]
    first, *middle, last = ids
    return _payload(ids, [(first, each) for each in middle] + [(each, last) for each in middle], last, text)
