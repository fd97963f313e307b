"""Workflows in both forms: JSON that anybody may have sent, as bytes, changed, and as graphs of known nodes with odd
places, with groups, loops and policies.

Whatever it is: a workflow, or UsageError with lines that can be printed. What is read is written again without a loss,
and goes to the other form and back. Checking the graph against a host's nodes gives an order in which every edge leads
forward and every origin is there, or WorkflowError.
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
from innkeeper.workflow.checking.graph import Graph, Source
from innkeeper.workflow.checking.previews import changed_preview
from innkeeper.workflow.checking.problems import WorkflowError
from innkeeper.workflow.formats.bundle import bundle
from innkeeper.workflow.formats.payload import WorkflowPayload
from innkeeper.workflow.formats.reading import as_payload, as_stored, read_workflow, written
from innkeeper.workflow.formats.sources import MappingSource

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
        "isPreviewUnsafe": True,
    },
    {
        "type": "Relay",
        "inputs": {
            "s": {"dataFlowType": "STREAM"},
            "t": {"dataFlowType": "STREAM"},
            "text": {"dataFlowType": "STRING"},
        },
        "outputs": {"s": {"dataFlowType": "STREAM"}, "out": {"dataFlowType": "STRING"}},
    },
    {
        "type": "Mute",
        "inputs": {"s": {"dataFlowType": "STREAM"}, "key": {"dataFlowType": "WILDCARD"}},
        "outputs": {"s": {"dataFlowType": "STREAM"}, "out": {"dataFlowType": "STRING"}},
        "bypassBehavior": {"passThrough": {"s": "s", "out": "key"}, "defaults": {"out": 1}},
    },
)
_TYPES = (
    "t:Upper",
    "t:Join",
    "t:Make",
    "t:Relay",
    "t:Mute",
    "core:GroupInput",
    "core:GroupOutput",
    "core:NodeGroup",
    "innkeeper:If",
    "innkeeper:Merge",
    "innkeeper:ForEach",
    "innkeeper:While",
    "t:None",
    "x",
)
_KNOWN = _TYPES[:12]
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
    "t",
    "items",
    "values",
    "value",
    "condition",
    "then",
    "continue",
    "innkeeperError",
    None,
)
_NAMED = tuple(handle for handle in _HANDLES if handle is not None)
_REFERENCES = ("w0", "w1", "w2", "gone", "")
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
_STORED = {
    "id": "w",
    "name": "n",
    "nodes": [
        {"id": "a", "type": "t:Make", "position": {"x": 0, "y": 0.5}, "data": {"bypassed": True}, "inputValues": None},
        {
            "id": "g",
            "type": "core:NodeGroup",
            "configValues": {"referencedWorkflowId": "w0"},
            "inputValues": {"key": "x"},
        },
        {"id": "b", "type": "t:Join", "inputConnectionOrders": {"parts": ["1"]}, "bypassed": False},
    ],
    "edges": [
        {"id": "1", "source": "a", "sourceHandle": "number", "target": "b", "targetHandle": "parts__1", "label": "l"},
        {"id": "2", "source": "g", "sourceHandle": None, "target": "b", "targetHandle": "parts__0"},
    ],
    "viewport": {"x": 0, "y": 0, "zoom": 1},
    "interfaceInputs": {},
    "interfaceOutputs": {"key": {"dataFlowType": "STREAM"}},
    "previewTarget": {"nodeId": "b", "slotKey": "out"},
    "innkeeper": {"workflows": {"w0": _SEED}},
}
_POLICY = {
    "retry": {"tries": 2, "delay": 0.5, "factor": 1, "mostDelay": 3, "kinds": ["guest", "busy"]},
    "timeout": 5,
    "errorOutput": True,
    "afterCrash": "again",
}
_NAMES = (
    *("nodes", "edges", "id", "fullType", "inputs", "config", "default", "type", "position", "source", "target"),
    *("innkeeper", "workflows", "configValues", "referencedWorkflowId", "maxIterations", "bypassed", "viewport"),
    *_TYPES,
    *_NAMED,
)
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
        return (json.dumps(_SEED).encode(), json.dumps(_STORED).encode(), b'{"nodes": [], "edges": []}')

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        match rng.randrange(10):
            case 0:
                return mutated(rng, rng.choice(pool), pool, _WORDS)
            case 1:
                return json.dumps(plain(rng, 4)).encode("utf-8", "replace")
            case 2 | 3 | 4:
                return json.dumps(_graph(rng)).encode("utf-8", "replace")
            case 5:
                made = {**_STORED, "innkeeper": {"workflows": _workflows(rng, 0.1)}}
                return json.dumps(reshaped(rng, made)).encode("utf-8", "replace")
            case _:
                value: Any = rng.choice((_SEED, _STORED))
                for _ in range(rng.choice((1, 1, 2, 3))):
                    value = reshaped(rng, value)
                return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "replace")

    async def check(self, data: bytes) -> str:
        before = time.thread_time()
        try:
            workflow = read_workflow(data)
            payload = as_payload(workflow)
        except UsageError as error:
            assert time.thread_time() - before < 8
            assert_printable(error.message, 20_000)
            return f"refused {outline(error.message.split(chr(10))[0])}"
        text = json.dumps(written(workflow), allow_nan=False)
        assert _typed(_plain(json.loads(text))) == _typed(_plain(parse_json(data.removeprefix(b"\xef\xbb\xbf"))))
        assert read_workflow(text.encode()) == workflow
        again = as_payload(as_stored(payload))
        assert [node.full_type for node in again.nodes] == [node.full_type for node in payload.nodes]
        assert [edge.target_handle for edge in again.edges] == [edge.target_handle for edge in payload.edges]
        outcome = self._checked(payload)
        assert time.thread_time() - before < 8
        return outcome

    def _checked(self, payload: WorkflowPayload) -> str:
        try:
            bundled = bundle(payload, MappingSource({"w1": _SEED, "w2": _STORED}))
            graph = check_workflow(bundled, self._host)
        except WorkflowError as error:
            assert error.problems
            assert_printable(error.message, 200_000)
            return f"checked {outline(error.problems[0].text)}"
        count = _sound(graph)
        part = changed_preview(bundled, self._host, [node.id for node in bundled.nodes[:1]], {})
        try:
            check_workflow(part, self._host)
        except WorkflowError as error:
            assert_printable(error.message, 200_000)
        return f"runs {count} {len(payload.edges)}"


def _sound(graph: Graph) -> int:
    """Makes sure that a graph is one; the nodes in it and in the turns of its loops."""
    place = {node: at for at, node in enumerate(graph.nodes)}
    count = len(place)
    for id_, node in graph.nodes.items():
        assert node.id == id_
        assert (node.role == "plugin") == (node.plugin is not None)
        assert (node.role in ("for_each", "while")) == (node.body is not None)
        assert node.node.full_type != "core:NodeGroup" or node.role == "bypassed"
        found = [source for sources in node.sources.values() for source in sources]
        for source in (*found, *node.streams.values()):
            if isinstance(source, Source):
                assert place[source.node] < place[id_]
                assert source.slot in graph.nodes[source.node].outputs
        for key, source in node.streams.items():
            assert graph.nodes[source.node].role == "plugin"
            assert graph.nodes[source.node].outputs[source.slot].is_stream
            assert node.inputs[key].is_stream
        if node.body is not None:
            assert 1 <= node.bound <= 10_000
            assert 1 <= node.parallel <= 16
            count += _sound(node.body)
    together = [node for group in graph.stream_groups for node in group]
    assert len(together) == len(set(together))
    assert all(len(group) > 1 for group in graph.stream_groups)
    assert all(key in graph.nodes[node].streams for node, key in graph.late)
    for origin in (*graph.interface_outputs.values(), *graph.interface_streams.values()):
        assert not isinstance(origin, Source) or origin.node in place
    return count


def _typed(value: Any) -> Any:
    """The same with the types of numbers, which are equal across types."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    return [_typed(item) for item in value] if isinstance(value, list) else (type(value), value)


def _plain(value: Any) -> Any:
    # The one thing that reading changes on purpose: the legacy type.
    if isinstance(value, dict):
        kept = {key: _plain(item) for key, item in value.items()}
        if kept.get("dataFlowType") == "STREAM":
            kept |= {"dataFlowType": "WILDCARD", "isStream": True}
        return kept
    return [_plain(item) for item in value] if isinstance(value, list) else value


_OUTPUTS = {
    "t:Upper": ("out",),
    "t:Join": ("out",),
    "t:Make": ("number", "any", "s"),
    "t:Relay": ("s", "out"),
    "t:Mute": ("s", "out"),
    "core:GroupInput": ("key",),
    "core:NodeGroup": ("key",),
    "innkeeper:If": ("then", "else"),
    "innkeeper:Merge": ("value",),
    "innkeeper:ForEach": ("key",),
}
_INPUTS = {
    "t:Upper": ("text",),
    "t:Join": ("parts__0", "parts__1", "by"),
    "t:Relay": ("s", "t", "text"),
    "t:Mute": ("s", "key"),
    "core:GroupOutput": ("key",),
    "core:NodeGroup": ("key",),
    "innkeeper:If": ("condition", "value"),
    "innkeeper:Merge": ("values__0", "values__1", "values"),
    "innkeeper:ForEach": ("items",),
}
_NEEDED = {"t:Upper": "text", "innkeeper:If": "condition", "innkeeper:ForEach": "items"}


def _graph(rng: random.Random, *, inner: bool = False) -> dict[str, Any]:
    # Half of them are right but for what few rules say, so that they come far.
    odd = rng.choice((0.0, 0.0, 0.02, 0.3))
    ids = list(
        {rng.choice((str(at), f"n{at}", f"n{at}/0", f"n{at}[0]/0", f"w{at}")) for at in range(rng.randrange(1, 9))}
    )
    if rng.random() < odd:
        ids.append(rng.choice((text(rng), ids[0])))
    interface = {"core:GroupInput", "core:GroupOutput"}
    nodes: list[dict[str, Any]] = []
    for id_ in ids:
        type_ = rng.choice([kind for kind in _KNOWN if kind not in interface or rng.random() < 0.5])
        if type_ in interface and any(node["fullType"] == type_ for node in nodes) and rng.random() > odd:
            type_ = "t:Make"
        nodes.append({"id": id_, "fullType": type_, "inputs": {}, "configValues": {}})
    for node in nodes:
        if (needed := _NEEDED.get(node["fullType"])) is not None and rng.random() > odd:
            node["inputs"] = {needed: {"text": "x", "condition": True, "items": [1]}[needed]}
        if rng.random() < odd:
            node["inputs"] = {rng.choice(_NAMED): plain(rng, 2)}
        if rng.random() < odd:
            node["fullType"] = rng.choice((*_TYPES, text(rng)))
        if rng.random() < 0.2:
            node["inputConnectionOrders"] = {rng.choice(_NAMED): [str(rng.randrange(9)) for _ in range(4)]}
        if rng.random() < odd:
            node["configValues"] = {"limit": plain(rng, 1)}
        if rng.random() < 0.3 and (node["fullType"] not in interface or rng.random() < odd):
            node["bypassed"] = True
        if rng.random() > odd:
            node["configValues"] |= {
                "referencedWorkflowId": rng.choice(_REFERENCES[: 5 if rng.random() < odd else 3]),
                "maxIterations": 0 if rng.random() < odd else 9,
            }
        if rng.random() < 0.2 and node["fullType"].startswith("t:"):
            node["configValues"] |= {
                "innkeeper": reshaped(rng, _POLICY) if rng.random() < odd else {"errorOutput": True}
            }
    edges = []
    for at in range(rng.randrange(10)):
        source, target = rng.choice(nodes), rng.choice(nodes)
        if rng.random() > odd:
            # Forwards, and each handle once.
            source, target = sorted((source, target), key=nodes.index)
            handles = _OUTPUTS.get(source["fullType"], ()), _INPUTS.get(target["fullType"], ())
            if source is target or not all(handles):
                continue
            output = rng.choice(handles[0])
            fitting = [key for key in handles[1] if (output == "s") == (key in ("s", "t"))]
            taken = {edge["targetHandle"] for edge in edges if edge["targetNodeId"] == target["id"]}
            free = [key for key in fitting if key not in taken]
            if not free:
                continue
            ends = output, free[0]
        else:
            ends = rng.choice(_HANDLES), rng.choice(_HANDLES)
        edges.append(
            {
                "id": str(at),
                "sourceNodeId": source["id"],
                "sourceHandle": ends[0],
                "targetNodeId": target["id"],
                "targetHandle": ends[1],
            }
        )
    graph: dict[str, Any] = {"nodes": nodes, "edges": edges}
    if inner or rng.random() < 0.5:
        graph |= {key: _SEED[key] for key in ("interfaceInputs", "interfaceOutputs")}
        makers = [node["id"] for node in nodes if node["fullType"] == "t:Upper"]
        if makers or rng.random() < odd:
            source = {"sourceNodeId": makers[0], "sourceSlotKey": "out"} if makers else {"sourceNodeId": text(rng)}
            graph["outputInterfaceMappings"] = {"key": source}
    if not inner and rng.random() < 0.9:
        graph["innkeeper"] = {"workflows": _workflows(rng, odd)}
    if rng.random() < 0.2:
        graph["metadata"] = {"isPreviewRun": True}
    return graph


def _workflows(rng: random.Random, odd: float) -> dict[str, Any]:
    return {
        name: plain(rng, 2) if rng.random() < odd else rng.choice((_graph(rng, inner=True), _SEED, _SEED))
        for name in _REFERENCES[:3]
    }
