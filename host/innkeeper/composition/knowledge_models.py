"""Models of embeddings that are somewhere else: behind endpoints that the operator configured, and plugins. Conditions
of entries ask plugins the same way."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from innkeeper.bridge.codec import Codec, decode, encode
from innkeeper.bridge.scan import DataBounds
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.bridge.inference.client import EndpointClient
    from innkeeper.bridge.inference.endpoints import Models
    from innkeeper.bridge.web.slots import Slots
    from innkeeper.plugins.configuration import Configuration
    from innkeeper.plugins.host import Host
    from innkeeper.plugins.plugin import Plugin

AT_ONCE: Final = 2
"""Requests for vectors at once."""

ANSWER: Final = DataBounds(depth=6, elements=600_000)
"""What a plugin may answer: 64 vectors of the most numbers that one may have."""

_SOON: Final = 4096
"""Bytes that are written or read in a fraction of a millisecond."""

_EMBED: Final = "embed"


class PluginCalls:
    """Implements `knowledge.embedding.plugin.PluginCall`. A plugin runs under its own rights and limits, and calls
    inside of calls are bounded by `plugins.chain`."""

    def __init__(self, host: Callable[[], Awaitable[Host]]) -> None:
        """Args:
        host: runs the plugins.
        """
        self._host = host
        self._versions: dict[str, str] = {}

    async def version(self, plugin: str) -> str:
        """Which bytes a plugin has (str), as the version of the model that it is from now on.

        Raises:
            UsageError: there is no such plugin.
        """
        digest = (await self._found(plugin)).digest
        self._versions[plugin] = digest
        return digest[:12]

    async def __call__(self, plugin: str, function: str, payload: Any) -> Any:
        """As `PluginCall.__call__`: in the codec of the plugin's manifest, and in JSON where it has none.

        Raises:
            UsageError: there is no such plugin, or it is a model whose bytes have changed.
            InnkeeperError: it failed, or answers something else.
        """
        found = await self._found(plugin)
        if function == _EMBED and self._versions.get(plugin, found.digest) != found.digest:
            raise UsageError(
                f"the plugin {plugin[:80]!r} is another than the one whose vectors are compared: the host uses it "
                "when it is started anew"
            )
        codec: Codec = "json" if found.manifest is None or found.manifest.codec == "raw" else found.manifest.codec
        data = await trio.to_thread.run_sync(encode, payload, codec)
        answer = (await found.call(function, data)).output

        def read() -> Any:
            return decode(answer, codec, ANSWER, what=f"what {plugin[:80]!r}.{function[:80]} answers")

        return read() if len(answer) <= _SOON else await trio.to_thread.run_sync(read)

    async def _found(self, plugin: str) -> Plugin:
        found = (await self._host()).plugins.get(plugin)
        if found is None or found.gone is not None:
            raise UsageError(f"there is no plugin {plugin[:80]!r} in this home")
        return found


class Endpoints:
    """Implements `knowledge.embedding.endpoint.EndpointClient` with what asks endpoints for plugins."""

    def __init__(self, configuration: Configuration) -> None:
        """Args:
        configuration: has the endpoints and where their secrets are.
        """
        self._configuration = configuration
        self._made: tuple[EndpointClient, Models, Slots] | None = None
        self._making = trio.Lock()

    async def embed(self, model: str, texts: Sequence[str]) -> Sequence[bytes]:
        """As `EndpointClient.embed`."""
        from innkeeper.bridge.inference.vectors import MOST_EMBEDDINGS, read_embeddings
        from innkeeper.bridge.refusal import ServiceError
        from innkeeper.bridge.web.client import whole
        from innkeeper.knowledge.embedding.interface import EmbeddingError

        async with self._making:
            if self._made is None:
                self._made = await trio.to_thread.run_sync(self._make)
        client, models, slots = self._made
        try:
            found = models.find(model)
            body = await trio.to_thread.run_sync(_asking, found.remote, list(texts))
            async with (
                slots.taken("knowledge") as holding,
                client.answered(found, "/embeddings", body, most=MOST_EMBEDDINGS) as answered,
            ):
                data = await whole(answered.exchange, holding)
                vectors, _ = await trio.to_thread.run_sync(read_embeddings, data, len(texts))
        except ServiceError as error:
            raise EmbeddingError(str(error)) from None
        return list(vectors)

    def _make(self) -> tuple[EndpointClient, Models, Slots]:
        from innkeeper.bridge.http import make_client
        from innkeeper.bridge.inference.client import EndpointClient
        from innkeeper.bridge.inference.endpoints import Models
        from innkeeper.bridge.secret_store import SecretStore
        from innkeeper.bridge.web.slots import Slots

        store = SecretStore(self._configuration.secrets.file)
        client = EndpointClient(store, make_client, time.time)
        return client, Models(self._configuration.llm), Slots(AT_ONCE, AT_ONCE)


def _asking(model: str, texts: list[str]) -> bytes:
    return json.dumps({"model": model, "encoding_format": "base64", "input": texts}, ensure_ascii=False).encode()
