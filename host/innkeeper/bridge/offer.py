"""All services with their operations, and the host functions that they become."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from innkeeper.bridge import call, config, events, http, kb, kv, llm, log, scheduler, secrets, stream, vars
from innkeeper.bridge.caller import Caller
from innkeeper.bridge.extism_http import extism_functions
from innkeeper.bridge.gate import Gate
from innkeeper.bridge.needs import Needs
from innkeeper.bridge.operation import Operation, operations_of
from innkeeper.bridge.secret_store import SecretStore
from innkeeper.bridge.service import Closing, ServiceKind, Serving
from innkeeper.sandbox.interface import HostFunction

SERVICES: Final[tuple[ServiceKind, ...]] = (
    ServiceKind("log", log.LogService, None, lambda needs: log.LogService()),
    ServiceKind("config", config.ConfigService, None, lambda needs: config.ConfigService()),
    ServiceKind("vars", vars.VarsService, vars.RATE, lambda needs: vars.VarsService(needs.variables)),
    ServiceKind("stream", stream.StreamService, stream.RATE, lambda needs: stream.StreamService(needs.streams)),
    ServiceKind("call", call.CallService, call.RATE, call.make),
    ServiceKind("kv", kv.KvService, kv.RATE, lambda needs: kv.KvService(needs.database)),
    ServiceKind("events", events.EventsService, events.RATE, lambda needs: events.EventsService(needs)),
    ServiceKind(
        "http",
        http.HttpService,
        http.RATE,
        lambda needs: http.HttpService(SecretStore(needs.configuration.secrets.file)),
    ),
    ServiceKind("llm", llm.LlmService, llm.RATE, lambda needs: llm.LlmService(needs)),
    ServiceKind("secrets", secrets.SecretsService, secrets.RATE, lambda needs: secrets.SecretsService()),
    ServiceKind("kb", kb.KbService, kb.RATE, lambda needs: kb.KbService(kb.keyword_store(needs.database))),
    ServiceKind("scheduler", scheduler.SchedulerService, scheduler.RATE, scheduler.make),
)
"""Every service."""


def operations() -> tuple[Operation, ...]:
    """All operations of all services."""
    return tuple(each for kind in SERVICES for each in operations_of(kind.type, kind.name))


class Offer:
    """What a host offers.

    Attributes:
        gate: what each call passes.
    """

    def __init__(self, caller: Callable[[], Caller | None], needs: Needs) -> None:
        """Args:
        caller: says who calls.
        needs: what services are made with.
        """
        self.gate = Gate(caller)
        self._services: dict[str, object] = {}
        self._functions: dict[str, list[HostFunction]] = {}
        for kind in SERVICES:
            service = self._services[kind.name] = kind.make(needs)
            for operation in operations_of(kind.type, kind.name):
                function = self.gate.function(service, operation, kind.rate)
                self._functions.setdefault(operation.capability, []).append(function)
                if operation.full_name == "http.request":
                    self._functions[operation.capability] += extism_functions(function)

    def functions(self, capabilities: Iterable[str]) -> list[HostFunction]:
        """The host functions that belong to these capabilities."""
        return [function for name in dict.fromkeys(capabilities) for function in self._functions.get(name, ())]

    def serving(self) -> list[tuple[str, Serving]]:
        """The services that do something by themselves, by name."""
        return [(name, service) for name, service in self._services.items() if isinstance(service, Serving)]

    def announce(self, topic: str, data: object) -> None:
        """As `EventsService.announce`."""
        service = self._services["events"]
        assert isinstance(service, events.EventsService)
        service.announce(topic, data)

    async def aclose(self) -> None:
        """Gives back what services hold."""
        for service in self._services.values():
            if isinstance(service, Closing):
                await service.aclose()
