"""Innkeeper hosts guests: it runs WebAssembly plugins with limits, as trio tasks.

    import innkeeper, trio

    async def main():
        async with innkeeper.open_host() as host:
            plugin = await host.load("shout.wasm")
            result = await plugin.call("shout", b"hello")
            print(result.output, result.usage.cpu)

    trio.run(main)

Importing this package costs nothing: each name is fetched when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from innkeeper.composition import open_host
    from innkeeper.errors import (
        BusyError,
        CancelledError,
        DeniedError,
        GuestError,
        InnkeeperError,
        InternalError,
        Kind,
        LimitError,
        RejectedError,
        UsageError,
    )
    from innkeeper.plugins.changes import Change
    from innkeeper.plugins.host import Host
    from innkeeper.plugins.plugin import Plugin
    from innkeeper.sandbox.bounds import Bounds
    from innkeeper.sandbox.interface import HostFunction, Value
    from innkeeper.sandbox.limits import Limits
    from innkeeper.sandbox.usage import Result, Usage

__all__ = [
    "Bounds",
    "BusyError",
    "CancelledError",
    "Change",
    "DeniedError",
    "GuestError",
    "Host",
    "HostFunction",
    "InnkeeperError",
    "InternalError",
    "Kind",
    "LimitError",
    "Limits",
    "Plugin",
    "RejectedError",
    "Result",
    "Usage",
    "UsageError",
    "Value",
    "open_host",
]

_HOMES = {
    "Change": "innkeeper.plugins.changes",
    "open_host": "innkeeper.composition",
    "Host": "innkeeper.plugins.host",
    "Plugin": "innkeeper.plugins.plugin",
    "Bounds": "innkeeper.sandbox.bounds",
    "HostFunction": "innkeeper.sandbox.interface",
    "Value": "innkeeper.sandbox.interface",
    "Limits": "innkeeper.sandbox.limits",
    "Result": "innkeeper.sandbox.usage",
    "Usage": "innkeeper.sandbox.usage",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES.get(name, "innkeeper.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
