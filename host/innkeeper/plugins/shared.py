"""The one guest of a plugin that keeps state: one call at a time, and what ends it ends it for everyone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio

from innkeeper.errors import BusyError, GuestError, InnkeeperError, UsageError
from innkeeper.plugins.chain import entered, inside
from innkeeper.sandbox.interface import CallOptions, Program, Session
from innkeeper.sandbox.usage import Result

WAITING = "shared guest"
"""Name of the bound at which callers of one guest wait."""


class SharedGuest:
    """Starts the guest at the first call and keeps it.

    Args:
        program: gives the compiled module.
        options: limits and configuration of the guest itself; each call has its own for what it uses.
    """

    def __init__(self, program: Callable[[], Awaitable[Program]], options: CallOptions) -> None:
        self._program = program
        self._options = options
        self._lock = trio.Lock()
        self._session: Session | None = None
        self._ended: str | None = None

    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        """One call, after those that came before it.

        Raises:
            UsageError: the caller is itself inside of a call of this guest.
            GuestError: the guest has ended; the message says what ended it.
            BusyError: the calls before it took until its deadline.
            InnkeeperError: as `Session.call`.
        """
        if inside(self):
            raise UsageError("the plugin is called from within its own call; its shared guest runs one call at a time")
        with entered(self, options.limits.nesting):
            options = await self._turn(options)
            try:
                return await self._in_turn(function, data, options)
            finally:
                self._lock.release()

    async def _in_turn(self, function: str, data: bytes, options: CallOptions) -> Result:
        if self._ended is not None:
            raise GuestError(f"the plugin's shared guest has ended: {self._ended}; it must be restarted first")
        if self._session is None:
            program = await self._program()
            self._session = await program.open(self._options)
        session = self._session
        try:
            result = await session.call(function, data, options)
        except BaseException as error:
            # An engine may say that the guest outlived an error which it reported itself, in good order.
            if getattr(session, "spent", True):
                self._ended = _what_ended(error)
                await self._close()
            raise
        if self._session is not session:
            # The host was closed meanwhile, when the guest could not be ended yet.
            with trio.CancelScope(shield=True):
                await session.aclose()
        return result

    async def restart(self) -> None:
        """Ends the guest, if there is one, once the present call is over; the next call starts another.

        Raises:
            UsageError: the caller is itself inside of a call of this guest.
        """
        if inside(self):
            raise UsageError("the plugin is restarted from within its own call")
        async with self._lock:
            await self._close()
            self._ended = None

    async def aclose(self) -> None:
        """Ends the guest. Further calls raise `GuestError`."""
        self._ended = "the host was closed"
        await self._close()

    async def _turn(self, options: CallOptions) -> CallOptions:
        """Takes the lock; the wait counts against the call's wall clock."""
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            before = trio.current_time()
            with trio.move_on_after(options.limits.wall) as scope:
                await self._lock.acquire()
            if scope.cancelled_caught:
                raise BusyError(
                    f"the plugin's shared guest runs one call at a time and was not free for {options.limits.wall:g} s",
                    bound=WAITING,
                ) from None
            left = max(options.limits.wall - (trio.current_time() - before), 0.001)
            return replace(options, limits=replace(options.limits, wall=left))
        return options

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with trio.CancelScope(shield=True):
                await session.aclose()


def _what_ended(error: BaseException) -> str:
    if isinstance(error, InnkeeperError):
        return error.message
    if isinstance(error, trio.Cancelled | KeyboardInterrupt):
        return "a call was cancelled"
    return f"a host function failed with {type(error).__name__}"
