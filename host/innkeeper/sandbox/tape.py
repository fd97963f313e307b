"""What stands between a guest and the host where a call is recorded, or run again from a recording.

A guest meets the world through its host functions and through those of WASI's that show something of it. Whoever keeps
what all of these were asked and answered can run the same guest again to the same end, bit for bit, with nothing behind
them. All else that a guest is given (configuration, variables, memory, arguments, log) its module, input and options
decide, so it runs as always.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from innkeeper.sandbox.interface import Answer, HostFunction
    from innkeeper.sandbox.wasi import GuestMemory, Later, Wasi, WasiFunction


class Tape(Protocol):
    """Records one call, or plays one back. What it raises ends the call and is raised by it, as it is.

    Its methods are called one at a time, in the order in which the guest asks; `quick` and `system` also from the
    engine's worker threads.
    """

    def asks(self, function: HostFunction) -> Callable[..., Awaitable[Answer]]:
        """What is called, and awaited on trio's thread, in place of the handler of a function that may wait. It is
        called with the same arguments."""
        ...

    def quick(self, function: HostFunction, values: Sequence[Any]) -> Answer:
        """What a quick function answers to these arguments, without waiting."""
        ...

    def system(self, function: WasiFunction, wasi: Wasi, memory: GuestMemory, arguments: Sequence[int]) -> int | Later:
        """What one of WASI's functions answers; as `WasiFunction.handler`.

        Raises:
            ProcExit: the guest ends itself.
        """
        ...
