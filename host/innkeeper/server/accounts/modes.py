"""Who may use a server: one user or several, with a password or without.

The two newer names are the older ones renamed: SingleUser is LocalNoPassword until there is an access password, and
LocalWithPassword from then on; MultiUser is MultiUserShared.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Final

from innkeeper.errors import UsageError
from innkeeper.plugins.settings import Mode

MULTI: Final[frozenset[Mode]] = frozenset({"MultiUserShared", "MultiUser"})
"""Modes with several users."""

NEWER: Final[frozenset[Mode]] = frozenset({"SingleUser", "MultiUser"})
"""Modes whose answers have the newer shape."""


def is_open(mode: Mode, *, password: bool) -> bool:
    """Whether whoever reaches the server is its user (bool): then only this machine may reach it, and what a browser
    sends for another site's page must not count (Host and Origin are checked).

    Args:
        mode: of the server.
        password: whether there is an access password.
    """
    return mode == "LocalNoPassword" or (mode == "SingleUser" and not password)


def check_listening(mode: Mode, addresses: Iterable[str], *, password: bool) -> None:
    """Makes sure that a server whose user is whoever reaches it listens on this machine alone.

    Args:
        mode: of the server.
        addresses: IP addresses that it listens on.
        password: whether there is an access password.

    Raises:
        UsageError: it does not.
    """
    if not is_open(mode, password=password):
        return
    for address in addresses:
        if not _is_loopback(address):
            way = "set one with `innkeeper user password`" if mode == "SingleUser" else "choose another [server] mode"
            raise UsageError(
                f"the server does not listen on {address}: whoever reaches it there could do everything, since "
                f"{mode} asks for no password; listen on 127.0.0.1, or {way}"
            )


def addresses_of(sockets: Iterable[socket.socket]) -> list[str]:
    """The IP addresses that sockets listen on (list of str)."""
    return [str(each.getsockname()[0]) for each in sockets]


def _is_loopback(address: str) -> bool:
    try:
        # An address of IPv6 may name its interface behind a "%".
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
