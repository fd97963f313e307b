"""A host whose nodes are Python functions, and a short way to write workflows."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack

from innkeeper.bridge.channel import Channel
from innkeeper.bridge.codec import decode, encode
from innkeeper.bridge.run_streams import Direction, RunStreams, close
from innkeeper.errors import UsageError
from innkeeper.plugins.configuration import Configuration
from innkeeper.plugins.home import Home
from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.memo import Memo
from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.plugins.runs import RunContext
from innkeeper.sandbox.limits import DEFAULTS, Limits
from innkeeper.sandbox.usage import Result, Usage
from innkeeper.workflow.engine.call import NodeCodec
from innkeeper.workflow.formats.payload import WorkflowPayload, read_payload

Function = Callable[..., Any]


class Flow:
    """What a function with streams reads and writes, as guests do through the service `stream`."""

    def __init__(self, streams: RunStreams, context: RunContext) -> None:
        self._streams = streams
        self._context = context

    def channel(self, slot: str, direction: Direction) -> Channel:
        found = self._streams.channel(self._context.run, self._context.node, slot, direction)
        assert found is not None, f"nothing is connected to {slot!r}"
        return found

    async def write(self, slot: str, item: Any) -> bool:
        """Whether somebody takes it still."""
        channel, packed = self.channel(slot, "write"), msgpack.packb(item)
        while not (channel.abandoned or channel.ended):
            if channel.put(packed):
                return True
            await channel.changed()
        return False

    async def read(self, slot: str) -> AsyncIterator[Any]:
        channel = self.channel(slot, "read")
        while True:
            for item in channel.take(16, 1 << 20):
                yield msgpack.unpackb(item)
            if channel.empty:
                if channel.ended:
                    return
                await channel.changed()

    def close(self, slot: str, direction: Direction = "write") -> None:
        close(self.channel(slot, direction), direction)


@dataclass
class FakePlugin:
    """Calls Python functions by name. A function gets (inputs, config, run), and a `Flow` if it takes four arguments;
    what it returns is the outputs, bytes are the whole answer as they are."""

    id: str
    manifest: Manifest
    limits: Limits = DEFAULTS
    functions: dict[str, Function] = field(default_factory=dict)
    inputs_seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    streams: RunStreams = field(default_factory=RunStreams)
    flowing: set[str] = field(default_factory=set)
    pure: bool = False

    async def call(
        self,
        function: str,
        data: bytes,
        *,
        manifest: Manifest | None = None,
        run: RunContext | None = None,
        memo: Memo = False,
    ) -> Result:
        assert manifest is self.manifest
        assert run is not None
        codec = self.manifest.codec
        call = decode(data, codec)
        assert list(call) == ["inputs", "config", "run"]
        self.inputs_seen.append((call["run"]["node"], call["inputs"]))
        more = [Flow(self.streams, run)] if function in self.flowing else []
        answer = self.functions[function](call["inputs"], call["config"], call["run"], *more)
        if inspect.isawaitable(answer):
            answer = await answer
        output = answer if isinstance(answer, bytes) else encode({"outputs": answer}, codec)
        return Result(output, Usage(cpu=0.001, wall=0.002, memory=65536, host_calls=1, bytes_in=len(data)))


class FakeHost:
    def __init__(self) -> None:
        codecs: tuple[NodeCodec, ...] = ("msgpack", "json")
        self.streams = RunStreams()
        self.plugins = {
            each: FakePlugin(f"fake-{each}", Manifest("fake", "1", "t", codec=each), streams=self.streams)
            for each in codecs
        }
        self.problems: list[str] = []
        self.home = Home(Path("home"), "--home", Configuration(), ())
        self.definitions: dict[str, tuple[FakePlugin, NodeDefinition]] = {}

    def add(
        self,
        type_: str,
        function: Function,
        *,
        inputs: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
        codec: NodeCodec = "msgpack",
        **more: Any,
    ) -> None:
        """A node type "t:TYPE". Slots are dicts, or just their dataFlowType; a name that ends in ! is required."""
        definition = NodeDefinition.model_validate(
            {"namespace": "t", "type": type_, "inputs": slots(inputs), "outputs": slots(outputs), **more}
        )
        plugin = self.plugins[codec]
        plugin.functions[definition.function] = function
        if len(inspect.signature(function).parameters) == 4:
            plugin.flowing.add(definition.function)
        self.definitions[definition.full_type] = plugin, definition

    def node(self, full_type: str) -> tuple[FakePlugin, NodeDefinition]:
        if full_type not in self.definitions:
            raise UsageError(f"no plugin has the node type {full_type!r}")
        return self.definitions[full_type]

    def inputs_of(self, node: str) -> dict[str, Any]:
        """The inputs that a node was called with."""
        return next(inputs for plugin in self.plugins.values() for name, inputs in plugin.inputs_seen if name == node)


def slots(given: dict[str, Any] | None) -> dict[str, Any]:
    result = {}
    for key, slot in (given or {}).items():
        value = {"dataFlowType": slot} if isinstance(slot, str) else dict(slot)
        if key.endswith("!"):
            value["required"] = True
        result[key.rstrip("!")] = value
    return result


def text_host() -> FakeHost:
    """A host with a few node types that most tests need."""
    host = FakeHost()
    host.add("Upper", lambda i, c, r: {"out": i["text"].upper()}, inputs={"text!": "STRING"}, outputs={"out": "STRING"})
    host.add(
        "Join",
        lambda i, c, r: {"out": i.get("separator", "").join(i["parts"])},
        inputs={
            "parts!": {"dataFlowType": "STRING", "multi": True},
            "separator": {"dataFlowType": "STRING", "config": {"default": "-"}},
        },
        outputs={"out": "STRING"},
        codec="json",
    )
    host.add(
        "Add",
        lambda i, c, r: {"sum": i["a"] + i["b"]},
        inputs={"a": "FLOAT", "b": "FLOAT"},
        outputs={"sum": "FLOAT"},
    )
    host.add(
        "Make",
        lambda i, c, r: {"text": "made", "number": 3, "list": [1, 2], "flag": True},
        outputs={
            "text": "STRING",
            "number": "INTEGER",
            "list": "ARRAY",
            "flag": "BOOLEAN",
        },
    )
    return host


def workflow(nodes: dict[str, Any], edges: list[str] | None = None, **more: Any) -> WorkflowPayload:
    """A payload, by way of JSON. A node is its type, or a dict with "type"; an edge is "a.out -> b.in"."""
    written_nodes = []
    for node, what in nodes.items():
        what = {"type": what} if isinstance(what, str) else dict(what)
        full_type = what.pop("type")
        written_nodes.append({"id": node, "fullType": full_type if ":" in full_type else f"t:{full_type}", **what})
    written_edges = []
    for index, edge in enumerate(edges or []):
        source, target = edge.split(" -> ")
        written_edges.append(
            {
                "id": f"e{index}",
                "sourceNodeId": source.split(".")[0],
                "sourceHandle": source.split(".")[1],
                "targetNodeId": target.split(".")[0],
                "targetHandle": target.split(".")[1],
            }
        )
    return read_payload(json.dumps({"nodes": written_nodes, "edges": written_edges, **more}).encode())
