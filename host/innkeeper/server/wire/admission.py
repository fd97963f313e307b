"""How many connections there are: in all, and of one address."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Sequence


class Admission:
    """Counts connections."""

    def __init__(self, total: int, per_address: int, exempt: Sequence[str] = ()) -> None:
        """Args:
        total: connections at one time.
        per_address: of one address; of IPv6 one network of 64 bits, which one customer has.
        exempt: networks to which that does not apply.
        """
        self._total = total
        self._per_address = per_address
        self._exempt = [ipaddress.ip_network(each) for each in exempt]
        self._counts: Counter[str] = Counter()
        self.open = 0

    def enter(self, address: str) -> str | None:
        """Counts one more.

        Returns:
            What `leave` takes, or None: there are as many as may be.
        """
        key = self._key(address)
        if self.open >= self._total or (key and self._counts[key] >= self._per_address):
            return None
        self.open += 1
        if key:
            self._counts[key] += 1
        return key

    def leave(self, key: str) -> None:
        """One has ended."""
        self.open -= 1
        if key:
            self._counts[key] -= 1
            if not self._counts[key]:
                # Else it would grow by each address that was ever seen.
                del self._counts[key]

    def _key(self, address: str) -> str:
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        if any(found in each for each in self._exempt):
            return ""
        if isinstance(found, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((found, 64), strict=False))
        return str(found)
