"""Names, origins and addresses as requests of HTTP show them, and as settings write them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]{2,45}\]")
_PORT = re.compile(r"[0-9]{1,5}")

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def host_and_port(text: str) -> tuple[str, int | None]:
    """The two parts of a Host header, or of an origin behind its scheme.

    Returns:
        tuple[str, int | None]: the name in lower case, an IPv6 address in brackets; the port, None where none is said.

    Raises:
        ValueError: it is none.
    """
    if len(text) > 300:
        raise ValueError("too long")
    name, port = text, None
    head, colon, tail = text.rpartition(":")
    if colon and not tail.endswith("]"):
        if _PORT.fullmatch(tail) is None or int(tail) > 65535:
            raise ValueError("no port")
        name, port = head, int(tail)
    if _NAME.fullmatch(name) is None or ".." in name:
        raise ValueError("no name")
    return name.lower().rstrip("."), port


def parse_origin(text: str) -> tuple[str, str, int]:
    """An origin as scheme, name and port, as browsers compare them.

    Raises:
        ValueError: it is none, such as "null".
    """
    scheme, mark, rest = text.partition("://")
    if not mark or scheme not in DEFAULT_PORTS:
        raise ValueError("an origin begins with http:// or https://")
    name, port = host_and_port(rest)
    return scheme, name, port if port is not None else DEFAULT_PORTS[scheme]


def is_loopback_name(name: str) -> bool:
    """Whether a name, as `host_and_port` gives it, means this machine to every browser (bool)."""
    return name in _LOOPBACK


def address_of(text: str) -> Address | None:
    """The address that a text is; one that is IPv4 within IPv6 is IPv4. None: it is none."""
    try:
        found = ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def is_loopback(text: str) -> bool:
    """Whether a text is an address of this machine for itself (bool)."""
    found = address_of(text)
    return found is not None and found.is_loopback


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks that texts such as "10.0.0.0/8" or "192.0.2.7" mean.

    Raises:
        ValueError: one is none.
    """
    return tuple(ipaddress.ip_network(text) for text in texts)


def within(text: str, allowed: Iterable[Network]) -> bool:
    """Whether a text is an address in one of the networks (bool)."""
    found = address_of(text)
    return found is not None and any(found in network for network in allowed if network.version == found.version)


def one_party(text: str) -> str:
    """Whom an address stands for (str): an IPv6 network of 64 bits is one party, since each has 2 to the power of 64
    addresses of its own."""
    found = address_of(text)
    if isinstance(found, ipaddress.IPv6Address) and not found.is_loopback:
        return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return str(found) if found is not None else text[:64]
