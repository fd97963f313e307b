"""Who calls a service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from innkeeper.plugins.rights import Rights

if TYPE_CHECKING:
    from innkeeper.plugins.runs import RunContext
    from innkeeper.plugins.version import Version


@dataclass(frozen=True, slots=True)
class Caller:
    """The plugin whose guest or native code calls, as it was when its call began.

    Attributes:
        plugin: its id.
        owner: whose data it works on; nobody else's can be named.
        rights: what it was granted.
        version: its manifest, grant and digest; None only where a service is measured or tested by itself.
        run: what the call belongs to, or None.
    """

    plugin: str
    owner: str
    rights: Rights
    version: Version | None = None
    run: RunContext | None = None
