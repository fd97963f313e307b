"""The one guest of a plugin that keeps state: one call at a time, and what ends it ends it for everyone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from innkeeper.errors import BusyError, GuestError, InnkeeperError
from innkeeper.sandbox.interface import CallOptions, Program, Session
from innkeeper.sandbox.usage import Result

WAITING = "shared guest"
"""Name of the bound at which callers of one guest wait."""


class Turn:
    """Whose turn it is among the callers of a plugin, first come, first served. It outlives the plugin's versions: a
    new guest does not start before the old one's call is over, and who waits meanwhile gets the new one."""

    __slots__ = ("_line", "_taken")

    def __init__(self) -> None:
        # Not a `trio.Lock`: that costs a microsecond, a tenth of a call. A turn that is given goes to the first in line
        # without being free in between.
        self._line = trio.lowlevel.ParkingLot()
        self._taken = False

    def take_now(self) -> bool:
        """Takes the turn if it is nobody's."""
        if self._taken:
            return False
        self._taken = True
        return True

    async def take(self, wall: float) -> float:
        """Waits for the caller's turn; `give` ends it.

        Args:
            wall: seconds that it may take.

        Returns:
            float: seconds that it took.

        Raises:
            BusyError: it took longer.
        """
        if self.take_now():
            return 0.0
        before = trio.current_time()
        with trio.move_on_after(wall) as scope:
            await self._line.park()
        if scope.cancelled_caught:
            raise BusyError(
                f"the plugin's shared guest runs one call at a time and was not free for {wall:g} s",
                bound=WAITING,
            ) from None
        return trio.current_time() - before

    def give(self) -> None:
        """The turn is over."""
        if self._line:
            self._line.unpark()
        else:
            self._taken = False


class SharedGuest:
    """Starts the guest at the first call and keeps it. Its users take turns.

    Args:
        program: gives the compiled module.
        options: limits and configuration of the guest itself; each call has its own for what it uses.
    """

    def __init__(self, program: Callable[[], Awaitable[Program]], options: CallOptions) -> None:
        self._program = program
        self._options = options
        self._session: Session | None = None
        self._ended: str | None = None
        self._closed = False

    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        """One call, by whose turn it is.

        Raises:
            GuestError: the guest has ended; the message says what ended it.
            InnkeeperError: as `Session.call`.
        """
        if self._ended is not None:
            raise GuestError(f"the plugin's shared guest has ended: {self._ended}; it must be restarted first")
        if self._session is None:
            program = await self._program()
            self._session = await program.open(self._options)
        session = self._session
        try:
            return await session.call(function, data, options)
        except BaseException as error:
            # It outlives an error of its own that it reported in good order.
            if session.spent:
                self._ended = _what_ended(error)
                await self._end()
            raise
        finally:
            if self._closed:
                # Closed meanwhile, when the guest could not be ended yet.
                with trio.CancelScope(shield=True):
                    await session.aclose()

    async def restart(self) -> None:
        """Ends the guest, if there is one; the next call starts another. By whose turn it is."""
        await self._end()
        self._ended = None

    async def aclose(self) -> None:
        """Ends the guest, once the present call is over. Further calls raise `GuestError`."""
        self._closed = True
        self._ended = "the host was closed"
        await self._end()

    async def _end(self) -> None:
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
