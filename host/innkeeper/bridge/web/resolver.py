"""Names to addresses, through the system's resolver, in threads of a number of their own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, ip_address
from typing import Final, cast

import trio

from innkeeper.bridge.web.addresses import IpAddress
from innkeeper.bridge.web.faults import Rule, WebError

MOST_ADDRESSES = 16
"""Addresses of one name that are looked at."""

THREADS: Final = 16
"""Look-ups at once. One cannot be called off: a name server that does not answer holds its thread for some 30 s, and
must not hold those that others of the host's tasks need."""

OF_ONE: Final = 4
"""Of these, look-ups for one plugin."""

LOOPBACK: Final = (ip_address("127.0.0.1"), ip_address("::1"))

Lookup = Callable[[str, int], Sequence[str]]


def system_lookup(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, from the system. Blocks.

    Raises:
        OSError, UnicodeError: there are none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(address[0]) for *_, address in found]


class Resolver:
    """Looks names up. What it finds is for one connection: nothing is remembered."""

    def __init__(self, lookup: Lookup = system_lookup) -> None:
        """Args:
        lookup: the addresses of a name and a port, called in a thread.
        """
        self._lookup = lookup
        self._all = trio.CapacityLimiter(THREADS)
        self._limiters: dict[str, _Limiter] = {}

    async def resolve(self, host: str, port: int, asker: str) -> list[IpAddress]:
        """All addresses of a host, each once.

        Args:
            host: in normal form (`plugins.urls`).
            port: the port.
            asker: the plugin that asks.

        Raises:
            WebError: it has none.
        """
        literal = literal_address(host)
        if literal is not None:
            return [literal]
        if host == "localhost":
            # Whatever a name server says: it is this machine.
            return list(LOOPBACK)
        limiter = self._limiters.get(asker)
        if limiter is None:
            limiter = self._limiters[asker] = _Limiter(self._all)
        try:
            texts = await trio.to_thread.run_sync(
                self._lookup,
                host,
                port,
                abandon_on_cancel=True,
                # As trio documents, any object with these two methods will do.
                limiter=cast(trio.CapacityLimiter, limiter),
            )
            found = list(dict.fromkeys(ip_address(text) for text in texts[:MOST_ADDRESSES]))
        except (OSError, ValueError):
            raise WebError(Rule.RESOLVE, f"the name {host!r} could not be resolved") from None
        if not found:
            raise WebError(Rule.RESOLVE, f"the name {host!r} has no address")
        return found


class _Limiter:
    """A place of the plugin's and one of the host's, held until the thread is back, also by one that nobody waits for
    any more."""

    def __init__(self, everyones: trio.CapacityLimiter) -> None:
        self._own = trio.CapacityLimiter(OF_ONE)
        self._all = everyones

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        await self._own.acquire_on_behalf_of(borrower)
        try:
            await self._all.acquire_on_behalf_of(borrower)
        except BaseException:
            self._own.release_on_behalf_of(borrower)
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        self._all.release_on_behalf_of(borrower)
        self._own.release_on_behalf_of(borrower)


def literal_address(host: str) -> IpAddress | None:
    """The address that a host in normal form is, or None where it is a name."""
    if host.startswith("["):
        return ip_address(host[1:-1])
    last = host.rpartition(".")[2]
    return IPv4Address(host) if last.isdigit() else None
