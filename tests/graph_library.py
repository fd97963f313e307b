"""Node types whose outputs tell what they were given, as plain functions: for the reference and for the engine."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from innkeeper.plugins.nodes import NodeDefinition
from node_fakes import slots
from reference.results import BrokenError

Inputs = Mapping[str, Any]
Config = Mapping[str, Any]
Written = tuple[str, Any]
"""A stream output and a chunk."""


def nothing(*_: Any) -> Iterator[Written]:
    """Writes no chunk."""
    return iter(())


@dataclass(frozen=True)
class Function:
    """What a node type does. Everything that it writes depends on one stream input at most: where several come in,
    nobody says which is first.

    Attributes:
        last: gives the outputs, once all streams were read: (inputs, config, chunks by stream input).
        first: what it writes before it reads.
        each: what it writes for a chunk: (stream input, chunk, config).
    """

    last: Callable[[Inputs, Config, Mapping[str, list[Any]]], dict[str, Any]]
    first: Callable[[Inputs, Config], Iterator[Written]] = nothing
    each: Callable[[str, Any, Config], Iterator[Written]] = nothing


def digest(*what: Any) -> str:
    """Short text that tells values apart, 3 from 3.0 and text from bytes too."""
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=repr).encode()).hexdigest()[:12]


def fail(config: Config) -> None:
    """Fails where the node's configuration says so."""
    if config.get("broken"):
        raise BrokenError(config.get("kind", "guest"), f"broken: {config['broken']}")


def derived(what: str, kinds: Mapping[str, str], config: Config) -> dict[str, Any]:
    """Outputs of any types that follow from a digest; some are absent or null as the configuration says."""
    seed = int(what, 16)
    number = seed % 97 - 48
    reals = (0.5, 3.0, -0.0, 1e21, 1.5e-7, 123456789.25, -2.0, 1e300)
    made: dict[str, Any] = {
        "STRING": f"t{what[:8]}",
        "INTEGER": number,
        "FLOAT": reals[seed % len(reals)],
        "BOOLEAN": seed % 3 != 0,
        "ARRAY": [number, None, f"i{what[:4]}", 2.5][: seed % 5],
        "OBJECT": {"of": what[:6], "list": [seed % 7, None]},
        "BINARY": bytes.fromhex(what),
    }
    made["WILDCARD"] = made[sorted(set(made) - {"BINARY"})[seed % 6]]
    found = {key: made[kind] for key, kind in kinds.items() if key not in config.get("absent", ())}
    return {key: None if key in config.get("null", ()) else value for key, value in found.items()}


def spelled(function: Function) -> Function:
    """The function of a node whose codec is JSON: it gets bytes as base64 text, wherever they are in a value."""

    def text(value: Any) -> Any:
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        if isinstance(value, dict):
            return {key: text(each) for key, each in value.items()}
        return [text(each) for each in value] if isinstance(value, list) else value

    return replace(function, last=lambda inputs, config, seen: function.last(text(inputs), config, seen))


def worker(outputs: Callable[[Config], Mapping[str, str]]) -> Function:
    """A function whose outputs all follow from all that it gets; they are those of its mode."""

    def last(inputs: Inputs, config: Config, seen: Mapping[str, list[Any]]) -> dict[str, Any]:
        fail(config)
        return derived(digest(inputs, config.get("salt", 0), seen), outputs(config), config)

    return Function(last)


def written_chunks(inputs: Inputs, config: Config) -> Iterator[Written]:
    """The chunks of the configuration, again and again, and one that tells what the inputs were."""
    if config.get("breaks") == "early":
        fail({"broken": "before anything was written", **config})
    yield "chunks", digest(inputs)
    for _ in range(config.get("repeat", 1)):
        for chunk in config.get("chunks", []):
            yield "chunks", chunk
            if config.get("twice"):
                yield "other", chunk


def relayed(slot: str, chunk: Any, config: Config) -> Iterator[Written]:
    """Every chunk with a mark, under the same name."""
    if isinstance(chunk, dict) and chunk.get("type") == "error_chunk":
        return
    yield slot, {"type": "custom", "content": chunk} if isinstance(chunk, dict) else [slot, chunk]
    if config.get("twice"):
        yield slot, "twice"


def counted(inputs: Inputs, config: Config, seen: Mapping[str, list[Any]]) -> dict[str, Any]:
    """How many chunks came, and what they were."""
    fail(config)
    return {"text": digest(inputs, dict(seen)), "count": sum(map(len, seen.values()))}


def caught(inputs: Inputs, config: Config, seen: Mapping[str, list[Any]]) -> dict[str, Any]:
    """What an error output says, but for its words."""
    error = inputs["error"]
    return {"text": " ".join(str(error.get(key)) for key in ("kind", "node", "tries"))}


def stepped(inputs: Inputs, config: Config, seen: Mapping[str, list[Any]]) -> dict[str, Any]:
    """One more than its input, and whether that is not enough."""
    fail(config)
    return {"n": inputs["n"] + 1, "more": inputs["n"] + 1 < config.get("until", 2)}


STREAM: Mapping[str, Any] = {"dataFlowType": "WILDCARD", "isStream": True}
TEXTS: Mapping[str, Any] = {"dataFlowType": "STRING", "isStream": True}

_ALL = {
    "text": "STRING",
    "number": "INTEGER",
    "real": "FLOAT",
    "flag": "BOOLEAN",
    "list": "ARRAY",
    "object": "OBJECT",
    "any": "WILDCARD",
}


class GraphLibrary:
    """The node types of random graphs; implements what the reference wants of a library."""

    def __init__(self) -> None:
        self.definitions: dict[str, NodeDefinition] = {}
        self.functions: dict[str, Function] = {}
        self.codecs: dict[str, str] = {}
        multi = {"multi": True}
        everything = {
            **_ALL,
            "real": {"dataFlowType": "FLOAT", "config": {"default": 1.5}},
            "word": {"dataFlowType": "STRING", "config": {"suggestions": [{"value": "hint", "label": "Hint"}]}},
            "parts": {"dataFlowType": "STRING", **multi},
            "reals": {"dataFlowType": "FLOAT", **multi},
            "things": {"dataFlowType": "WILDCARD", **multi},
        }
        self._work("Work", everything, _ALL)
        needed = {"text!": "STRING", "real!": {"dataFlowType": "FLOAT", "config": {"default": 2}}, "any!": "WILDCARD"}
        self._work("Need", needed, {"text": "STRING", "number": "INTEGER"}, codec="json")
        self._work("Bytes", {"bytes": "BINARY", "any": "WILDCARD"}, {"bytes": "BINARY", "text": "STRING"})
        picture = {"dataFlowType": "STRING", "matchCategories": ["ImageData"]}
        shown = {"dataFlowType": "OBJECT", "matchCategories": ["ImageData", "Json"]}
        self._work("Picture", {"picture": picture, "real": "FLOAT"}, {"object": shown, "number": "INTEGER"})
        self._work("Muted", {"text": "STRING"}, {"text": "STRING", "list": "ARRAY"}, bypassBehavior="mute")
        through = {"passThrough": {"text": "text", "any": "number"}, "defaults": {"text": "none", "real": 7.5}}
        self._work(
            "Through",
            {"text": "STRING", "number": "INTEGER"},
            {"text": "STRING", "any": "WILDCARD", "real": "FLOAT", "flag": "BOOLEAN"},
            bypassBehavior=through,
        )
        self._work("Unsafe", {"text": "STRING"}, {"text": "STRING", "flag": "BOOLEAN"}, isPreviewUnsafe=True)
        self._work(
            "Moded",
            {"text": "STRING"},
            {"text": "STRING"},
            modes={
                "one": {"inputs": slots({"number": "INTEGER"}), "outputs": slots({"real": "FLOAT", "text": "STRING"})},
                "two": {"outputs": slots({"list": "ARRAY", "text": "STRING"})},
            },
            modeConfigKey="mode",
        )
        self._add("Caught", {"error": "OBJECT"}, {"text": "STRING"}, Function(caught))
        self._add("Step", {"n": "INTEGER"}, {"n": "INTEGER", "more": "BOOLEAN"}, Function(stepped))
        told = {"text": "STRING", "count": "INTEGER"}
        self._add(
            "Source", {"text": "STRING"}, {"chunks": STREAM, "other": TEXTS, **told}, Function(counted, written_chunks)
        )
        relay = Function(counted, each=relayed)
        self._add(
            "Relay",
            {"chunks": STREAM, "other": TEXTS, "text": "STRING"},
            {"chunks": STREAM, "other": TEXTS, **told},
            relay,
        )
        self._add(
            "Shortcut",
            {"chunks": STREAM, "other": STREAM, "text": "STRING"},
            {"chunks": STREAM, "other": STREAM, **told},
            relay,
            bypassBehavior={"passThrough": {"chunks": "other", "text": "text"}, "defaults": {"count": -1}},
        )
        self._add("Gather", {"one": STREAM, "two": STREAM, "any": "WILDCARD"}, told, Function(counted))

    def definition(self, full_type: str) -> NodeDefinition:
        """What a node type is."""
        return self.definitions[full_type]

    def call(
        self,
        full_type: str,
        inputs: Inputs,
        config: Config,
        streams: Mapping[str, list[Any]],
        attempt: int,
        written: dict[str, list[Any]],
    ) -> dict[str, Any]:
        """Calls a function at once, with all chunks that come in."""
        function = self.functions[full_type]
        if attempt <= config.get("fails", 0):
            raise BrokenError(config.get("kind", "guest"), f"attempt {attempt} fails")
        for slot, chunk in function.first(inputs, config):
            written[slot].append(chunk)
        seen = {slot: chunks[: config.get("takes")] for slot, chunks in streams.items()}
        for key, chunks in seen.items():
            for each in chunks:
                for slot, chunk in function.each(key, each, config):
                    written[slot].append(chunk)
        return function.last(inputs, config, seen)

    def _work(
        self, name: str, inputs: dict[str, Any], outputs: dict[str, Any], codec: str = "msgpack", **more: Any
    ) -> None:
        def kinds(config: Config) -> dict[str, str]:
            found = self.definitions[f"t:{name}"].slots(config)[1]
            return {key: slot.data_flow_type for key, slot in found.items()}

        self._add(name, inputs, outputs, worker(kinds), codec, **more)

    def _add(
        self,
        name: str,
        inputs: dict[str, Any],
        outputs: dict[str, Any],
        function: Function,
        codec: str = "msgpack",
        **more: Any,
    ) -> None:
        definition = NodeDefinition.model_validate(
            {"namespace": "t", "type": name, "inputs": slots(inputs), "outputs": slots(outputs), **more}
        )
        self.definitions[definition.full_type] = definition
        self.functions[definition.full_type] = spelled(function) if codec == "json" else function
        self.codecs[definition.full_type] = codec


LIBRARY = GraphLibrary()
