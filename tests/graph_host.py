"""A host whose nodes are those of `graph_library`: asynchronous, with streams, in an order that is never the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trio

from graph_library import LIBRARY, Function, Written
from innkeeper.bridge.channel import Channel
from innkeeper.bridge.codec import decode, encode
from innkeeper.bridge.run_streams import RunStreams
from innkeeper.errors import DeniedError, GuestError, InnkeeperError, LimitError, UsageError
from innkeeper.plugins.configuration import Configuration
from innkeeper.plugins.home import Home
from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.plugins.runs import RunContext
from innkeeper.sandbox.limits import DEFAULTS, Limits
from innkeeper.sandbox.usage import Result, Usage
from reference.results import BrokenError


def error_of(broken: BrokenError) -> InnkeeperError:
    """What a plugin's call raises where the function fails."""
    if broken.kind == "limit":
        return LimitError(str(broken), limit="cpu")
    if broken.kind == "denied":
        return DeniedError(str(broken), capability="http")
    return GuestError(str(broken))


class GraphPlugin:
    """Calls functions of the library, and remembers what they were given."""

    def __init__(self, codec: str, streams: RunStreams, chance: random.Random) -> None:
        self.id = f"graph-{codec}"
        self.manifest = Manifest("graph", "1", "t", codec="json" if codec == "json" else "msgpack")
        self.limits: Limits = DEFAULTS
        self.seen: dict[str, Any] = {}
        self.tries: Counter[str] = Counter()
        self._streams = streams
        self._chance = chance

    async def call(
        self, function: str, data: bytes, *, manifest: Manifest | None = None, run: RunContext | None = None
    ) -> Result:
        """As `NodePlugin.call`."""
        assert manifest is self.manifest
        assert run is not None
        given = decode(data, self.manifest.codec)
        assert (given["run"]["node"], given["run"]["id"]) == (run.node, run.run.id)
        config = given["config"]
        self.seen[run.node] = given["inputs"]
        self.tries[run.node] += 1
        await self._pass()
        try:
            if self.tries[run.node] <= config.get("fails", 0):
                raise BrokenError(config.get("kind", "guest"), f"attempt {self.tries[run.node]} fails")
            outputs = await self._done(f"t:{function}", given["inputs"], config, run)
        except BrokenError as error:
            raise error_of(error) from None
        await self._pass()
        return Result(encode({"outputs": outputs}, self.manifest.codec), Usage(wall=0.001))

    async def _done(self, full_type: str, inputs: Any, config: Any, run: RunContext) -> Any:
        function = LIBRARY.functions[full_type]
        slots = LIBRARY.definition(full_type).slots(config)[0]
        incoming = [key for key, slot in slots.items() if slot.is_stream]
        await self._write(function.first(inputs, config), run)
        seen: dict[str, list[Any]] = {key: [] for key in incoming}
        if incoming:
            async with trio.open_nursery() as nursery:
                for key in incoming:
                    nursery.start_soon(self._read, function, key, seen[key], config, run)
        return function.last(inputs, config, seen)

    async def _read(self, function: Function, key: str, seen: list[Any], config: Any, run: RunContext) -> None:
        channel = self._streams.channel(run.run, run.node, key, "read")
        most = config.get("takes", -1)
        while channel is not None and len(seen) != most:
            for item in channel.take(min(5, most - len(seen)) if most >= 0 else 5, 1 << 20):
                seen.append(decode(item, "msgpack"))
                await self._write(function.each(key, seen[-1], config), run)
            if channel.empty:
                if channel.ended:
                    return
                if len(seen) != most:
                    await channel.changed()

    async def _write(self, items: Iterator[Written], run: RunContext) -> None:
        for slot, chunk in items:
            channel = self._streams.channel(run.run, run.node, slot, "write")
            if channel is not None:
                await put(channel, encode(chunk, "msgpack"))
            if self._chance.random() < 0.02:
                await self._pass()

    async def _pass(self) -> None:
        for _ in range(self._chance.randrange(4)):
            await trio.lowlevel.checkpoint()


async def put(channel: Channel, item: bytes) -> None:
    """Writes one item; waits while there is no room. Where nobody reads any more it is lost."""
    while not channel.abandoned and not channel.put(item):
        await channel.changed()


class GraphHost:
    """What the engine needs of a host.

    Args:
        seed: of what is first where nobody promises it.
    """

    def __init__(self, seed: int = 0) -> None:
        self.streams = RunStreams()
        self.problems: list[str] = []
        self.home = Home(Path("home"), "--home", Configuration(), ())
        chance = random.Random(seed)
        self.plugins = {codec: GraphPlugin(codec, self.streams, chance) for codec in ("msgpack", "json")}

    def node(self, full_type: str) -> tuple[GraphPlugin, NodeDefinition]:
        """As `NodeHost.node`."""
        if full_type not in LIBRARY.definitions:
            raise UsageError(f"no plugin has the node type {full_type!r}")
        return self.plugins[LIBRARY.codecs[full_type]], LIBRARY.definition(full_type)

    @property
    def seen(self) -> dict[str, Any]:
        """What each node's function was given, by the node's id."""
        return {node: inputs for plugin in self.plugins.values() for node, inputs in plugin.seen.items()}

    @property
    def tries(self) -> dict[str, int]:
        """How often each node's function was called."""
        return {node: count for plugin in self.plugins.values() for node, count in plugin.tries.items()}
