"""Which plugin has which node type: first come, first served, and nothing is taken over without a word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from innkeeper.plugins.manifest import Manifest

if TYPE_CHECKING:
    from innkeeper.plugins.nodes import NodeDefinition


class NodeTable:
    """The node types of plugins that come and go.

    Of several plugins that come at once with the same type, none has it: nobody could say which one was meant.

    Attributes:
        nodes: (plugin's id, definition) by full type.
        refused: a sentence for each type that a plugin defines and does not have.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, tuple[str, NodeDefinition]] = {}
        self.refused: dict[str, str] = {}
        self._definers: dict[str, dict[str, NodeDefinition]] = {}
        self._types: dict[str, list[str]] = {}

    def update(self, manifests: Mapping[str, Manifest | None]) -> None:
        """Takes the manifests of plugins that came or changed, by id; None for those that went."""
        touched: dict[str, None] = {}
        for plugin_id, manifest in manifests.items():
            for full_type in self._types.pop(plugin_id, ()):
                del self._definers[full_type][plugin_id]
                touched[full_type] = None
            if manifest is not None and manifest.nodes:
                self._types[plugin_id] = [node.full_type for node in manifest.nodes]
                for node in manifest.nodes:
                    self._definers.setdefault(node.full_type, {})[plugin_id] = node
                    touched[node.full_type] = None
        self._settle(touched)

    def _settle(self, types: Iterable[str]) -> None:
        for full_type in types:
            definers = self._definers[full_type]
            holder = self.nodes.pop(full_type, ("", None))[0]
            self.refused.pop(full_type, None)
            if len(definers) == 1:
                holder = next(iter(definers))
            if holder in definers:
                self.nodes[full_type] = holder, definers[holder]
            if len(definers) > 1:
                self.refused[full_type] = self._sentence(full_type, holder)
            elif not definers:
                del self._definers[full_type]

    def _sentence(self, full_type: str, holder: str) -> str:
        definers = self._definers[full_type]
        if holder not in definers:
            names = " and ".join(definers)
            return f"the node type {full_type!r} is defined by the plugins {names}, so it is refused; remove one"
        others = " and ".join(each for each in definers if each != holder)
        return (
            f"the node type {full_type!r} stays with the plugin {holder}, which had it first; {others} defines it too; "
            "remove one"
        )
