"""A model that is a plugin: a function of a Wasm module that makes vectors of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np

from innkeeper.errors import InnkeeperError
from innkeeper.knowledge.embedding.checked import checked
from innkeeper.knowledge.embedding.endpoint import batches
from innkeeper.knowledge.embedding.interface import EmbeddingError, ModelIdentity, Vectors
from innkeeper.knowledge.embedding.texts import MOST_TEXT

FUNCTION: Final = "embed"


class PluginCall(Protocol):
    """Calls plugins, within their limits."""

    async def __call__(self, plugin: str, function: str, payload: Any) -> Any:
        """What a plugin's function answers.

        Args:
            plugin: its id.
            function: its name.
            payload: plain data.

        Raises:
            InnkeeperError: it failed.
        """
        ...


class PluginEmbedder:
    """A plugin that exports `embed`: {"texts": [text, ...]} to {"vectors": [vector, ...]}, each a list of numbers, or
    float32 in little-endian as bytes."""

    def __init__(self, call: PluginCall, plugin: str, identity: ModelIdentity) -> None:
        """Args:
        call: calls it.
        plugin: its id.
        identity: under which its vectors are kept.
        """
        self._call = call
        self._plugin = plugin
        self._identity = identity

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """As `Embedder.embed`."""
        made = np.zeros((len(texts), self._identity.dimension), np.float32)
        for batch in batches(texts):
            asked = [texts[at][:MOST_TEXT] for at in batch]
            made[batch] = await _asked(self._call, self._plugin, asked, self._identity.dimension)
        return made


async def open_plugin(call: PluginCall, plugin: str, version: str) -> PluginEmbedder:
    """A plugin as a model. It is called once for the dimension of its vectors.

    Args:
        call: calls plugins.
        plugin: its id.
        version: of its bytes, such as the begin of their sha256: other bytes are another model.

    Raises:
        EmbeddingError: it failed.
    """
    vectors = await _asked(call, plugin, ["dimension"], None)
    return PluginEmbedder(call, plugin, ModelIdentity(f"plugin:{plugin}", version, vectors.shape[1]))


async def _asked(call: PluginCall, plugin: str, texts: Sequence[str], dimension: int | None) -> Vectors:
    try:
        answer = await call(plugin, FUNCTION, {"texts": list(texts)})
    except InnkeeperError as error:
        raise EmbeddingError(f"the model of the plugin {plugin!r} failed: {error}") from None
    given = answer.get("vectors") if isinstance(answer, dict) else None
    return checked(given, len(texts), dimension, f"the plugin {plugin!r}")
