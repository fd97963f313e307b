"""What services do while no guest asks them: delivering, sweeping, running what is due."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

logger = logging.getLogger("innkeeper.bridge")


class Background:
    """Tasks that end with the bridge. One that fails is reported and over; it ends neither the host nor another one.

    They are system tasks: a guest's call that starts one by what it asks for does not wait for it, and its
    cancellation, deadline and place in the chain of calls are not theirs.
    """

    def __init__(self) -> None:
        self._scopes: dict[object, tuple[trio.CancelScope, trio.Event]] = {}
        self._closed = False

    @trio.lowlevel.enable_ki_protection
    def start(self, name: str, function: Callable[[], Awaitable[None]]) -> bool:
        """Starts a task; nothing once the bridge closes.

        Args:
            name: what it does, for the log.
            function: the task. What it raises is logged.

        Returns:
            whether it was started.
        """
        if self._closed:
            return False
        key = object()
        self._scopes[key] = trio.CancelScope(), trio.Event()
        trio.lowlevel.spawn_system_task(self._run, key, name, function, name=f"innkeeper {name}")
        return True

    async def _run(self, key: object, name: str, function: Callable[[], Awaitable[None]]) -> None:
        scope, over = self._scopes[key]
        try:
            with scope:
                await function()
        except Exception:
            logger.exception("%s failed and is over until the host starts again", name)
        finally:
            del self._scopes[key]
            over.set()

    async def aclose(self) -> None:
        """Cancels all tasks and waits for their ends. A task may not call it."""
        self._closed = True
        for scope, _ in list(self._scopes.values()):
            scope.cancel()
        for _, over in list(self._scopes.values()):
            await over.wait()
