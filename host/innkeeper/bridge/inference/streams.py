"""An answer that comes in pieces, for one call of a guest: read ahead as far as a bounded queue goes, then no further,
so that the endpoint waits for the guest. It ends with the call, and before it where the guest leaves it alone."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from innkeeper.bridge.inference.answers import (
    MOST_EVENT,
    Piece,
    TokenUsage,
    check_message,
    made_call,
    read_piece,
)
from innkeeper.bridge.inference.budget import estimate
from innkeeper.bridge.inference.faults import unusable
from innkeeper.bridge.inference.sse import EventParser, TooLongError
from innkeeper.bridge.inference.withholding import Withholding
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.secret_placing import Placing
from innkeeper.bridge.web.giveway import GiveWay
from innkeeper.sandbox.limits import KIB, MIB

if TYPE_CHECKING:
    from innkeeper.bridge.inference.client import Answered

QUEUE: Final = 64 * KIB
"""Bytes that wait for the guest before the endpoint has to."""

MOST_WIRE: Final = 32 * MIB
"""Bytes of an answer as it is sent: each token comes in some 300 bytes of JSON."""

IDLE: Final = 60.0
"""Seconds after which a stream that its guest does not ask for more is closed."""

_MOST_CALLS: Final = 256 * KIB
_SLICE: Final = 2 * KIB
"""Bytes that are parsed in one go: a server chooses how many lines and events these are."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ended.

    Attributes:
        finish_reason: why, or None.
        calls: calls of tools, as guests get them.
        usage: as it was reported, or an estimate.
    """

    finish_reason: str | None
    calls: list[dict[str, Any]]
    usage: TokenUsage


class Stream:
    """One answer in pieces, between the task that reads it and the guest that takes it.

    Attributes:
        scope: of the task that reads.
        events: pieces that came.
    """

    def __init__(self, seconds: float, prompt: int) -> None:
        """Args:
        seconds: that the whole may take.
        prompt: tokens of the question, about.
        """
        self.scope = trio.CancelScope(deadline=trio.current_time() + seconds)
        self.events = 0
        self._prompt = prompt
        self._bytes = 0
        self._usage: TokenUsage | None = None
        self._idle = trio.CancelScope()
        self._closed = False
        self._over = False
        self._begun = False
        self._texts: list[str] = []
        self._size = 0
        self._ending: Ending | None = None
        self._failure: ServiceError | None = None
        self._waiting = trio.lowlevel.ParkingLot()
        self._calls: dict[int, dict[str, list[str]]] = {}
        self._calls_size = 0

    # --- what the guest's side does ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends it; nothing more is read."""
        self._closed = True
        self.scope.cancel()

    async def begun(self) -> None:
        """Waits until the endpoint begins to answer.

        Raises:
            ServiceError: it does not.
        """
        while not self._begun and self._failure is None:
            await self._waiting.park()
        if self._failure is not None:
            raise self._failure

    async def next(self, seconds: float) -> tuple[str, Ending | None]:
        """What has come since the last time, and how the answer ended, once all of it was taken. Waits until there is
        something, so many seconds at most; then the text is "".

        Raises:
            ServiceError: the answer ended before its end.
        """
        self._idle.deadline = math.inf
        try:
            with trio.move_on_after(seconds):
                while not self._texts and self._ending is None and self._failure is None:
                    await self._waiting.park()
        finally:
            self._idle.deadline = trio.current_time() + IDLE
        text = "".join(self._texts)
        self._texts.clear()
        self._size = 0
        self._waiting.unpark_all()
        if text:
            return text, None
        if self._failure is not None:
            raise self._failure
        return "", self._ending

    def spent(self) -> TokenUsage:
        """The tokens of what came (TokenUsage): as the endpoint reports them at the end, or by what there is."""
        if self._over and self._usage is not None:
            return self._usage
        # Commonly each piece is a token. What is reported in between is of less than came, or of more: there are models
        # that think without a word.
        reported = 0 if self._usage is None else self._usage.completion
        came = max(self.events, estimate((self._bytes,)), reported)
        return TokenUsage(self._prompt, came, estimated=True)

    # --- what the task does that reads ------------------------------------------------------------------------------

    async def run(self, opened: Callable[[], AbstractAsyncContextManager[Answered]]) -> None:
        """Reads the answer to its end. What goes wrong is for the guest, not for whoever runs this.

        Args:
            opened: the endpoint's answer; raises ServiceError.
        """
        try:
            with self.scope:
                async with opened() as answered:
                    self._begun = True
                    self._waiting.unpark_all()
                    self._idle.deadline = trio.current_time() + IDLE
                    with self._idle:
                        await self._read(answered)
                        return
                    raise ServiceError(Refusal.FAILED, f"the stream was not asked for {IDLE:g} s, and is closed")
            over = "the stream is closed" if self._closed else "the answer was not over in time"
            self._failure = ServiceError(Refusal.FAILED, over)
        except ServiceError as error:
            self._failure = error
        finally:
            if self._ending is None and self._failure is None:
                self._failure = ServiceError(Refusal.FAILED, "the answer broke off")
            self._waiting.unpark_all()

    async def _read(self, answered: Answered) -> None:
        kind = " ".join(answered.head.all("content-type")).partition(";")[0].strip().lower()
        if kind != "text/event-stream":
            raise unusable("it does not stream")
        withholding = Withholding(answered.placing)
        reason: str | None = None
        async with aclosing(_events(answered)) as events:
            async for data in events:
                if data == b"[DONE]":
                    break
                piece = read_piece(data)
                self.events += 1
                self._usage = piece.usage or self._usage
                reason = piece.finish_reason or reason
                self._keep_calls(piece)
                if piece.text:
                    self._bytes += len(piece.text.encode())
                    await self._put(withholding.feed(piece.text))
            else:
                if reason is None:
                    raise unusable("the answer ends in the midst")
        self._over = True
        await self._put(withholding.rest())
        self._ending = Ending(reason, self._made_calls(answered.placing), self.spent())

    async def _put(self, text: str) -> None:
        if not text:
            return
        while self._size >= QUEUE:
            await self._waiting.park()
        self._texts.append(text)
        self._size += len(text.encode())
        self._waiting.unpark_all()

    def _keep_calls(self, piece: Piece) -> None:
        for number, parts in piece.calls:
            kept = self._calls.setdefault(number, {"id": [], "name": [], "arguments": []})
            for key, text in parts.items():
                size = len(text.encode())
                # Some servers say id and name again with each part.
                if key != "arguments":
                    kept[key] = [text] if text else kept[key]
                else:
                    kept[key].append(text)
                self._bytes += size
                self._calls_size += size + _PART
        if self._calls_size > _MOST_CALLS:
            raise unusable("its calls of tools are too long")

    def _made_calls(self, placing: Placing) -> list[dict[str, Any]]:
        made = [
            made_call(*("".join(kept[key]) for key in ("id", "name", "arguments")))
            for _, kept in sorted(self._calls.items())
        ]
        check_message({"content": None, "tool_calls": made}, placing)
        return made


_PART: Final = 16
"""Bytes that a part counts besides its text."""


async def _events(answered: Answered) -> AsyncGenerator[bytes, None]:
    parser, way = EventParser(MOST_EVENT), GiveWay()
    async with aclosing(answered.exchange.body()) as body:
        async for piece in body:
            way.begin()
            for at in range(0, len(piece), _SLICE):
                try:
                    for event in parser.feed(piece[at : at + _SLICE]):
                        yield event
                        await way.often()
                except TooLongError:
                    raise unusable("its answer has too long a line, or too many") from None
                await way.often()
