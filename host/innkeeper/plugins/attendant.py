"""What stands around the calls of a host's plugins: somebody who records them, remembers them, or counts how they end.

A host has at most one attendant, which may have others inside of it (`Attendants`). Without one a call goes its way
as if there were none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from innkeeper.plugins.owner import present_owner

if TYPE_CHECKING:
    from innkeeper.errors import InnkeeperError
    from innkeeper.plugins.generation import Generation
    from innkeeper.plugins.runs import RunContext
    from innkeeper.sandbox.interface import CallOptions
    from innkeeper.sandbox.usage import Result

Proceed = Callable[["CallOptions"], Awaitable["Result"]]
"""Makes the call, with these options, and gives or raises what `Plugin.call` does. To be called once at most."""


@dataclass(frozen=True, slots=True)
class PluginCall:
    """A call that is about to be made. Everything about it was checked.

    Attributes:
        version: of the plugin.
        function: of the guest.
        data: its input.
        options: what it is to be made with.
        run: what it belongs to, or None.
        shared: whether its guest has served calls before, or will serve more.
        owner: whose data it works on.
    """

    version: Generation
    function: str
    data: bytes
    options: CallOptions
    run: RunContext | None
    shared: bool
    owner: str = field(default_factory=present_owner)


class Attendant(Protocol):
    """Sees each call of a host's plugins, one made by another plugin included."""

    async def attend(self, call: PluginCall, proceed: Proceed) -> Result:
        """Lets a call be made, or answers it.

        What `proceed` raises is to be raised on; `trio.Cancelled` at once. The call's own clock does not run here, so
        nothing may wait that is not part of the call.
        """
        ...


class Overseer(Protocol):
    """Decides whether a plugin takes calls at all, by how those before ended. Unlike an attendant it costs a call that
    goes well nothing.
    """

    @property
    def paused(self) -> Mapping[Any, Any]:
        """What keeps plugins from being called; `admit` is left out as long as it is empty."""
        ...

    async def admit(self, version: Generation, function: str) -> None:
        """Lets a call begin.

        Raises:
            BusyError: the plugin is paused.
        """
        ...

    def failed(self, version: Generation, options: CallOptions, error: InnkeeperError) -> None:
        """A call that began ended with this error."""
        ...


class Attendants:
    """Several attendants, the first outermost."""

    def __init__(self, attendants: Sequence[Attendant]) -> None:
        self._attendants = tuple(attendants)

    async def attend(self, call: PluginCall, proceed: Proceed) -> Result:
        """As `Attendant.attend`."""
        return await self._attend(0, call, proceed, call.options)

    async def _attend(self, position: int, call: PluginCall, proceed: Proceed, options: CallOptions) -> Result:
        if position == len(self._attendants):
            return await proceed(options)
        if options is not call.options:
            call = replace(call, options=options)
        return await self._attendants[position].attend(call, partial(self._attend, position + 1, call, proceed))
