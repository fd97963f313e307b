"""Workflows: JSON that anybody may have sent, as bytes, changed, and as graphs of known nodes with odd places.

Whatever it is: a payload, or UsageError with lines that can be printed. What is read is written again without a loss.
Checking the graph against a host's nodes gives an order in which every edge leads forward, or WorkflowError.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from typing import Any

from fuzz.mutation import assert_printable, mutated, outline, plain, reshaped, text
from fuzz.target import MIB, Target

from innkeeper.bridge.codec import parse_json
from innkeeper.errors import UsageError
from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.sandbox.limits import DEFAULTS
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.checking.problems import WorkflowError
from innkeeper.workflow.formats.payload import WorkflowPayload, read_payload

_DEFINITIONS = (
    {
        "type": "Upper",
        "inputs": {"text": {"dataFlowType": "STRING", "required": True}},
        "outputs": {"out": {"dataFlowType": "STRING"}},
    },
    {
        "type": "Join",
        "inputs": {
            "parts": {"dataFlowType": "STRING", "multi": True, "maxConnections": 3},
            "by": {"dataFlowType": "STRING", "config": {"default": "-"}},
        },
        "outputs": {"out": {"dataFlowType": "STRING"}},
        "configSchema": {"limit": {"dataFlowType": "INTEGER", "required": True, "config": {"default": 1}}},
    },
    {
        "type": "Make",
        "outputs": {
            "number": {"dataFlowType": "INTEGER"},
            "any": {"dataFlowType": "CONVERTIBLE_ANY"},
            "list": {"dataFlowType": "ARRAY"},
            "s": {"dataFlowType": "STREAM"},
        },
    },
)
_TYPES = ("t:Upper", "t:Join", "t:Make", "core:GroupInput", "core:GroupOutput", "core:NodeGroup", "t:None", "x")
_HANDLES = (
    "text",
    "out",
    "parts",
    "parts__0",
    "parts__1",
    "parts__999999999",
    "by",
    "number",
    "any",
    "list",
    "s",
    "key",
)
_SEED = {
    "workflowId": "w",
    "metadata": {"workflowName": "n"},
    "nodes": [
        {"id": "in", "fullType": "core:GroupInput"},
        {"id": "a", "fullType": "t:Upper", "inputs": {"text": "x"}, "configValues": {}},
        {"id": "b", "fullType": "t:Join", "inputConnectionOrders": {"parts": ["2", "1"]}, "configValues": {"limit": 2}},
        {"id": "out", "fullType": "core:GroupOutput"},
    ],
    "edges": [
        {"id": "0", "sourceNodeId": "in", "sourceHandle": "key", "targetNodeId": "a", "targetHandle": "text"},
        {"id": "1", "sourceNodeId": "a", "sourceHandle": "out", "targetNodeId": "b", "targetHandle": "parts__0"},
        {"id": "2", "sourceNodeId": "a", "sourceHandle": "out", "targetNodeId": "b", "targetHandle": "parts__1"},
        {"id": "3", "sourceNodeId": "b", "sourceHandle": "out", "targetNodeId": "out", "targetHandle": "key"},
    ],
    "interfaceInputs": {"key": {"dataFlowType": "STRING", "config": {"default": "hi"}}},
    "interfaceOutputs": {"key": {"key": "key", "dataFlowType": "STRING"}},
    "outputInterfaceMappings": {"key": {"sourceNodeId": "b", "sourceSlotKey": "out"}},
}
_NAMES = ("nodes", "edges", "id", "fullType", "inputs", "config", "default", "type", "position", *_TYPES, *_HANDLES)
_WORDS = (
    *(f'"{name}"'.encode() for name in _NAMES),
    *(
        b"NaN",
        b"1e999",
        b"[" * 70,
        b"\\u0000",
        b"\\u001b",
        b"\\ud800",
        b"\\u009b",
        b"9" * 40,
        b"{}",
        b"[]",
        b"null",
        b"\xff",
    ),
)


class _Plugin:
    """What a check asks of a plugin; none is called here."""

    id = "t"
    manifest = None
    limits = DEFAULTS


class _Host:
    def __init__(self) -> None:
        definitions = [NodeDefinition.model_validate({"namespace": "t", **given}) for given in _DEFINITIONS]
        self._known = {definition.full_type: definition for definition in definitions}
        self._plugin = _Plugin()

    def node(self, full_type: str) -> tuple[Any, NodeDefinition]:
        if full_type not in self._known:
            raise UsageError(f"there is no node type {full_type!r}")
        return self._plugin, self._known[full_type]


class Fuzz(Target):
    """An input is the bytes of a file."""

    guided = True
    address_space = 1536 * MIB
    hang = 20.0

    def __init__(self) -> None:
        self._host = _Host()

    def seeds(self) -> Sequence[bytes]:
        return (json.dumps(_SEED).encode(), b'{"nodes": [], "edges": []}')

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        match rng.randrange(10):
            case 0:
                return mutated(rng, rng.choice(pool), pool, _WORDS)
            case 1:
                return json.dumps(plain(rng, 4)).encode("utf-8", "replace")
            case 2 | 3 | 4:
                return json.dumps(_graph(rng)).encode("utf-8", "replace")
            case _:
                value: Any = _SEED
                for _ in range(rng.choice((1, 1, 2, 3))):
                    value = reshaped(rng, value)
                return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "replace")

    async def check(self, data: bytes) -> str:
        before = time.thread_time()
        try:
            payload = read_payload(data)
        except UsageError as error:
            assert time.thread_time() - before < 8
            assert_printable(error.message, 20_000)
            return f"refused {outline(error.message.split(chr(10))[0])}"
        written = json.dumps(payload.model_dump(by_alias=True, exclude_unset=True), allow_nan=False)
        assert _plain(json.loads(written)) == _plain(parse_json(data.removeprefix(b"\xef\xbb\xbf")))
        assert read_payload(written.encode()) == payload
        outcome = self._checked(payload)
        assert time.thread_time() - before < 8
        return outcome

    def _checked(self, payload: WorkflowPayload) -> str:
        try:
            graph = check_workflow(payload, self._host)
        except WorkflowError as error:
            assert error.problems
            assert_printable(error.message, 200_000)
            return f"checked {outline(error.problems[0].text)}"
        place = {node: at for at, node in enumerate(graph.nodes)}
        assert len(place) == len(payload.nodes)
        for node in graph.nodes.values():
            for sources in node.sources.values():
                assert all(place[source.node] < place[node.id] for source in sources)
        return f"runs {len(place)} {len(payload.edges)}"


def _plain(value: Any) -> Any:
    # The one thing that reading changes on purpose: the legacy type.
    if isinstance(value, dict):
        kept = {key: _plain(item) for key, item in value.items()}
        if kept.get("dataFlowType") == "STREAM":
            kept |= {"dataFlowType": "WILDCARD", "isStream": True}
        return kept
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _graph(rng: random.Random) -> dict[str, Any]:
    ids = [rng.choice((str(at), f"n{at}", text(rng))) for at in range(rng.randrange(1, 9))]
    nodes = [{"id": id_, "fullType": rng.choice(_TYPES[:5]), "inputs": {}, "configValues": {}} for id_ in ids]
    for node in nodes:
        if rng.random() < 0.3:
            node["inputs"] = {rng.choice(_HANDLES): plain(rng, 2)}
        if rng.random() < 0.1:
            node["fullType"] = rng.choice((*_TYPES, text(rng)))
        if rng.random() < 0.2:
            node["inputConnectionOrders"] = {rng.choice(_HANDLES): [str(rng.randrange(9)) for _ in range(4)]}
        if rng.random() < 0.2:
            node["configValues"] = {"limit": plain(rng, 1)}
    edges = [
        {
            "id": str(at),
            "sourceNodeId": rng.choice(ids),
            "sourceHandle": rng.choice(_HANDLES),
            "targetNodeId": rng.choice(ids),
            "targetHandle": rng.choice(_HANDLES),
        }
        for at in range(rng.randrange(10))
    ]
    graph: dict[str, Any] = {"nodes": nodes, "edges": edges}
    if rng.random() < 0.5:
        graph |= {key: _SEED[key] for key in ("interfaceInputs", "interfaceOutputs")}
        graph["outputInterfaceMappings"] = {
            "key": {"sourceNodeId": rng.choice(ids), "sourceSlotKey": rng.choice(_HANDLES)}
        }
    return graph
