"""Texts to vectors, of which each is asked for once as long as it is remembered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import trio

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.inference.answers import TokenUsage
from innkeeper.bridge.inference.arguments import MOST_EMBEDDED
from innkeeper.bridge.inference.budget import estimate
from innkeeper.bridge.inference.cache import Cache, key_of
from innkeeper.bridge.inference.client import EndpointClient
from innkeeper.bridge.inference.endpoints import Model
from innkeeper.bridge.inference.messages import as_json
from innkeeper.bridge.inference.turns import Turns
from innkeeper.bridge.inference.vectors import MOST_EMBEDDINGS, read_embeddings
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.web.client import whole
from innkeeper.sandbox.limits import KIB


class Embeddings:
    """Asks for vectors, and remembers them by owner, plugin, model and content."""

    def __init__(self, client: EndpointClient, turns: Turns, known: Cache[bytes]) -> None:
        """Args:
        client: asks endpoints.
        turns: lets requests through.
        known: where vectors are remembered.
        """
        self._client = client
        self._turns = turns
        self._known = known

    async def of(self, caller: Caller, model: Model, texts: Sequence[str], timeout: float) -> dict[str, Any]:
        """As `llm.embed`."""
        async with self._turns.in_time(caller, timeout) as turn:
            keys = await trio.to_thread.run_sync(_keys, caller, model, texts)
            found = {key: vector for key in keys if (vector := self._known.get(key)) is not None}
            usage, cached = TokenUsage(0), sum(key in found for key in keys)
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
            if missing:
                vectors, usage = await self._asked(caller, model, list(missing.values()), turn)
                for key, vector in zip(missing, vectors, strict=True):
                    found[key] = vector
                    self._known.put(key, vector, len(vector))
        if len({len(vector) for vector in found.values()}) > 1:
            # The model behind the name is another by now.
            for key in found:
                self._known.drop(key)
            raise ServiceError(Refusal.FAILED, "the model's vectors changed their length; ask again")
        return {
            "vectors": [found[key] for key in keys],
            "dimensions": len(found[keys[0]]) // 4,
            "usage": usage.as_value(),
            "model": model.name,
            "cached": cached,
        }

    async def _asked(
        self, caller: Caller, model: Model, texts: Sequence[str], turn: list[bool]
    ) -> tuple[list[bytes], TokenUsage]:
        body, prompt = await trio.to_thread.run_sync(_asking, model, texts)
        async with self._turns.spending(caller, prompt, turn) as (holding, spent):
            async with self._client.answered(model, "/embeddings", body, most=MOST_EMBEDDINGS) as answered:
                data = await whole(answered.exchange, holding)
                vectors, reported = await trio.to_thread.run_sync(read_embeddings, data, len(texts))
            usage = reported or TokenUsage(prompt, estimated=True)
            spent.append(usage)
        return vectors, usage


def _asking(model: Model, texts: Sequence[str]) -> tuple[bytes, int]:
    """The body of a request, and its tokens, about. Text by text: the encoder keeps the interpreter's lock."""
    around = as_json({"model": model.remote, "encoding_format": "base64"}, KIB)
    written = [json.dumps(text, ensure_ascii=False).encode() for text in texts]
    return around[:-1] + b',"input":[' + b",".join(written) + b"]}", estimate(map(len, written))


def _keys(caller: Caller, model: Model, texts: Sequence[str]) -> list[bytes]:
    names = (caller.owner, caller.plugin, model.endpoint, model.remote)
    encoded = [text.encode() for text in texts]
    for at, data in enumerate(encoded):
        if len(data) > MOST_EMBEDDED:
            raise ServiceError(
                Refusal.INVALID, f"llm.embed: text {at} has {len(data):,} bytes, the most is {MOST_EMBEDDED:,}"
            )
    return [key_of(names, data) for data in encoded]
