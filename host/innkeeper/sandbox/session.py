"""A guest that lives on between calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from innkeeper.errors import GuestError
from innkeeper.sandbox import driver
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.depth import check_depth
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.usage import Result

if TYPE_CHECKING:
    from innkeeper.sandbox.program import FiberProgram


class FiberSession:
    """Implements `interface.Session`.

    The guest is closed after an exit, and after an error unless it reported one of its own in good order.
    """

    def __init__(self, program: FiberProgram, guest: Guest) -> None:
        self._program = program
        self._guest: Guest | None = guest
        self._closed = False
        self._ended = ""
        # Until there is a call that can tell what it logged.
        self._start: Call | None = guest.call

    @trio.lowlevel.enable_ki_protection
    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        """As `interface.Session.call`."""
        check_depth()
        guest, program = self._guest, self._program
        if guest is None:
            raise GuestError(f"the guest has ended: {self._ended}", plugin=options.plugin, function=function)
        results = program.check_function(function, options)
        await trio.lowlevel.checkpoint_if_cancelled()
        call = Call(function, data, options)
        if self._start is not None:
            call.take_log(self._start)
            self._start = None
        places, amount = program.places, len(data)
        self._guest = None
        self._ended = "a call is under way, and a guest does one at a time"
        untouched = True
        try:
            if program.loop_budget.left <= 0:
                await program.turn(call)
            if not places.enter(amount):
                await places.wait_to_enter(call.clock, amount)
            try:
                guest.call = call
                untouched = False
                try:
                    guest.hold_kernel()
                    guest.forget_refusals()
                    output = await driver.invoke(guest, function, results, data)
                finally:
                    guest.finish_call()
            finally:
                places.leave(amount)
        except BaseException as error:
            # One that waited in vain has not touched the guest.
            if not (call.orderly or untouched):
                guest.close()
            try:
                call.end(error)
                raise
            except BaseException as final:
                self._ended = f"{type(final).__name__}: {final}"
                self._keep(guest)
                raise
        if call.failure is not None:
            self._ended = "it exited"
            guest.close()
        self._keep(guest)
        return call.result(output)

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
        if guest.closed:
            return
        if self._closed:
            self._ended = "it was closed"
            guest.close()
        else:
            self._guest = guest
