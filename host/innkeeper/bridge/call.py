"""The service `call`: functions of other plugins.

Guarantees: a plugin reaches only those that its manifest declares and its grant names; what it calls runs under its
own rights, limits and configuration, and no longer than the caller may wait; however that ends, the caller gets a
value; who is cancelled cancels what it calls. Calls inside of calls are bounded by `plugins.chain`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import trio
from pydantic import Field

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.declared import dependency_on, misfit
from innkeeper.bridge.needs import Needs
from innkeeper.bridge.operation import operation
from innkeeper.bridge.quota import Rate
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.errors import BusyError, GuestError, InnkeeperError, Kind, LimitError
from innkeeper.plugins.runs import RunContext
from innkeeper.printable import printable
from innkeeper.sandbox.limits import MIB
from innkeeper.sandbox.present import PresentCall, present_call
from innkeeper.sandbox.usage import Result, Usage

if TYPE_CHECKING:
    from innkeeper.plugins.host import Host
    from innkeeper.plugins.plugin import Plugin

RATE = Rate(per_second=5000, burst=10_000)
"""Calls of one plugin: some 100 us each, so that one plugin cannot fill trio's thread for long."""

MOST_DATA = 1 * MIB
"""Bytes of an input and of an output: each is copied several times on its way, and trio's thread is late meanwhile."""

_MOST_MESSAGE = 500
_SPARED = 1.0
"""Seconds, and at most a quarter of what it has left, that the caller keeps to handle an error in. As much as a host
that is busy may be late: the caller would end otherwise."""


class CallService:
    """Calls plugins for guests."""

    def __init__(self, host: Callable[[], Host], most: int) -> None:
        """Args:
        host: whose plugins they are.
        most: calls under way at once. Each keeps a live guest that waits for another one: where all of them did, none
            would be left to be waited for.
        """
        self._host = host
        self._most = most
        self._under_way = 0

    @operation("call", use="plugin/function")
    async def invoke(
        self,
        caller: Caller,
        *,
        plugin: Annotated[str, Field(min_length=1, max_length=64)],
        function: Annotated[str, Field(min_length=1, max_length=128)],
        data: Annotated[bytes, Field(max_length=MOST_DATA)] = b"",
    ) -> bytes:
        """Calls a function of another plugin, which runs under its own rights and limits and not longer than this call
        may take. The manifest must declare the plugin in its `dependencies`.

        Args:
            plugin: its id.
            function: the name of an exported function.
            data: its input.

        Returns:
            bytes: its output, at most as large as this call's own input may be, and 1 MiB
        """
        callee = self._callee(caller, plugin, function)
        call = present_call()
        if call is None:
            raise ServiceError(Refusal.DENIED, "nobody calls: the call that this belongs to is over")
        if self._under_way >= self._most:
            raise ServiceError(Refusal.BUSY, "too many plugins call plugins at this moment; try again later")
        self._under_way += 1
        try:
            result = await _bounded(callee, function, data, caller.run, call)
        finally:
            self._under_way -= 1
        most = min(MOST_DATA, call.limits.input)
        if len(result.output) > most:
            raise ServiceError(
                Refusal.CALLEE,
                f"it answered with {len(result.output):,} bytes, and at most {most:,} are taken",
                cause=Kind.LIMIT.value,
                limit="output",
            )
        return result.output

    def _callee(self, caller: Caller, plugin: str, function: str) -> Plugin:
        dependency = dependency_on(None if caller.version is None else caller.version.manifest, plugin)
        if dependency is None:
            raise ServiceError(
                Refusal.DENIED,
                f"the plugin's manifest does not declare {plugin!r} in its dependencies",
                capability="call",
            )
        try:
            found = self._host().plugins.get(plugin)
        except InnkeeperError:
            raise ServiceError(Refusal.BUSY, "the host is not open") from None
        if found is None or found.gone is not None:
            raise ServiceError(Refusal.NOT_FOUND, f"there is no plugin {plugin!r}")
        wrong = misfit(dependency, found.manifest)
        if wrong is not None:
            raise ServiceError(Refusal.NOT_FOUND, f"the plugin {plugin!r} does not fit: {wrong}")
        if function not in found.functions:
            raise ServiceError(Refusal.NOT_FOUND, f"the plugin {plugin!r} exports no function {function!r}")
        return found


def make(needs: Needs) -> CallService:
    """The service of a host: half of its guests may wait for the other half."""
    return CallService(needs.host, max(1, needs.configuration.bounds.live_guests // 2))


async def _bounded(callee: Plugin, function: str, data: bytes, run: RunContext | None, call: PresentCall) -> Result:
    left = max(0.0, call.left)
    # It is of the run, for the run's variables, and no node of it: the streams are the caller's.
    context = None if run is None else RunContext(run.run)
    usage: Usage | None = None
    with trio.move_on_after(left - min(left / 4, _SPARED)):
        try:
            result = await callee.call(function, data, run=context)
            usage = result.usage
            return result
        except InnkeeperError as error:
            usage = error.usage
            raise _refusal(error) from None
        finally:
            if usage is not None:
                call.log_of(callee.id, usage)
    raise ServiceError(
        Refusal.CALLEE,
        "it took longer than this call may wait for it",
        cause=Kind.LIMIT.value,
        limit="wall",
    )


def _refusal(error: InnkeeperError) -> ServiceError:
    """What a caller learns of how a call ended: what the called guest says, and nothing of the host."""
    if isinstance(error, BusyError):
        if error.bound == "failures":
            return ServiceError(Refusal.BUSY, "it failed too often and is paused; try again later")
        return ServiceError(Refusal.BUSY, "the host has too much to do to start it; try again later")
    more: dict[str, str | int | float | None] = {"cause": error.kind.value}
    if isinstance(error, LimitError):
        more["limit"] = error.limit
    elif isinstance(error, GuestError):
        more["code"] = error.code
    if error.kind in (Kind.GUEST, Kind.USAGE, Kind.LIMIT, Kind.DENIED):
        message = printable(error.message, _MOST_MESSAGE)
    else:
        message = "it cannot be run; the host's list of plugins says why"
    return ServiceError(Refusal.CALLEE, message, **more)
