"""Which of the services that need no grant a module uses. Imports nothing to run: most modules use none."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from innkeeper.plugins.rights import FREE

if TYPE_CHECKING:
    from innkeeper.plugins.manifest import Manifest
    from innkeeper.plugins.nodes import NodeDefinition, Slot

_PREFIX = "innkeeper_"


def free_services(manifest: Manifest | None, imports: Collection[str]) -> list[str]:
    """The services without a grant of which a module imports a function, sorted.

    `stream` is for plugins that have a node with a stream: no other can be connected.

    Args:
        manifest: the plugin's, or None.
        imports: names of the functions that it imports.
    """
    used = {name.split("_", 2)[1] for name in imports if name.startswith(_PREFIX)} & FREE
    if "stream" in used and not has_streams(manifest):
        used.discard("stream")
    return sorted(used)


def has_streams(manifest: Manifest | None) -> bool:
    """Whether a plugin has a node with a stream among its inputs or outputs, in whatever mode (bool)."""
    return manifest is not None and any(slot.is_stream for node in manifest.nodes for slot in _slots(node))


def _slots(node: NodeDefinition) -> Iterator[Slot]:
    yield from node.inputs.values()
    yield from node.outputs.values()
    for mode in node.modes.values():
        yield from (mode.inputs or {}).values()
        yield from (mode.outputs or {}).values()
