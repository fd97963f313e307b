"""The service `llm`: language models that the operator configured, with the host's credentials, within a budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import trio

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.inference import limits
from innkeeper.bridge.inference.arguments import (
    CHAT_BOUNDS,
    EMBED_BOUNDS,
    Answer,
    Format,
    Messages,
    ModelName,
    Seconds,
    Seed,
    Stop,
    StreamId,
    Temperature,
    Texts,
    Tools,
)
from innkeeper.bridge.needs import Needs
from innkeeper.bridge.operation import operation
from innkeeper.bridge.quota import Rate

if TYPE_CHECKING:
    from innkeeper.bridge.inference.asking import Asking

RATE: Final = Rate(per_second=1000, burst=2000)
"""Calls of one plugin: pieces of streams are calls too. What goes to endpoints has a bound of its own."""


class LlmService:
    """Asks language models for plugins, each plugin's apart from every other's."""

    def __init__(
        self,
        needs: Needs,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        needs: what the operator configured, where tokens are counted, and what streams run in.
        now: seconds since 1970; called from any thread.
        clock: seconds of a monotonic clock.
        """
        self._needs = needs
        self._now = now
        self._clock = clock
        self._asking: Asking | None = None
        self._opening = trio.Lock()

    @operation("llm.chat", use="model", bounds=CHAT_BOUNDS)
    async def chat(
        self,
        caller: Caller,
        *,
        model: ModelName,
        messages: Messages,
        temperature: Temperature | None = None,
        max_tokens: Answer = 4096,
        stop: Stop | None = None,
        response_format: Format | None = None,
        seed: Seed | None = None,
        tools: Tools | None = None,
        timeout: Seconds = limits.WHOLE,
    ) -> dict[str, Any]:
        """Asks a model, and waits for the whole answer.

        Args:
            model: its name, as the operator gave it.
            messages: at most 256, of {role, content}; role is system, developer, user, assistant or tool, content text.
                An assistant's may have `tool_calls` as an answer has them, a tool's has `tool_call_id`; any may have
                `name`. Their contents have at most 256 KiB together.
            temperature: nil: the model's own.
            max_tokens: of the answer; so many are set aside of the plugin's tokens while it is under way.
            stop: at most 4 texts at which the answer ends.
            response_format: {type: "text", "json_object" or "json_schema", json_schema: map}
            seed: for models that give equal answers to equal seeds.
            tools: at most 64 of {type: "function", function: {name, description, parameters}}
            timeout: seconds for all of it; at most 600, and less than the call's limit `host_call`.

        Returns:
            {message: {role, content: text or nil, tool_calls: list of {id, type, function: {name, arguments}}, where
            there are}, finish_reason: text or nil, usage: {prompt_tokens, completion_tokens, estimated}, model, cached}
        """
        asking = await self._opened()
        chosen = _chosen(temperature, stop, response_format, seed, tools)
        return await asking.chat(caller, model, messages, max_tokens, timeout, chosen)

    @operation("llm.chat", use="model", bounds=CHAT_BOUNDS)
    async def chat_open(
        self,
        caller: Caller,
        *,
        model: ModelName,
        messages: Messages,
        temperature: Temperature | None = None,
        max_tokens: Answer = 4096,
        stop: Stop | None = None,
        response_format: Format | None = None,
        seed: Seed | None = None,
        tools: Tools | None = None,
        timeout: Seconds = limits.WHOLE,
    ) -> dict[str, Any]:
        """Asks a model, and waits until it begins to answer; the answer is then read in pieces.

        Args:
            model: its name, as the operator gave it.
            messages: as `llm.chat` has them.
            temperature: nil: the model's own.
            max_tokens: of the answer; so many are set aside of the plugin's tokens while it is under way.
            stop: at most 4 texts at which the answer ends.
            response_format: as `llm.chat` has it.
            seed: for models that give equal answers to equal seeds.
            tools: as `llm.chat` has them.
            timeout: seconds for all of the answer; at most 600.

        Returns:
            {stream: integer}, which means nothing in another call and is closed when this one ends. A call has at most
            4 open.
        """
        asking = await self._opened()
        chosen = _chosen(temperature, stop, response_format, seed, tools)
        return await asking.chat_open(caller, model, messages, max_tokens, timeout, chosen)

    @operation("llm.chat")
    async def chat_next(self, caller: Caller, *, stream: StreamId) -> dict[str, Any]:
        """Waits for what comes next of an answer.

        Args:
            stream: of `llm.chat_open`, in this call.

        Returns:
            {delta: text, all that has come since the last time; done: whether this was all; finish_reason: text or nil;
            usage: as `llm.chat` has it, or nil; tool_calls: list}. The last three come with the end, after which the
            stream is closed. A `delta` may be "" before the end.
        """
        return await (await self._opened()).chat_next(caller, stream)

    @operation("llm.chat")
    async def chat_close(self, caller: Caller, *, stream: StreamId) -> dict[str, Any]:
        """Closes a stream: the answer is not wanted any more.

        Args:
            stream: of `llm.chat_open`, in this call.

        Returns:
            {closed: whether it was open}
        """
        return (await self._opened()).chat_close(stream)

    @operation("llm.embed", use="model", bounds=EMBED_BOUNDS)
    async def embed(
        self, caller: Caller, *, model: ModelName, texts: Texts, timeout: Seconds = limits.WHOLE
    ) -> dict[str, Any]:
        """Turns texts into vectors.

        Args:
            model: its name, as the operator gave it.
            texts: at most 64, each at most 32 KiB.
            timeout: seconds for all of it; at most 600, and less than the call's limit `host_call`.

        Returns:
            {vectors: list of bytes, float32 in little-endian, in the order of the texts; dimensions: integer; usage:
            {prompt_tokens, completion_tokens, estimated}; model; cached: how many were known already}
        """
        return await (await self._opened()).embed(caller, model, texts, timeout)

    async def _opened(self) -> Asking:
        # What it needs takes a while to import: once, in a thread, when the first plugin asks.
        if self._asking is None:
            async with self._opening:
                if self._asking is None:
                    self._asking = await trio.to_thread.run_sync(_make, self._needs, self._now, self._clock)
        return self._asking


def _make(needs: Needs, now: Callable[[], float], clock: Callable[[], float]) -> Asking:
    from innkeeper.bridge.inference.asking import Asking

    return Asking(needs, now, clock)


def _chosen(
    temperature: float | None,
    stop: list[str] | None,
    response_format: dict[str, Any] | None,
    seed: int | None,
    tools: list[dict[str, Any]] | None,
) -> dict[str, Any]:
    return {
        "temperature": temperature,
        "stop": stop,
        "response_format": response_format,
        "seed": seed,
        "tools": tools,
    }
