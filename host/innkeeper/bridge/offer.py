"""All services with their operations, and the host functions that they become."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.gate import Gate
from innkeeper.bridge.kv import RATE as KV_RATE
from innkeeper.bridge.kv import KvService
from innkeeper.bridge.operation import Operation, operations_of
from innkeeper.bridge.quota import Rate
from innkeeper.sandbox.interface import HostFunction

if TYPE_CHECKING:
    from innkeeper.storage.database import Database

SERVICES: Final[tuple[tuple[str, type[object], Rate], ...]] = (("kv", KvService, KV_RATE),)
"""Name, class and rate of each service."""


def operations() -> tuple[Operation, ...]:
    """All operations of all services."""
    return tuple(each for name, service, _ in SERVICES for each in operations_of(service, name))


class Offer:
    """What a host offers.

    Attributes:
        gate: what each call passes.
    """

    def __init__(self, caller: Callable[[], Caller | None], database: Callable[[], Awaitable[Database]]) -> None:
        """Args:
        caller: says who calls.
        database: opens where services keep things, at the first need.
        """
        self.gate = Gate(caller)
        services: dict[str, object] = {"kv": KvService(database)}
        self._functions: dict[str, list[HostFunction]] = {}
        for name, kind, rate in SERVICES:
            for operation in operations_of(kind, name):
                function = self.gate.function(services[name], operation, rate)
                self._functions.setdefault(operation.capability, []).append(function)

    def functions(self, capabilities: Iterable[str]) -> list[HostFunction]:
        """The host functions that belong to these capabilities."""
        return [function for name in dict.fromkeys(capabilities) for function in self._functions.get(name, ())]
