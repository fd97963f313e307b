"""The service `secrets`: which secrets a plugin may have put into its requests. Their values never come here."""

from __future__ import annotations

from typing import Any

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.operation import operation
from innkeeper.bridge.quota import Rate

RATE = Rate(per_second=100, burst=200)
"""Calls of one plugin."""


class SecretsService:
    """Says names."""

    @operation("secrets")
    async def list(self, caller: Caller) -> dict[str, Any]:
        """Lists the secrets that the plugin may name in its requests.

        Returns:
            {names: list of text}
        """
        grant = None if caller.version is None else caller.version.grant
        placed = {} if grant is None else grant.secrets
        return {"names": sorted(name for name in placed if caller.rights.allows("secrets", name))}
