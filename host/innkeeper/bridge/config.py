"""The service `config`: what the operator wrote for the plugin, as the present call has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.operation import operation
from innkeeper.sandbox.present import present_call


class ConfigService:
    """Reads the call's configuration. The answers depend on the call alone."""

    @operation("config")
    async def get(self, caller: Caller, *, key: Annotated[str, Field(max_length=256)]) -> str | None:
        """Reads a value of the plugin's configuration.

        Args:
            key: its key.

        Returns:
            text, or nil where there is none.
        """
        return _config().get(key)

    @operation("config")
    async def all(self, caller: Caller) -> dict[str, str]:
        """Reads the plugin's whole configuration.

        Returns:
            {key: text}, in the order of the keys.
        """
        return dict(sorted(_config().items()))


def _config() -> Mapping[str, str]:
    call = present_call()
    return {} if call is None else call.options.config
