"""A model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np

from innkeeper.errors import InnkeeperError
from innkeeper.knowledge.embedding.checked import checked
from innkeeper.knowledge.embedding.interface import EmbeddingError, ModelIdentity, Vectors
from innkeeper.knowledge.embedding.texts import MOST_TEXT

BATCH: Final = 64
"""Texts of one request."""

BATCH_CHARACTERS: Final = 64_000
"""Characters of one request, where that is fewer texts."""


class EndpointClient(Protocol):
    """Asks endpoints that the operator configured, with the host's credentials. Bounds an answer's bytes and time."""

    async def embed(self, model: str, texts: Sequence[str]) -> Sequence[bytes]:
        """A vector for each text, float32 in little-endian.

        Args:
            model: name of a model in the configuration.
            texts: `BATCH` at most, none of them empty.

        Raises:
            EmbeddingError or InnkeeperError: there is no answer, or it is none; the message has no secret.
        """
        ...


class EndpointEmbedder:
    """A model behind an endpoint."""

    def __init__(self, client: EndpointClient, model: str, identity: ModelIdentity) -> None:
        """Args:
        client: asks.
        model: its name in the configuration.
        identity: under which its vectors are kept.
        """
        self._client = client
        self._model = model
        self._identity = identity

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """As `Embedder.embed`."""
        made = np.zeros((len(texts), self._identity.dimension), np.float32)
        for batch in batches(texts):
            asked = [texts[at][:MOST_TEXT] for at in batch]
            made[batch] = await _asked(self._client, self._model, asked, self._identity.dimension)
        return made


async def open_endpoint(client: EndpointClient, model: str, remote: str = "", version: str = "") -> EndpointEmbedder:
    """A model behind an endpoint, which is asked once for the dimension of its vectors.

    Args:
        client: asks.
        model: its name in the configuration.
        remote: its name at the endpoint, which is the same wherever a base goes; "": the same.
        version: of it, or "".

    Raises:
        EmbeddingError: it cannot be asked.
    """
    vectors = await _asked(client, model, ["dimension"], None)
    return EndpointEmbedder(client, model, ModelIdentity(remote or model, version, vectors.shape[1]))


def batches(texts: Sequence[str]) -> list[list[int]]:
    """Positions of texts that are not empty, cut into requests."""
    found: list[list[int]] = []
    room = 0
    for at, text in enumerate(texts):
        if not text.strip():
            continue
        length = min(len(text), MOST_TEXT)
        if not found or len(found[-1]) >= BATCH or length > room:
            found.append([])
            room = BATCH_CHARACTERS
        found[-1].append(at)
        room -= length
    return found


async def _asked(client: EndpointClient, model: str, texts: Sequence[str], dimension: int | None) -> Vectors:
    try:
        given = await client.embed(model, texts)
    except InnkeeperError as error:
        raise EmbeddingError(f"the model {model!r} cannot be asked: {error}") from None
    return checked(given, len(texts), dimension, f"the model {model!r}")
