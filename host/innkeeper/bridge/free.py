"""Which of the services that need no grant a module uses. Imports nothing to run: most modules use none."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from innkeeper.plugins.rights import FREE

if TYPE_CHECKING:
    from innkeeper.plugins.manifest import Manifest

_PREFIX = "innkeeper_"


def free_services(manifest: Manifest | None, imports: Collection[str]) -> list[str]:
    """The services without a grant of which a module imports a function, sorted.

    `stream` is for plugins that have a node with a stream: no other can be connected.

    Args:
        manifest: the plugin's, or None.
        imports: names of the functions that it imports.
    """
    used = {name.split("_", 2)[1] for name in imports if name.startswith(_PREFIX)} & FREE
    if "stream" in used and (manifest is None or not manifest.has_streams):
        used.discard("stream")
    return sorted(used)
