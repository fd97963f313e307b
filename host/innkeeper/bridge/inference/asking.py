"""What the service `llm` does: asks models, keeps answers, opens streams. Imported when the first plugin asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import trio

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.http import make_client
from innkeeper.bridge.inference import limits
from innkeeper.bridge.inference.answers import MOST_CHAT, TokenUsage, read_chat
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
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.secret_store import SecretStore
from innkeeper.bridge.web.client import whole
from innkeeper.sandbox.limits import MIB

ANSWERS: Final = 32 * MIB
"""Bytes of answers that are kept, where the operator has them kept."""


class Asking:
    """Asks models for plugins. The methods are those of `LlmService`, whose page says what they do."""

    def __init__(self, needs: Needs, now: Callable[[], float], clock: Callable[[], float]) -> None:
        """Args:
        needs: what the operator configured, where tokens are counted, and what streams run in.
        now: seconds since 1970; called from any thread.
        clock: seconds of a monotonic clock.
        """
        settings = needs.configuration.llm
        self._settings = settings
        self._needs = needs
        self._models = Models(settings)
        self._client = EndpointClient(SecretStore(needs.configuration.secrets.file), make_client, now)
        self._turns = Turns(Budget(needs.database, settings.tokens_per_day, now), clock)
        self._answers: Cache[dict[str, Any]] = Cache(ANSWERS, settings.cache, clock)
        self._embeddings = Embeddings(self._client, self._turns, Cache(settings.embeddings, now=clock))

    async def chat(
        self,
        caller: Caller,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        max_tokens: int,
        timeout: float,
        chosen: Mapping[str, Any],
    ) -> dict[str, Any]:
        """As `LlmService.chat`; `chosen` is what else the guest said, by the API's names."""
        found = self._models.find(model)
        async with self._turns.in_time(caller, timeout) as turn:
            question = await chat_question(found, messages, max_tokens, chosen)
            kept = self._settings.cache > 0 and (not chosen.get("temperature") or self._settings.cache_sampled)
            key = key_of((caller.owner, caller.plugin, found.endpoint), question.digest)
            known = self._answers.get(key) if kept else None
            if known is not None:
                return {**known, "usage": TokenUsage(0).as_value(), "cached": True}
            answer, size = await self._answer(caller, found, question, max_tokens, turn)
        if kept:
            self._answers.put(key, answer, size)
        return answer

    async def chat_open(
        self,
        caller: Caller,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        max_tokens: int,
        timeout: float,
        chosen: Mapping[str, Any],
    ) -> dict[str, Any]:
        """As `LlmService.chat_open`."""
        found = self._models.find(model)
        streams = streams_of_this_call(self)
        streams.check_room()
        async with self._turns.in_time(caller, timeout) as turn:
            question = await chat_question(found, messages, max_tokens, chosen, stream=True)
            stream = Stream(timeout, question.prompt)
            number = streams.add(stream)
            try:
                opened = self._opener(caller, found, question, max_tokens, stream, turn)
                if not self._needs.background.start("a stream of a model", lambda: stream.run(opened)):
                    raise ServiceError(Refusal.UNAVAILABLE, "the host closes")
                await stream.begun()
            except BaseException:
                streams.close(number)
                raise
        return {"stream": number}

    async def chat_next(self, caller: Caller, number: int) -> dict[str, Any]:
        """As `LlmService.chat_next`."""
        streams = streams_of_this_call(self)
        stream = streams.find(number)
        try:
            text, ending = await stream.next(limits.allowed(caller, limits.WHOLE))
        except BaseException:
            streams.close(number)
            raise
        answer: dict[str, Any] = {"delta": text, "done": False, "finish_reason": None, "usage": None, "tool_calls": []}
        if ending is not None:
            streams.close(number)
            usage = ending.usage.as_value()
            answer |= {"done": True, "finish_reason": ending.finish_reason, "usage": usage, "tool_calls": ending.calls}
        return answer

    def chat_close(self, number: int) -> dict[str, Any]:
        """As `LlmService.chat_close`."""
        return {"closed": streams_of_this_call(self).close(number)}

    async def embed(self, caller: Caller, model: str, texts: Sequence[str], timeout: float) -> dict[str, Any]:
        """As `LlmService.embed`."""
        return await self._embeddings.of(caller, self._models.find(model), texts, timeout)

    async def _answer(
        self, caller: Caller, model: Model, question: Question, max_tokens: int, turn: list[bool]
    ) -> tuple[dict[str, Any], int]:
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
