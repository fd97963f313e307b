"""One socket: what it watches, and what goes to it, one message after the other.

Guarantees: the events of a run come in order, each once, and nothing of it follows the status that it ended with. A
client that reads too slowly keeps nobody waiting, and is closed once it has read nothing for a while.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

import trio

from innkeeper.errors import InnkeeperError
from innkeeper.server.answers import AnswerError
from innkeeper.server.identity import Identity
from innkeeper.server.live.handlers import handle
from innkeeper.server.live.messages import OURS, encoded_object
from innkeeper.server.live.protocol import WATCHED, read_message
from innkeeper.server.wire.outlets import OUTBOX_BYTES, Outlet
from innkeeper.storage.run_model import StoredRun
from innkeeper.workflow.engine.events import ACCEPTED

if TYPE_CHECKING:
    from innkeeper.server.parts import Parts

logger = logging.getLogger("innkeeper.server")

TOO_LARGE: Final = 1009
"""The code that closes a WebSocket whose client sent too large a message."""

UNSUPPORTED: Final = 1003
"""The same for bytes in place of text."""

BATCH: Final = OUTBOX_BYTES // 2
"""Bytes of messages that go together: with their frames they fit into an outbox."""

SLOWEST: Final = 32 * 1024
"""Bytes a second that a client which is not slow reads: less than the slowest mobile network gives."""

_MANY: Final = 256

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def taken(outlet: Outlet, seconds: float, size: int) -> bool:
    """Waits until a client has taken what waits for it; one that takes too long is lost.

    Args:
        outlet: where messages for it go.
        seconds: for which one waits, besides what the slowest network needs for so many bytes; 0: for ever.
        size: bytes that were sent last.

    Returns:
        False: it is lost.
    """
    with trio.move_on_after(seconds + size / SLOWEST if seconds else float("inf")) as waiting:
        await outlet.emptied()
    if waiting.cancelled_caught:
        outlet.lose("slow")
    return outlet.loss is None


class Session:
    """A client's socket.

    Attributes:
        parts: of the server.
        identity: whose it is.
        ours: whether the client knows more than ComfyTavern's messages.
    """

    def __init__(self, parts: Parts, identity: Identity, outlet: Outlet, *, ours: bool = False) -> None:
        """Args:
        parts: of the server.
        identity: who it is.
        outlet: where its messages go.
        ours: whether it is sent events that ComfyTavern does not have, from the beginning.
        """
        self.parts = parts
        self.identity = identity
        self.ours = ours
        self._outlet = outlet
        self._sending = trio.Lock()
        self._sent = 0
        self._watching: dict[str, trio.CancelScope] = {}
        self._tasks: trio.Nursery | None = None

    async def run(self, receive: Receive) -> int | None:
        """Answers what the client sends, until it leaves.

        Args:
            receive: gives the next message of the client, as ASGI has it.

        Returns:
            The code that the socket is closed with, or None where the client has left.
        """
        with self.parts.live.board.hearing() as ear:
            async with trio.open_nursery() as tasks:
                self._tasks = tasks

                async def tell() -> None:
                    async for text in ear:
                        await self.send(text)

                tasks.start_soon(tell)
                code = await self._receive(receive)
                tasks.cancel_scope.cancel()
        return code

    async def _receive(self, receive: Receive) -> int | None:
        most = self.parts.settings.message_size
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                return None
            text = message.get("text")
            if text is None:
                return UNSUPPORTED
            if len(text) > most:
                return TOO_LARGE
            try:
                await handle(self, await read_message(text))
            except AnswerError as error:
                await self.error(error.error, error.details)
            except InnkeeperError as error:
                await self.error(error.message, {"kind": error.kind.value})
            except Exception:
                # A defect of one message ends no socket, and what it says may name what is nobody's business.
                logger.exception("a message of a socket could not be answered")
                await self.error("Error processing message: the server failed; its log says more")

    # --- sending ----------------------------------------------------------------------------------------------------

    async def say(self, kind: str, payload: Any) -> None:
        """Sends a message that is no event of a run."""
        await self.send(encoded_object(kind, payload))

    async def error(self, message: str, details: Any = None) -> None:
        """Sends an error: a sentence, and plain data beside it."""
        await self.say("error", {"message": message} if details is None else {"message": message, "details": details})

    async def send(self, *texts: bytes) -> None:
        """Sends messages (JSON in UTF-8), once what was sent before has gone; returns at once where the client is
        lost. They have `BATCH` bytes together, or it is one."""
        async with self._sending:
            if not await taken(self._outlet, self.parts.settings.stall_timeout, self._sent):
                return
            self._sent = sum(map(len, texts))
            for text in texts:
                self._outlet.write(text)

    # --- watching ---------------------------------------------------------------------------------------------------

    def room(self) -> None:
        """Makes sure that one more run can be watched.

        Raises:
            AnswerError: 429.
        """
        if len(self._watching) >= WATCHED:
            raise AnswerError(429, f"one socket watches {WATCHED} runs at most: send UNSUBSCRIBE for one")

    def watch(self, run: StoredRun, after: int = 0, *, submitted: bool = False) -> None:
        """Sends the events of a run from now on; whether the client may have them, the caller has made sure of.

        Args:
            run: the run. Where it is watched already, it is watched anew.
            after: number of the last event that the client has.
            submitted: whether the client just submitted it here, and was told that it is accepted.

        Raises:
            AnswerError: 429: it watches too many.
        """
        self.leave(run.id)
        self.room()
        scope = self._watching[run.id] = trio.CancelScope()
        assert self._tasks is not None
        self._tasks.start_soon(self._follow, run, after, scope, submitted)

    def leave(self, run: str) -> bool:
        """Sends nothing more of a run (its id); whether it was watched."""
        scope = self._watching.pop(run, None)
        if scope is None:
            return False
        scope.cancel()
        return True

    async def _follow(self, run: StoredRun, after: int, scope: trio.CancelScope, submitted: bool) -> None:
        try:
            with scope:
                try:
                    await self._events(run, after, submitted)
                except InnkeeperError as error:
                    await self.error(error.message, {"kind": error.kind.value, "promptId": run.id})
        except Exception:
            logger.exception("the events of the run %s could not be sent", run.id)
        finally:
            if self._watching.get(run.id) is scope:
                del self._watching[run.id]

    async def _events(self, run: StoredRun, after: int, submitted: bool) -> None:
        live = self.parts.live
        async with live.feeds.watch(run, after, who=self.identity.uid) as watcher:
            async for first in watcher:
                batch = [first, *watcher.ready(_MANY, BATCH - first.size)]
                texts = [
                    message.text
                    for message in batch
                    if (self.ours or message.kind not in OURS) and not (submitted and message.kind == ACCEPTED)
                ]
                if texts:
                    await self.send(*texts)
                for message in batch:
                    if message.upto and not self.ours:
                        # Nobody takes for whole what is not.
                        about = {"promptId": run.id, "upto": message.upto}
                        await self.error("chunks of streams came faster than they were read, and are gone", about)
                    if message.ends:
                        await self.send(await live.board.queue())
