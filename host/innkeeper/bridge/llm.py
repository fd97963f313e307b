"""The service `llm`: language models that the operator configured, with the host's credentials, within a budget."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.inference import limits
from innkeeper.bridge.inference.answers import MOST_CHAT, TokenUsage, read_chat
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
from innkeeper.bridge.inference.budget import Budget, estimate
from innkeeper.bridge.inference.cache import Cache, key_of
from innkeeper.bridge.inference.call_streams import streams_of_this_call
from innkeeper.bridge.inference.client import Answered, EndpointClient
from innkeeper.bridge.inference.embeddings import Embeddings
from innkeeper.bridge.inference.endpoints import Model, Models
from innkeeper.bridge.inference.question import SMALL, Question, chat_question
from innkeeper.bridge.inference.streams import MOST_WIRE, Stream
from innkeeper.bridge.inference.turns import Turns
from innkeeper.bridge.needs import Needs
from innkeeper.bridge.operation import operation
from innkeeper.bridge.quota import Rate
from innkeeper.bridge.secret_store import SecretStore
from innkeeper.sandbox.limits import MIB

if TYPE_CHECKING:
    from innkeeper.bridge.web.client import WebClient

RATE: Final = Rate(per_second=1000, burst=2000)
"""Calls of one plugin: pieces of streams are calls too. What goes to endpoints has a bound of its own."""

ANSWERS: Final = 32 * MIB
"""Bytes of answers that are kept, where the operator has them kept."""


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
        settings = needs.configuration.llm
        self._settings = settings
        self._needs = needs
        self._models: Models | None = None
        self._client = EndpointClient(SecretStore(needs.configuration.secrets.file), _make_client, now)
        self._turns = Turns(Budget(needs.database, settings.tokens_per_day, now), clock)
        self._answers: Cache[dict[str, Any]] = Cache(ANSWERS, settings.cache, clock)
        self._embeddings = Embeddings(self._client, self._turns, Cache(settings.embeddings, now=clock))

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
        found = self._model(model)
        async with self._turns.in_time(caller, timeout) as turn:
            chosen = _chosen(temperature, stop, response_format, seed, tools)
            question = await chat_question(found, messages, max_tokens, chosen)
            kept = self._settings.cache > 0 and (not temperature or self._settings.cache_sampled)
            key = key_of((caller.owner, caller.plugin, found.endpoint), question.digest)
            known = self._answers.get(key) if kept else None
            if known is not None:
                return {**known, "usage": TokenUsage(0).as_value(), "cached": True}
            answer, size = await self._answer(caller, found, question, max_tokens, turn)
        if kept:
            self._answers.put(key, answer, size)
        return answer

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
        found = self._model(model)
        streams = streams_of_this_call(self)
        streams.check_room()
        async with self._turns.in_time(caller, timeout) as turn:
            chosen = _chosen(temperature, stop, response_format, seed, tools)
            question = await chat_question(found, messages, max_tokens, chosen, stream=True)
            stream = Stream(timeout, question.prompt)
            number = streams.add(stream)
            try:
                opened = self._opener(caller, found, question, max_tokens, stream, turn)
                self._needs.background.start("a stream of a model", lambda: stream.run(opened))
                await stream.begun()
            except BaseException:
                streams.close(number)
                raise
        return {"stream": number}

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
        streams = streams_of_this_call(self)
        found = streams.find(stream)
        try:
            text, ending = await found.next(limits.allowed(caller, limits.WHOLE))
        except BaseException:
            streams.close(stream)
            raise
        answer: dict[str, Any] = {"delta": text, "done": False, "finish_reason": None, "usage": None, "tool_calls": []}
        if ending is not None:
            streams.close(stream)
            usage = ending.usage.as_value()
            answer |= {"done": True, "finish_reason": ending.finish_reason, "usage": usage, "tool_calls": ending.calls}
        return answer

    @operation("llm.chat")
    async def chat_close(self, caller: Caller, *, stream: StreamId) -> dict[str, Any]:
        """Closes a stream: the answer is not wanted any more.

        Args:
            stream: of `llm.chat_open`, in this call.

        Returns:
            {closed: whether it was open}
        """
        return {"closed": streams_of_this_call(self).close(stream)}

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
        return await self._embeddings.of(caller, self._model(model), texts, timeout)

    def _model(self, name: str) -> Model:
        if self._models is None:
            self._models = Models(self._settings)
        return self._models.find(name)

    async def _answer(
        self, caller: Caller, model: Model, question: Question, max_tokens: int, turn: list[bool]
    ) -> tuple[dict[str, Any], int]:
        from innkeeper.bridge.web.client import whole

        async with self._turns.spending(caller, question.prompt + max_tokens, turn) as (holding, spent):
            async with self._client.answered(model, "/chat/completions", question.body, most=MOST_CHAT) as answered:
                body = await whole(answered.exchange, holding)
                if len(body) <= SMALL:
                    chat = read_chat(body, answered.placing)
                else:
                    chat = await trio.to_thread.run_sync(read_chat, body, answered.placing)
            usage = chat.usage or TokenUsage(question.prompt, estimate((chat.size,)), estimated=True)
            spent.append(usage)
        answer = {"message": chat.message, "finish_reason": chat.finish_reason, "usage": usage.as_value()}
        return answer | {"model": model.name, "cached": False}, len(body)

    def _opener(
        self, caller: Caller, model: Model, question: Question, max_tokens: int, stream: Stream, turn: list[bool]
    ) -> Callable[[], AbstractAsyncContextManager[Answered]]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[Answered]:
            path, body = "/chat/completions", question.body
            async with self._turns.spending(caller, question.prompt + max_tokens, turn) as (_, spent):
                try:
                    async with self._client.answered(model, path, body, most=MOST_WIRE) as answered:
                        yield answered
                finally:
                    # Of what was broken off, as much is counted as came; of what never began, all that was set aside.
                    if stream.events:
                        spent.append(stream.spent())

        return opened


def _make_client() -> WebClient:
    from innkeeper.bridge.http import make_client

    return make_client()


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
