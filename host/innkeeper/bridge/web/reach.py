"""Which URLs and which addresses a plugin may reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from innkeeper.bridge.web.addresses import IpAddress, is_public
from innkeeper.bridge.web.faults import Rule, WebError
from innkeeper.bridge.web.resolver import LOOPBACK, literal_address
from innkeeper.plugins.capabilities import Capability
from innkeeper.plugins.rights import Rights
from innkeeper.plugins.scopes import WebScope
from innkeeper.plugins.urls import Url


class Reach(Protocol):
    """Who asks, and what it may reach."""

    asker: str

    def check_url(self, url: Url) -> None:
        """Raises WebError where the URL may not be requested."""
        ...

    def check_addresses(self, url: Url, addresses: Sequence[IpAddress]) -> None:
        """Raises WebError where one of the addresses of the URL's host may not be connected to."""
        ...


class GrantedReach:
    """What a plugin's capabilities `http` allow.

    An address that is not public is reached only where a scope names it literally, with its port: `127.0.0.1`, `[::1]`,
    `192.168.1.7`, or `localhost`, which is this machine and nothing else. A name never leads to one, whoever granted
    the name: who answers for a name decides where it leads, and can change that at any time.
    """

    def __init__(self, asker: str, rights: Rights, granted: Sequence[Capability]) -> None:
        """Args:
        asker: the plugin's id.
        rights: what it has.
        granted: what its grant says; an author who asks for an address under a grant of everything does not get it.
        """
        self.asker = asker
        self._scopes = _web(rights.capabilities)
        self._literal = [scope for scope in _web(granted) if scope.literal]

    def check_url(self, url: Url) -> None:
        """As `Reach.check_url`."""
        if not any(scope.allows_url(url) for scope in self._scopes):
            raise WebError(
                Rule.SCOPE,
                f"the plugin was granted 'http', but not for {url.origin + url.path:.200}",
                capability="http",
            )

    def check_addresses(self, url: Url, addresses: Sequence[IpAddress]) -> None:
        """As `Reach.check_addresses`."""
        if all(map(is_public, addresses)):
            return
        if any(scope.host == url.host and scope.allows_url(url) for scope in self._literal):
            itself = literal_address(url.host)
            named = LOOPBACK if url.host == "localhost" else () if itself is None else (itself,)
            if all(address in named for address in addresses):
                return
        raise WebError(
            Rule.ADDRESS,
            f"{url.host!r} is, or leads to, an address that is not public; such an address can only be granted as it "
            "stands, with its port",
        )


def _web(capabilities: Sequence[Capability]) -> list[WebScope]:
    parsed = (each.parsed for each in capabilities if each.name == "http")
    return [scope for scope in parsed if isinstance(scope, WebScope)]
