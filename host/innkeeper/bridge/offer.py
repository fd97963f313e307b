"""All services with their operations, and the host functions that they become.

Each is imported, read and made when a plugin first requests it: one that keeps values pays for no HTTP, no scheduler
and no search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Final

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.gate import Gate
from innkeeper.bridge.needs import Needs
from innkeeper.bridge.operation import Operation, operations_of
from innkeeper.bridge.service import Closing, ServiceKind, Serving
from innkeeper.sandbox.interface import HostFunction


def _log() -> ServiceKind:
    from innkeeper.bridge import log

    return ServiceKind("log", log.LogService, None, lambda needs: log.LogService())


def _config() -> ServiceKind:
    from innkeeper.bridge import config

    return ServiceKind("config", config.ConfigService, None, lambda needs: config.ConfigService())


def _vars() -> ServiceKind:
    from innkeeper.bridge import vars

    return ServiceKind("vars", vars.VarsService, vars.RATE, lambda needs: vars.VarsService(needs.variables))


def _stream() -> ServiceKind:
    from innkeeper.bridge import stream

    return ServiceKind("stream", stream.StreamService, stream.RATE, lambda needs: stream.StreamService(needs.streams))


def _call() -> ServiceKind:
    from innkeeper.bridge import call

    return ServiceKind("call", call.CallService, call.RATE, call.make)


def _kv() -> ServiceKind:
    from innkeeper.bridge import kv

    return ServiceKind("kv", kv.KvService, kv.RATE, lambda needs: kv.KvService(needs.database))


def _events() -> ServiceKind:
    from innkeeper.bridge import events

    return ServiceKind("events", events.EventsService, events.RATE, lambda needs: events.EventsService(needs))


def _http() -> ServiceKind:
    from innkeeper.bridge import http
    from innkeeper.bridge.secret_store import SecretStore

    return ServiceKind(
        "http",
        http.HttpService,
        http.RATE,
        lambda needs: http.HttpService(SecretStore(needs.configuration.secrets.file)),
    )


def _secrets() -> ServiceKind:
    from innkeeper.bridge import secrets

    return ServiceKind("secrets", secrets.SecretsService, secrets.RATE, lambda needs: secrets.SecretsService())


def _kb() -> ServiceKind:
    from innkeeper.bridge import kb

    return ServiceKind("kb", kb.KbService, kb.RATE, lambda needs: kb.KbService(needs.knowledge))


def _scheduler() -> ServiceKind:
    from innkeeper.bridge import scheduler

    return ServiceKind("scheduler", scheduler.SchedulerService, scheduler.RATE, scheduler.make)


def _llm() -> ServiceKind:
    from innkeeper.bridge import llm

    return ServiceKind("llm", llm.LlmService, llm.RATE, lambda needs: llm.LlmService(needs))


SERVICES: Final[Mapping[str, Callable[[], ServiceKind]]] = {
    "log": _log,
    "config": _config,
    "vars": _vars,
    "stream": _stream,
    "call": _call,
    "kv": _kv,
    "events": _events,
    "http": _http,
    "llm": _llm,
    "secrets": _secrets,
    "kb": _kb,
    "scheduler": _scheduler,
}
"""Every service: its name, and what imports it. Its capabilities are named after it: "kb.read" is one of "kb"."""


@cache
def operations_of_service(name: str) -> tuple[Operation, ...]:
    """The operations of a service, which take a millisecond or so each when they are first read."""
    return operations_of(SERVICES[name]().type, name)


def operations() -> tuple[Operation, ...]:
    """All operations of all services."""
    return tuple(each for name in SERVICES for each in operations_of_service(name))


def service_of(capability: str) -> str:
    """Name of the service that a capability (its name) is for (str)."""
    return capability.partition(".")[0]


def prepare(capabilities: Iterable[str]) -> None:
    """Does what takes long before `Offer.functions` can give these: imports services and reads their operations.

    May be called from any thread, again and again.
    """
    for name in dict.fromkeys(map(service_of, capabilities)):
        if name in SERVICES:
            operations_of_service(name)
            if name == "http":
                _extism()


class Offer:
    """What a host offers.

    Attributes:
        gate: what each call passes.
    """

    def __init__(
        self, caller: Callable[[], Caller | None], needs: Needs, made: Callable[[str, object], None] | None = None
    ) -> None:
        """Args:
        caller: says who calls.
        needs: what services are made with.
        made: is told of each service that was made, with its name.
        """
        self.gate = Gate(caller, refused=needs.refused)
        self._needs = needs
        self._told = made
        self._services: dict[str, object] = {}
        self._functions: dict[str, list[HostFunction]] = {}

    def functions(self, capabilities: Iterable[str]) -> list[HostFunction]:
        """The host functions that belong to these capabilities. Quick after `prepare`."""
        found: list[HostFunction] = []
        for name in dict.fromkeys(capabilities):
            service = service_of(name)
            if service in SERVICES and service not in self._services:
                self._make(SERVICES[service]())
            found += self._functions.get(name, ())
        return found

    def _make(self, kind: ServiceKind) -> None:
        service = self._services[kind.name] = kind.make(self._needs)
        for operation in operations_of_service(kind.name):
            function = self.gate.function(service, operation, kind.rate)
            self._functions.setdefault(operation.capability, []).append(function)
            if operation.full_name == "http.request":
                self._functions[operation.capability] += _extism()(function)
        if self._told is not None:
            self._told(kind.name, service)

    def serving(self) -> list[tuple[str, Serving]]:
        """The services made so far that do something by themselves, by name."""
        return [(name, service) for name, service in self._services.items() if isinstance(service, Serving)]

    def announce(self, topic: str, data: object) -> None:
        """As `EventsService.announce`; where no plugin ever asked for events, nobody listens."""
        service = self._services.get("events")
        if service is not None:
            from innkeeper.bridge.events import EventsService

            assert isinstance(service, EventsService)
            service.announce(topic, data)

    async def aclose(self) -> None:
        """Gives back what services hold."""
        for service in self._services.values():
            if isinstance(service, Closing):
                await service.aclose()


def _extism() -> Callable[[HostFunction], list[HostFunction]]:
    from innkeeper.bridge.extism_http import extism_functions

    return extism_functions
