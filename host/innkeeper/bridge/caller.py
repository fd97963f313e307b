"""Who calls a service."""

from __future__ import annotations

from dataclasses import dataclass

from innkeeper.plugins.rights import Rights


@dataclass(frozen=True, slots=True)
class Caller:
    """The plugin whose guest calls, as it was when its call began.

    Attributes:
        plugin: its id.
        owner: whose data it works on; nobody else's can be named.
        rights: what it was granted.
    """

    plugin: str
    owner: str
    rights: Rights
