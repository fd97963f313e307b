"""The tokens that a plugin may use in a day."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Final

import trio

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.errors import BusyError, InnkeeperError
from innkeeper.storage.llm_model import Reserved, UsedUpError

if TYPE_CHECKING:
    from innkeeper.storage.database import Database
    from innkeeper.storage.llm_usage import LlmUsageStore

logger = logging.getLogger("innkeeper.bridge")

_BYTES = 3
"""Bytes of a token, where nobody counts them: English has four and a half, other languages fewer."""

_AROUND: Final = 8
"""Tokens around a message or a text."""


def estimate(sizes: Iterable[int]) -> int:
    """Tokens of texts of so many bytes each (int), about."""
    return sum(-(-size // _BYTES) + _AROUND for size in sizes)


class Budget:
    """Sets tokens aside before a request, and settles after it.

    What is not settled stays used: whoever breaks a request off gets nothing back, since the endpoint may have
    answered.
    """

    def __init__(self, database: Callable[[], Awaitable[Database]], per_day: int, now: Callable[[], float]) -> None:
        """Args:
        database: opens where it is kept, at the first need.
        per_day: tokens of one plugin and owner.
        now: seconds since 1970.
        """
        self._database = database
        self._per_day = per_day
        self._now = now
        self._kept: LlmUsageStore | None = None

    async def reserve(self, caller: Caller, tokens: int) -> Reserved:
        """Sets tokens of today aside.

        Raises:
            ServiceError: so many are not left, or the store is busy.
        """
        try:
            store = await self._store()
            return await store.reserve(caller.owner, caller.plugin, tokens, self._per_day)
        except UsedUpError as error:
            raise ServiceError(
                Refusal.QUOTA,
                f"the request may use {tokens:,} tokens, and of the {self._per_day:,} that the plugin has for a day "
                f"{error.left:,} are left; ask for less, or tomorrow (UTC)",
                quota="tokens",
                value=self._per_day,
                left=error.left,
            ) from None
        except BusyError:
            raise ServiceError(Refusal.BUSY, "the store is busy; try again later") from None
        except InnkeeperError as error:
            logger.warning("llm: nothing is asked, since tokens cannot be counted: %s", error.message)
            raise ServiceError(
                Refusal.FAILED, "tokens cannot be counted, so models are not asked; the host's log says why"
            ) from None

    async def settle(self, reserved: Reserved, tokens: int, *, estimated: bool) -> None:
        """Puts what was used in place of what was set aside. Where that fails it is logged: there is an answer."""
        try:
            store = await self._store()
            await store.settle(reserved, tokens, estimated=estimated)
        except InnkeeperError as error:
            logger.warning("llm: what was set aside stays used: %s", error.message)

    async def _store(self) -> LlmUsageStore:
        if self._kept is None:
            database = await self._database()
            # Building statements takes a while: not on trio's thread.
            module = await trio.to_thread.run_sync(import_module, "innkeeper.storage.llm_usage")
            if self._kept is None:
                self._kept = module.LlmUsageStore(database, now=self._now)
        return self._kept
