"""A guest that lives on between calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from innkeeper.errors import GuestError
from innkeeper.sandbox.depth import check_depth
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.usage import Result

if TYPE_CHECKING:
    from innkeeper.sandbox.program import FiberProgram


class FiberSession:
    """Implements `interface.Session`."""

    def __init__(self, program: FiberProgram, guest: Guest) -> None:
        self._program = program
        self._guest: Guest | None = guest
        self._closed = False
        self._ended = ""

    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        """As `interface.Session.call`."""
        check_depth()
        guest = self._guest
        if guest is None:
            raise GuestError(f"the guest has ended: {self._ended}", plugin=options.plugin, function=function)
        results = self._program.check_function(function, options)
        self._guest = None
        self._ended = "a call is under way, and a guest does one at a time"
        try:
            result = await self._program.call_in(guest, function, results, data, options)
        except BaseException as error:
            if guest.closed:
                self._ended = f"{type(error).__name__}: {error}"
            else:
                self._keep(guest)
            raise
        if guest.closed:
            self._ended = "it exited"
        else:
            self._keep(guest)
        return result

    @property
    def spent(self) -> bool:
        """As `interface.Session.spent`."""
        return self._guest is None

    async def aclose(self) -> None:
        """As `interface.Session.aclose`. A call that is under way finishes first."""
        self._closed = True
        guest, self._guest = self._guest, None
        if guest is not None:
            self._keep(guest)
        await trio.lowlevel.checkpoint()

    def _keep(self, guest: Guest) -> None:
        if self._closed:
            self._ended = "it was closed"
            guest.close()
        else:
            self._guest = guest
